"""One lock for what must not happen to a province at the same time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import marked

_BUSY = 75


@contextmanager
def hold(path: Path, sentence: str) -> Iterator[None]:
    """Hold a lock file for as long as the block runs or the process lives.

    Args:
        path: the lock file; made if it is not there.
        sentence: for a person, if another process holds it.

    Raises:
        ProvinceError: another process holds it (exit code 75: try again later).
    """
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refused = ProvinceError(sentence)
            refused.exit_code = _BUSY
            raise refused from None
        yield
    finally:
        os.close(handle)


def office_lock(directory: Path) -> Path:
    """The lock of a backup, a restore, a renewal and a change of the passphrase."""
    return directory / "office.lock"


OFFICE_BUSY = marked(
    "Another desalink makes a backup, restores, renews or changes the passphrase of this "
    "province; wait until it has ended and try again."
)
