"""Files that hold secrets or must never be seen half written.

On Windows modes do nothing: there a file has the access rights of its folder, and a user's profile
folder is closed to others.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Protocol


def give_to_owner_of_directory(path: Path) -> None:
    """Give root's new files in another user's province to that user, who must read them."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    owner = path.parent.stat()
    if owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable (POSIX: fsync of a file does not). Windows keeps them
    in its own journal, and opens no directory."""
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Create a directory with its parents; only the owner may read it."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    path.chmod(mode)
    give_to_owner_of_directory(path)


def _named(error: OSError, path: Path) -> OSError:
    """The same error with the file's own name instead of the temporary one."""
    return OSError(error.errno, error.strerror, str(path))


def write_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a whole file: new name, fsync, rename. After a crash it is the old or the new one.

    Raises:
        OSError: with the file's name.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # The mode is given to open: there must be no moment at which others can read a key.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(temporary, flags, mode)
    except OSError as error:
        raise _named(error, path) from None
    try:
        with os.fdopen(handle, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)  # the umask may have taken bits from a public file
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        give_to_owner_of_directory(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise _named(error, path) from None
        raise
    sync_directory(path.parent)


def write_private(path: Path, content: bytes) -> None:
    """Like `write_file`; only the owner may read it (mode 0600)."""
    write_file(path, content, 0o600)


class Directory(Protocol):
    """What `Inside` needs."""

    @property
    def directory(self) -> Path: ...


class Inside:
    """An attribute of an object with a `directory`: a path in it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: Directory, _type: type[Directory]) -> Path:
        return owner.directory / self._name
