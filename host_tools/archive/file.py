"""One file of the archive: Parquet, compressed with zstd, sorted by slot, stream and seq.

A row group holds a few thousand reports and is read whole; each of its pages has a checksum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from host_tools.archive.errors import ArchiveDamaged, ArchiveUnavailable
from host_tools.common.i18n import _

ROWS = 8192  # of a row group, and a few more
_LEVEL = 9


class ArchivedReport(NamedTuple):
    """A report; `start` None: its device did not know the time. Times in Unix seconds."""

    slot: str
    kid: bytes
    stream: bytes
    seq: int
    boot: int
    up: int
    start: int | None
    received_at: int
    message: bytes


_NAMES = ("slot", "kid", "stream")
_NUMBERS = ("seq", "boot", "up", "start", "received_at")


def _arrow() -> tuple[Any, Any]:
    # A quarter of a second, which only those pay who need an archive.
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet as parquet  # type: ignore[import-untyped]
    except ImportError:
        raise ArchiveUnavailable(
            _(
                "The package pyarrow, which reads and writes archives, is not installed; install "
                "it with 'pip install desalink[archive]'."
            )
        ) from None
    return pyarrow, parquet


def _schema(arrow: Any) -> Any:
    return arrow.schema(
        [
            ("slot", arrow.string()),
            ("kid", arrow.binary(8)),
            ("stream", arrow.binary(4)),
            *((name, arrow.int64()) for name in _NUMBERS),
            ("message", arrow.binary()),
        ]
    )


def write(path: Path, reports: Iterable[ArchivedReport]) -> int:
    """Write a file of reports, which come sorted; returns how many there are."""
    arrow, parquet = _arrow()
    schema = _schema(arrow)
    count = 0
    with parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=list(_NAMES),
        column_encoding=dict.fromkeys(_NUMBERS, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
    ) as writer:
        for group in _groups(reports):
            columns = zip(zip(*group, strict=True), schema, strict=True)
            writer.write_table(
                arrow.table([arrow.array(c, field.type) for c, field in columns], schema=schema),
                row_group_size=len(group),
            )
            count += len(group)
    return count


def _groups(reports: Iterable[ArchivedReport]) -> Iterator[list[ArchivedReport]]:
    group: list[ArchivedReport] = []
    for report in reports:
        group.append(report)
        if len(group) == ROWS:
            yield group
            group = []
    if group:
        yield group


class ArchiveFile:
    """An open file of the archive."""

    def __init__(self, path: Path) -> None:
        arrow, parquet = _arrow()
        self._path = path
        self._failures = (arrow.ArrowException, OSError)
        try:
            self._file = parquet.ParquetFile(path, page_checksum_verification=True)
            if self._file.schema_arrow != _schema(arrow):
                raise damaged(path, _("it has other columns"))
        except self._failures as error:
            raise damaged(path, str(error)) from None

    @property
    def groups(self) -> int:
        return int(self._file.num_row_groups)

    def read(self, group: int, first: int = 0, count: int | None = None) -> list[ArchivedReport]:
        """Reports of a row group, from a row on.

        Raises:
            ArchiveDamaged: its bytes are not those that were written.
        """
        try:
            table = self._file.read_row_group(group).slice(first, count)
        except self._failures as error:
            raise damaged(self._path, str(error)) from None
        columns = [column.to_pylist() for column in table.columns]
        return [ArchivedReport(*row) for row in zip(*columns, strict=True)]

    def __iter__(self) -> Iterator[list[ArchivedReport]]:
        """The reports of each row group."""
        return map(self.read, range(self.groups))


def damaged(path: Path, why: str) -> ArchiveDamaged:
    """The error of a file that can't be used."""
    return ArchiveDamaged(
        _(
            "{path} can't be read as it was written ({why}); put this file back from a backup."
        ).format(path=path, why=why)
    )
