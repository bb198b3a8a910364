"""What a device has journaled, read from its files while the agent runs or not.

The province is compared with this count. It is taken from the medium, by the format of
`agent/journal/segment.py` alone, with every CRC checked; nothing is opened for writing.
"""

from __future__ import annotations

from pathlib import Path

from agent.journal import segment
from agent.journal.recovery import numbers_in

Reports = dict[bytes, dict[int, bytes]]
"""Of each stream (4 bytes) each seq and the signed bytes of its report."""


def reports(directory: Path) -> Reports:
    """Every report in a journal."""
    found: Reports = {}
    for number in numbers_in(str(directory)):
        with open(segment.path_of(str(directory), number), "rb") as file:
            header = segment.read_header(file, number, bytearray(segment.HEADER))
            if header is None:
                continue  # the agent was killed while it began this file
            stream, base, seed = header
            held = found.setdefault(bytes(stream), {})
            # A write that failed is made again in the next file, which says from where it counts.
            for seq in [seq for seq in held if seq >= base]:
                del held[seq]
            size = file.seek(0, 2)
            for at, kind, seq, _length in segment.records(file, size, seed, base, True):
                if kind >= segment.REPORT:
                    held[seq] = segment.read_record(file, seed, at, seq)
    return found


class JournalCounter:
    """How many reports a journal holds, asked again and again: only changed files are read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stamp: object = None
        self._count = 0

    def now(self) -> int:
        """Reports on the medium; 0 while there is no journal yet."""
        try:
            stamp = sorted((file.name, file.stat().st_size) for file in self._directory.iterdir())
            if stamp != self._stamp:
                self._count = sum(map(len, reports(self._directory).values()))
                self._stamp = stamp
        except OSError:
            pass  # the agent is just making or giving up a file: what was counted last stands
        return self._count
