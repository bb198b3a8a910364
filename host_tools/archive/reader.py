"""Reports of an archive by their place in it; what was read last is kept."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from host_tools.archive.file import ArchivedReport, ArchiveFile

_KEPT_PLACES = 16  # some 5 MB each
_KEPT_FILES = 32


class ArchivePlace(NamedTuple):
    """Where reports of one stream lie, one after the other and ascending by seq."""

    file: str
    group: int
    first_row: int
    rows: int


class ArchiveReader:
    """The files of an archive, opened when they are needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: OrderedDict[str, ArchiveFile] = OrderedDict()
        self._places: OrderedDict[ArchivePlace, dict[int, ArchivedReport]] = OrderedDict()

    def read(self, place: ArchivePlace) -> dict[int, ArchivedReport]:
        """The reports of a place by seq.

        Raises:
            ArchiveDamaged: its file is missing, or its bytes are not those that were written.
        """
        found = self._places.pop(place, None)
        if found is None:
            reports = self._file(place.file).read(place.group, place.first_row, place.rows)
            found = {report.seq: report for report in reports}
        self._places[place] = found
        if len(self._places) > _KEPT_PLACES:
            self._places.popitem(last=False)
        return found

    def forget(self) -> None:
        """Keep nothing of what was read: it takes much memory."""
        self._places.clear()

    def _file(self, name: str) -> ArchiveFile:
        found = self._files.pop(name, None) or ArchiveFile(self._directory / name)
        self._files[name] = found
        if len(self._files) > _KEPT_FILES:
            self._files.popitem(last=False)
        return found
