"""The list of an archive's files: one JSON object a line, each with the digest of the line before.

Who has noted the digest of the last line can prove later that no file was changed, exchanged or
taken away since.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from host_tools.archive.errors import ArchiveDamaged
from host_tools.common.files import make_directory, write_file
from host_tools.common.i18n import _

DIRECTORY = "archive"
LIST = "archive.jsonl"
BEGINNING = "0" * 64
_NAME = re.compile(r"\d{4}-\d{2}\.\d{3,6}\.parquet")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Listed:
    """A line of the list: a file with the reports that arrived in a month (of WITA).

    size: bytes of the file; sha256: of the file; previous: of the line before, without its line
    feed. Times of receipt in Unix seconds.
    """

    file: str
    month: str
    reports: int
    first_received: int
    last_received: int
    size: int
    sha256: str
    previous: str

    @property
    def line(self) -> bytes:
        """As it stands in the list."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        """What the next line names."""
        return hashlib.sha256(self.line).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


class Chain:
    """The list of the archive beside a database, in the order of archiving."""

    def __init__(self, directory: Path) -> None:
        """
        Raises:
            ArchiveDamaged: it can't be read, or a line does not continue the one before.
        """
        self.directory = directory
        self.path = directory / LIST
        self.files: list[Listed] = []
        try:
            lines = self.path.read_bytes().splitlines() if self.path.exists() else []
            for number, line in enumerate(lines, 1):
                listed = _parse(json.loads(line))
                if listed.line != line or listed.previous != self.head:
                    raise ValueError(
                        _("line {number} does not continue the one before").format(number=number)
                    )
                self.files.append(listed)
        except (OSError, ValueError, TypeError) as error:
            raise ArchiveDamaged(
                _("{path} is not as it was written ({error}); put it back from a backup.").format(
                    path=self.path, error=error
                )
            ) from None

    @property
    def head(self) -> str:
        """The digest of the last line."""
        return self.files[-1].digest if self.files else BEGINNING

    def next_name(self, month: str) -> str:
        """A name for one more file of a month."""
        part = sum(listed.month == month for listed in self.files) + 1
        return f"{month}.{part:03}.parquet"

    def append(self, listed: Listed) -> None:
        """Add a file that is on the disk. After a crash the list is the old or the new one."""
        assert listed.previous == self.head
        make_directory(self.directory)
        text = b"".join(each.line + b"\n" for each in (*self.files, listed))
        write_file(self.path, text, 0o600)
        self.files.append(listed)

    def check(self, listed: Listed) -> Path:
        """The path of a file, after its bytes were compared with its digest.

        Raises:
            ArchiveDamaged: it is missing, or it is another one.
        """
        path = self.directory / listed.file
        try:
            good = path.stat().st_size == listed.size and file_digest(path) == listed.sha256
        except OSError as error:
            raise ArchiveDamaged(
                _("{path} can't be read ({strerror}); put it back from a backup.").format(
                    path=path, strerror=error.strerror
                )
            ) from None
        if not good:
            raise ArchiveDamaged(
                _("{path} is not the file that was archived; put it back from a backup.").format(
                    path=path
                )
            )
        return path

    def __iter__(self) -> Iterator[Listed]:
        return iter(self.files)


def _parse(table: Any) -> Listed:
    found = Listed(**table)
    kinds = Listed.__annotations__
    if any(type(getattr(found, name)).__name__ != kind for name, kind in kinds.items()):
        raise ValueError(_("a value is of another kind"))
    if not _NAME.fullmatch(found.file):
        raise ValueError(_("{file!r} is not the name of an archive").format(file=found.file))
    return found
