"""Months of the province's calendar, in WITA."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, WITA, moment_of

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")


@dataclass(frozen=True, order=True)
class Month:
    """A month; `begin` and `end` are Unix seconds, the end is not in it."""

    name: str
    begin: int
    end: int

    @property
    def seconds(self) -> int:
        return self.end - self.begin

    @property
    def days(self) -> int:
        return self.seconds // DAY_S


def month_of(text: str) -> Month:
    """The month that a person means by `2026-10`.

    Raises:
        DesalinkError: it is no month.
    """
    found = _MONTH.fullmatch(text.strip())
    if found is None:
        raise DesalinkError(
            _("'{text}' is not a month; give one such as 2026-10.").format(text=text)
        )
    year, number = int(found[1]), int(found[2])
    following = (year + number // 12, number % 12 + 1)
    begin, end = (
        int(datetime(*first, 1, tzinfo=WITA).timestamp()) for first in ((year, number), following)
    )
    return Month(found[0], begin, end)


def month_at(unix: float) -> Month:
    moment = moment_of(unix)
    if moment is None:
        raise DesalinkError(_("{unix} is beyond the calendar.").format(unix=unix))
    return month_of(f"{moment:%Y-%m}")


def before(month: Month) -> Month:
    return month_at(month.begin - 1)


def day_begin(text: str) -> int | None:
    """Unix time of 00:00 WITA of a day such as `2026-10-01`; None if it is no day."""
    try:
        moment = datetime.strptime(text.strip(), "%Y-%m-%d")
    except ValueError:
        return None
    return int(moment.replace(tzinfo=WITA).timestamp())
