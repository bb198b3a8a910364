"""What a device's journal has accepted, read from its files by the format alone.

The truth that the province is held to, so nothing of the agent's own reader is used: the format is
described in `agent/journal/segment.py`. Read again and again while the agent runs, because a
report that was stored may be given up when its space is needed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

_HEADER = 384
_MAGIC = b"DJ1\n"
_REPORT = 0x20


@dataclass
class Accepted:
    """All that one device's journal was ever seen to hold.

    reports: (stream, seq) -> the signed bytes. rewritten: seqs that were seen with two contents,
        which no journal may ever give out unless its medium went back in time.
    """

    directory: Path
    reports: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    rewritten: set[tuple[bytes, int]] = field(default_factory=set)
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    def replaced(self) -> None:
        """Take notice that somebody has exchanged the files; their old content stays known."""
        self._known.clear()

    def look(self) -> None:
        """Read what was added since the last look."""
        try:
            paths = sorted(self.directory.glob("????????.seg"))
        except OSError:
            return
        for path in paths:
            try:
                status = path.stat()
                stamp = status.st_ino, status.st_size
                if self._known.get(path.name) == stamp:
                    continue
                found = read_segment(path.read_bytes(), int(path.stem, 16))
            except FileNotFoundError:
                continue  # given up between our looking and our reading
            self._known[path.name] = stamp
            for key, message in found.items():
                if self.reports.setdefault(key, message) != message:
                    self.rewritten.add(key)
                    self.reports[key] = message


def read_segment(data: bytes, number: int) -> dict[tuple[bytes, int], bytes]:
    """The reports in one segment file, as far as it is whole.

    A header (magic, stream, the file's own number, ..., CRC-32), then records: kind, length, seq,
    check, body, and a CRC-32 that starts from the header's. What was cut off ends the file.
    """
    if len(data) < _HEADER or data[:4] != _MAGIC:
        return {}
    (seed,) = struct.unpack_from(">I", data, _HEADER - 4)
    if crc32(data[: _HEADER - 4]) != seed or struct.unpack_from(">I", data, 8)[0] != number:
        return {}
    stream = data[4:8]
    found = {}
    at = _HEADER
    while at + 12 <= len(data):
        kind, length, seq = struct.unpack_from(">BHI", data, at)
        end = at + 8 + length
        if end + 4 > len(data) or crc32(data[at:end], seed) != int.from_bytes(
            data[end : end + 4], "big"
        ):
            break
        if kind >= _REPORT:
            found[stream, seq] = data[at + 8 : end]
        at = end + 4
    return found
