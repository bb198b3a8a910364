"""The province's clock: it dates what arrives, and sets devices that have no other clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

_TOLERANCE_S = 60  # a clock that NTP sets right may go back so far
_STEP_S = 5


class ClockBehind(DesalinkError):
    """The clock is behind what is stored, so its dates would be false."""

    exit_code = 75  # EX_TEMPFAIL


class ArrivalClock:
    """Dates arrivals; a date is never before the newest one that is stored."""

    def __init__(
        self,
        newest: int,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._newest = newest
        self._clock, self._monotonic = clock, monotonic
        self._offset = clock() - monotonic()

    def now(self) -> int:
        """Unix time.

        Raises:
            ClockBehind: more than a minute behind what is stored.
        """
        now = int(self._clock())
        if now < self._newest - _TOLERANCE_S:
            raise ClockBehind(
                _(
                    "The clock of this machine is {newest} s behind the newest message that is "
                    "stored. Set it (for example by NTP) and start the ingest again. If the clock "
                    "is right and was ahead before, start it once with --accept-clock."
                ).format(newest=self._newest - now)
            )
        self._newest = max(self._newest, now)
        return self._newest

    def step(self) -> float | None:
        """By how many seconds the clock was moved since the last call; None: it was not."""
        offset = self._clock() - self._monotonic()
        moved = offset - self._offset
        self._offset = offset
        return moved if abs(moved) >= _STEP_S else None
