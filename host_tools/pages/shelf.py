"""Reports and evidence files in the folders that the operator names.

Only what a listing has found can be fetched: a name that somebody sends is compared, never opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.pages.records import PagesError

EVIDENCE = ".evidence"
SUMS = "SHA256SUMS"
KINDS = {
    EVIDENCE: "application/octet-stream",
    ".pdf": "application/pdf",
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
PACKED_KINDS = (KINDS[EVIDENCE], KINDS[".pdf"], KINDS[".xlsx"])
_DEEP = 3  # folders in folders
_MOST_FILES = 2_000
_MOST_NAME = 180
_MOST_SUMS = 1 << 20


@dataclass(frozen=True)
class ShelfFile:
    """A file: its name begins with that of its folder in the settings. sha256: as a list beside it
    says; empty: no list does."""

    name: str
    path: Path
    size: int
    changed: int
    sha256: str

    @property
    def can_be_verified(self) -> bool:
        return self.path.suffix == EVIDENCE or self.path.name == SUMS

    @property
    def kind(self) -> str:
        return KINDS.get(self.path.suffix, "text/plain; charset=utf-8")


class Shelf:
    """The folders of a province."""

    def __init__(self, directory: Path, folders: Sequence[str]) -> None:
        """
        Raises:
            PagesError: a folder holds the province itself.
        """
        self._folders = {name: (directory / name).resolve() for name in folders}
        for name, path in self._folders.items():
            if directory.is_relative_to(path):
                raise PagesError(
                    _(
                        "'{name}' in [pages] of province.toml holds the province itself; give a "
                        "folder that holds only reports and evidence files."
                    ).format(name=name)
                )

    def missing(self) -> list[str]:
        """The folders that are not there."""
        return [name for name, path in self._folders.items() if not path.is_dir()]

    def files(self) -> list[ShelfFile]:
        """Every file, by name; at most so many."""
        found: list[ShelfFile] = []
        for name, path in self._folders.items():
            for its in _files(name, path, _DEEP):
                found.append(its)
                if len(found) >= _MOST_FILES:
                    return found
        return found

    def find(self, name: str) -> ShelfFile | None:
        """The file of a name."""
        return next((its for its in self.files() if its.name == name), None)


def _files(name: str, folder: Path, deep: int) -> Iterator[ShelfFile]:
    """The files of a folder. Links are not followed, and hidden files not shown."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    sums = listed_sums(folder / SUMS)
    for entry in entries:
        its_name, path = f"{name}/{entry.name}", Path(entry.path)
        if entry.name.startswith(".") or len(its_name) > _MOST_NAME:
            continue
        try:
            its = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(its.st_mode) and deep > 1:
                yield from _files(its_name, path, deep - 1)
            if stat.S_ISREG(its.st_mode) and (path.suffix in KINDS or path.name == SUMS):
                digest = sums.get(path.name, "")
                yield ShelfFile(its_name, path, its.st_size, int(its.st_mtime), digest)
        except OSError:
            continue  # it was removed just now


def listed_sums(path: Path) -> dict[str, str]:
    """Name and SHA-256 of each file that a list in a report's folder names."""
    if path.is_symlink() or not path.is_file():
        return {}
    with path.open("rb") as file:
        text = file.read(_MOST_SUMS).decode(errors="replace")
    lines = (line.partition("  ") for line in text.splitlines())
    return {name: digest for digest, _gap, name in lines if len(digest) == 64}
