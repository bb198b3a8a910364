"""The container of an evidence file (docs/evidence.md): a sequence of small canonical CBOR items.

A file may come from an enemy. So each item is measured, by its heads alone, before anything of it
is decoded: its length, its depth and how many values are in it are bounded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import cbor2

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

FORMAT = "desalink-evidence-1"
MAX_ITEM = (16 << 20) + (64 << 10)  # bytes; the largest holds one receipt
MAX_VALUES = 100_000  # in an item, nested ones as well
MAX_DEPTH = 6
MAX_PART = 1000  # reports or entries in an item
MAX_INFLATED = 16 << 20  # bytes
MAX_MESSAGE = 8192
_READ = 1 << 20
_LEVEL = 6

# The last item: {"sha256": 32 bytes}.
_END = b"\xa1\x66sha256\x58\x20"
END_SIZE = len(_END) + 32


class EvidenceError(DesalinkError):
    """An evidence file that is wrong, or that can't be made."""


class PartMessage(NamedTuple):
    """A report or birth in a file: the number of its receipt, when it was received, its bytes."""

    receipt: int
    received_at: int
    message: bytes


class _Short(Exception):
    """The bytes end before the item does."""


def _damaged(what: str) -> EvidenceError:
    return EvidenceError(
        _("The file is no evidence file, or is damaged: {what}.").format(what=what)
    )


# ---- heads ---------------------------------------------------------------------------------


def head(data: bytes | bytearray, at: int) -> tuple[int, int, int]:
    """Major type, argument, and where the head of a CBOR item ends.

    Raises:
        EvidenceError: it is none that occurs in canonical CBOR without floats.
    """
    try:
        first = data[at]
    except IndexError:
        raise _Short from None
    major, short = first >> 5, first & 31
    if short < 24:
        return major, short, at + 1
    if short > 27 or major == 7:
        raise _damaged(f"byte {at} of an item begins no value that occurs in it")
    size = 1 << short - 24
    if len(data) < at + 1 + size:
        raise _Short
    value = int.from_bytes(data[at + 1 : at + 1 + size], "big")
    if value < (24, 1 << 8, 1 << 16, 1 << 32)[short - 24]:
        raise _damaged("a number is not in its shortest form")
    return major, value, at + 1 + size


def item_end(data: bytes | bytearray) -> int:
    """Where the item ends that begins at 0.

    Raises:
        EvidenceError: it is not well-formed, or beyond a bound.
    """
    at, values, waiting = 0, 0, [1]
    while waiting:
        if not waiting[-1]:
            waiting.pop()
            continue
        waiting[-1] -= 1
        values += 1
        major, argument, at = head(data, at)
        if major in (2, 3):
            at += argument
            if at > MAX_ITEM:
                raise _damaged(f"an item has more than {MAX_ITEM} bytes")
            if at > len(data):
                raise _Short
        elif major in (4, 5):
            waiting.append(argument * (major - 3))
            if values + sum(waiting) > MAX_VALUES or len(waiting) > MAX_DEPTH:
                raise _damaged("an item holds too many values, or too deep")
        elif major == 6 or (major == 7 and argument not in (20, 21, 22)):
            raise _damaged("an item holds a value of a kind that does not occur")
    return at


def loads(data: bytes) -> Any:
    """The value of one canonical item, which `item_end` has measured."""
    try:
        value = cbor2.loads(data)
        again = cbor2.dumps(value, canonical=True)
    except Exception as error:  # whatever hostile bytes provoke in the library
        raise _damaged(str(error)[:200]) from None
    if again != data:
        raise _damaged("an item is not in canonical form")
    return value


# ---- reports --------------------------------------------------------------------------------


def pack(reports: Iterable[PartMessage]) -> bytes:
    """Reports as a file holds them."""
    return zlib.compress(cbor2.dumps([list(report) for report in reports], canonical=True), _LEVEL)


def inflate(data: Any, most: int = MAX_INFLATED) -> bytes:
    """What was compressed, if it is no more than `most` bytes and nothing follows."""
    if type(data) is not bytes:
        raise _damaged("compressed bytes are missing")
    machine = zlib.decompressobj()
    try:
        found = machine.decompress(data, most)
    except zlib.error as error:
        raise _damaged(f"compressed bytes can't be read ({error})") from None
    if not machine.eof or machine.unused_data or machine.unconsumed_tail:
        raise _damaged(f"compressed bytes are cut off, too long, or hold more than {most} bytes")
    return found


def unpack(data: Any) -> Iterator[PartMessage]:
    """The reports of an item; taken apart by hand, so that none costs more than its bytes."""
    plain = inflate(data, MAX_PART * (MAX_MESSAGE + 24) + 8)
    try:
        major, count, at = head(plain, 0)
        if major != 4 or not 0 < count <= MAX_PART:
            raise _damaged(f"a part is no list of at most {MAX_PART} reports")
        for _item in range(count):
            three, receipt, at = head(plain, at + 1) if plain[at] == 0x83 else (9, 0, at)
            zero, received_at, at = head(plain, at) if three == 0 else (9, 0, at)
            two, size, at = head(plain, at) if zero == 0 else (9, 0, at)
            if two != 2 or size > MAX_MESSAGE or at + size > len(plain):
                raise _damaged("a report of a part is not [receipt, received_at, message]")
            yield PartMessage(receipt, received_at, plain[at : at + size])
            at += size
    except (IndexError, _Short):
        raise _damaged("a part of reports is cut off") from None
    if at != len(plain):
        raise _damaged("bytes follow the reports of a part")


# ---- reading --------------------------------------------------------------------------------


class EvidenceReader:
    """The items of a file, one after the other, and never more than one in memory.

    Attributes:
        digest: SHA-256 of the whole file.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            EvidenceError: the file is not what was written: its own digest at its end differs.
        """
        self._file = path.open("rb")
        try:
            self._rest = self._check_end(path)
        except BaseException:
            self._file.close()
            raise
        self._buffer = bytearray()
        self._next: tuple[str, dict[str, Any]] | None = None

    def _check_end(self, path: Path) -> int:
        size = os.fstat(self._file.fileno()).st_size - END_SIZE
        if size <= 0:
            raise _damaged(f"{path} is too short")
        sha, left = hashlib.sha256(), size
        while left and (data := self._file.read(min(_READ, left))):
            sha.update(data)
            left -= len(data)
        end = self._file.read()
        if end != _END + sha.digest():
            raise EvidenceError(
                _(
                    "{path} is not what was written: it was cut off, damaged or changed since, "
                    "for the digest at its end is another one. Get the file again."
                ).format(path=path)
            )
        sha.update(end)
        self.digest = sha.hexdigest()
        self._file.seek(0)
        return size

    def _take(self) -> tuple[str, dict[str, Any]] | None:
        while self._buffer or self._rest:
            try:
                end = item_end(self._buffer)
            except _Short:
                if not self._rest:
                    raise _damaged("its last item is cut off") from None
                # Twice as much each time, so that a large item is not measured often.
                data = self._file.read(min(self._rest, max(_READ >> 4, len(self._buffer))))
                self._rest -= len(data)
                self._buffer += data
                if not data or len(self._buffer) > 2 * MAX_ITEM + _READ:
                    raise _damaged("an item has no end") from None
                continue
            value = loads(bytes(self._buffer[:end]))
            del self._buffer[:end]
            if type(value) is not dict or not value or any(type(key) is not str for key in value):
                raise _damaged("an item is not a map with names")
            # Of a map with several names the one that tells what it is comes last.
            names = [name for name in value if name != "slot"]
            return names[0] if len(names) == 1 else "header", value
        return None

    def peek(self) -> str | None:
        """What the next item is; None: there is none."""
        if self._next is None:
            self._next = self._take()
        return self._next[0] if self._next else None

    def of_slot(self, kind: str, slot: str) -> Iterator[bytes]:
        """All items of a kind and a slot that follow each other here, for `unpack`."""
        while self.peek() == kind and self._next and self._next[1].get("slot") == slot:
            yield self.take(kind)[kind]

    def take(self, kind: str) -> dict[str, Any]:
        """The next item, which must be of a kind."""
        found = self.peek()
        if found != kind or self._next is None:
            raise _damaged(f"'{kind}' is expected, and {found or 'its end'} comes"[:200])
        value = self._next[1]
        self._next = None
        return value

    def parts(self, kind: str) -> Iterator[list[Any]]:
        """The lists of all items of a kind that follow each other here."""
        while self.peek() == kind:
            rows = self.take(kind)
            if type(rows[kind]) is not list or len(rows) != 1:
                raise _damaged(f"'{kind}' is no list")
            yield rows[kind]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> EvidenceReader:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


# ---- writing --------------------------------------------------------------------------------


class EvidenceWriter:
    """Writes a file item by item; it gets its name only when it is whole.

    Attributes:
        digest: SHA-256 of the whole file, after `finish`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            self._part.unlink(missing_ok=True)  # of an export that was killed
            handle = os.open(self._part, flags, 0o600)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        self._file: IO[bytes] = os.fdopen(handle, "wb")
        self._sha = hashlib.sha256()
        self.digest = ""

    def put(self, item: dict[str, Any]) -> None:
        data = cbor2.dumps(item, canonical=True)
        self._sha.update(data)
        self._file.write(data)

    def finish(self) -> None:
        """Write the digest and give the file its name."""
        end = _END + self._sha.digest()
        self._file.write(end)
        self._sha.update(end)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._part, self._path)
        self.digest = self._sha.hexdigest()

    def __enter__(self) -> EvidenceWriter:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()
        if not self.digest:
            with contextlib.suppress(OSError):
                self._part.unlink()
