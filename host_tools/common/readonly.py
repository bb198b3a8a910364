"""Opening SQLite databases that belong to somebody else."""

from __future__ import annotations

import os
from pathlib import Path


def may_write(path: Path) -> bool:
    """Whether this user may write to a database."""
    return os.access(path, os.W_OK)


def readonly_uri(path: Path) -> str:
    """The URI with which SQLite only reads a database.

    A database in WAL mode is read by the files -wal and -shm beside it. Where nobody has it open
    there are none, and who may not make them can read the database itself: nothing changes it.
    """
    in_use = path.with_name(path.name + "-wal").exists() or os.access(path.parent, os.W_OK)
    return f"{path.absolute().as_uri()}?mode=ro" + ("" if in_use else "&immutable=1")
