"""One lock for what must not happen twice at the same time: a file that one process holds.

The system takes the lock back when the process ends, also when it is killed. The file stays, so
that all who wait look at the same one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from host_tools.common.errors import DesalinkError

_FOREVER = -1
_PRIVATE = 0o600


@contextmanager
def hold(path: Path, refusal: Callable[[], DesalinkError] | None = None) -> Iterator[None]:
    """Hold a lock file for as long as the block runs.

    Args:
        path: the lock file; made if it is not there. Its content is left as it is.
        refusal: makes the error if another holds it; None: wait until it is free.

    Raises:
        DesalinkError: what `refusal` returned.
        OSError: the file can't be made.
    """
    lock = _lock_file(path, _FOREVER if refusal is None else 0)
    try:
        lock.acquire()
    except Timeout:
        assert refusal is not None
        raise refusal() from None
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether somebody holds a lock file, which is made if it is not there."""
    lock = _lock_file(path, 0)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def _lock_file(path: Path, timeout_s: float) -> BaseFileLock:
    if hasattr(os, "fchmod"):
        return FileLock(path, timeout=timeout_s, mode=_PRIVATE)
    return FileLock(path, timeout=timeout_s)  # a system without modes
