"""What can be wrong with the archive of a province."""

from __future__ import annotations

from host_tools.common.errors import DesalinkError


class ArchiveError(DesalinkError):
    """Base of the family."""


class ArchiveDamaged(ArchiveError):
    """A file of the archive is missing, or is not what was written."""


class ArchiveUnavailable(ArchiveError):
    """The package that reads and writes Parquet is not installed."""
