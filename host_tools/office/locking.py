"""One lock for what must not happen to a province at the same time."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _
from host_tools.common.locks import hold

_BUSY = 75


def busy(sentence: str) -> ProvinceError:
    """The refusal of a province at which another process is at work: try again later."""
    refusal = ProvinceError(sentence)
    refusal.exit_code = _BUSY
    return refusal


def hold_office(directory: Path) -> AbstractContextManager[None]:
    """The lock of a backup, a restore, a renewal and a change of the passphrase.

    Raises:
        ProvinceError: another process holds it (exit code 75).
    """
    return hold(directory / "office.lock", _office_busy)


def _office_busy() -> ProvinceError:
    return busy(
        _(
            "Another desalink makes a backup, restores, renews or changes the passphrase of this "
            "province; wait until it has ended and try again."
        )
    )
