"""What can go wrong with the province's database, each with a sentence for a person."""

from __future__ import annotations

from host_tools.common.errors import DesalinkError


class StoreError(DesalinkError):
    """Base of the family; the sentence names the file."""


class StoreMissing(StoreError):
    """There is no database yet, or no longer."""


class StoreBusy(StoreError):
    """Another process holds the database for longer than we wait; passes by itself."""

    exit_code = 75  # EX_TEMPFAIL


class StoreFull(StoreError):
    """The disk is full or refuses to write; passes once there is room."""

    exit_code = 75


class StoreLocked(StoreError):
    """Another ingest works on this database."""

    exit_code = 75


class StoreReplaced(StoreError):
    """The database was exchanged under a running process."""


class StoreDamaged(StoreError):
    """The file is not a database, or its pages are damaged, or a newer desalink made it."""
