"""The bytes of one segment file of the journal: a header, then records; what of them is valid.

    header  384 bytes, written and synced alone before any record: everything the agent must
            remember at that moment (`pack_header`), so that older files can go
    record  kind u8, length u16, seq u32, check u8, body, CRC-32 u32     (all big-endian)

A record's CRC starts from the CRC of its file's header. So what lies in the same flash blocks
from a file that was deleted can't pass for a record here, whichever stream or place it had.
`seq` is the report's own, in other records that of the next report: after a hole it says how many
reports the hole has swallowed. `check` (low byte of a CRC over the seven bytes before it) tells
a record that was cut short from one whose length has rotted.
"""

import binascii
import struct

from agent.device.interpreter import const

HEADER = const(384)
_OVERHEAD = const(12)  # a record's bytes beside its body
_RANGES = const(17)  # stored ranges in a header: all up to a seq, and 16 beyond
_GAPS = const(15)  # gaps in a header

# kinds of records (public names are for tools that read a journal's files)
_BOOT = const(1)  # u32: the agent started once more
_STATE = const(2)  # `pack_state`
_CLOSED = const(3)  # as STATE, and the agent stopped in order
REPORT = const(0x20)  # + how many of the gaps not yet told it tells, oldest first
_REISSUED = const(0x40)  # a report of the stream before that was issued again

# states of a gap (reports that are gone though the province never had them)
_NEW = const(0)  # not written down yet
_UNTOLD = const(1)
_TAKEN = const(2)  # by the report that is being made
_TOLD = const(3)

# The reason of a gap that is none: what its stream got from `first` on is to be issued again in
# the next one, and up to `last` it was. See agent/journal/reissue.py.
_REISSUE = const(127)

# how a file ends
_WHOLE = const(0)
_TORN = const(1)  # in a write that did not finish, and that nobody was told had succeeded
_ROTTEN = const(2)  # in bytes that are not what was written: records may have been there

_MAGIC = b"DJ1\n"
_FIXED_SIZE = const(38)
_GAP = ">IIB4s"
_GAP_SIZE = const(13)


def path_of(directory, number):
    """The file name of a segment."""
    return "%s/%08x.seg" % (directory, number)


def pack_state(stored, gaps, fresh):
    """What a header, a STATE and a CLOSED record remember.

    stored: flat seqs [first, last, ...] of what the province holds; gaps: [first, last, reason,
    state, stream]; fresh: the seq from which on nothing was ever sent, 0: any may have been."""
    body = bytearray(5 + 4 * len(stored) + _GAP_SIZE * len(gaps))
    struct.pack_into(">BI%dI" % len(stored), body, 0, len(stored), fresh, *stored)
    at = 5 + 4 * len(stored)
    for first, last, reason, state, owner in gaps:
        told = 128 if state == _TOLD else 0
        struct.pack_into(_GAP, body, at, first, last, reason | told, owner)
        at += _GAP_SIZE
    return body


def pack_header(stream, number, base, oldest, before, boot, hash8, state):
    """A header (bytes, 384) and its CRC, the seed of the records' CRCs.

    base: seq of the first report that may follow; oldest, before: the lowest seq still kept of
    this stream and of the one before; hash8: of report base - 1, or None; state: packed."""
    head = bytearray(HEADER)
    struct.pack_into(
        ">4s4sIIIII8sH", head, 0, _MAGIC, stream, number, base, oldest, before, boot,
        hash8 or bytes(8), len(state),
    )  # fmt: skip
    head[_FIXED_SIZE : _FIXED_SIZE + len(state)] = state
    crc = binascii.crc32(memoryview(head)[: HEADER - 4])
    struct.pack_into(">I", head, HEADER - 4, crc)
    return head, crc


def read_header(file, number, head):
    """Read a file's first 384 bytes into head: (stream, base, CRC), or None if they are no header.

    Raises OSError."""
    file.seek(0)
    if file.readinto(head) != HEADER:
        return None
    crc = binascii.crc32(memoryview(head)[: HEADER - 4])
    if struct.unpack_from(">I", head, HEADER - 4)[0] != crc:
        return None
    magic, stream, own, base = struct.unpack_from(">4s4sII", head)
    if magic != _MAGIC or own != number:
        return None
    return stream, base, crc


def write_record(file, seed, kind, seq, body):
    """Write a record at the file's end, not yet synced. Raises OSError."""
    head = bytearray(8)
    view = memoryview(head)
    struct.pack_into(">BHI", head, 0, kind, len(body), seq)
    head[7] = binascii.crc32(view[:7], seed) & 255
    crc = binascii.crc32(body, binascii.crc32(head, seed))
    # Three writes instead of one string of everything: a report is the largest thing on the heap.
    write(file, head)
    write(file, body)
    write(file, struct.pack(">I", crc))


def write(file, data):
    """Write all of data, or raise OSError: an unbuffered file may take only a part when full."""
    if data and file.write(data) != len(data):
        raise OSError(28)  # ENOSPC


def read_record(file, seed, at, seq):
    """The body of the report `seq` whose record begins at `at`, or None if the bytes are not what
    was written. Raises OSError."""
    file.seek(at)
    head = file.read(8)
    if len(head) < 8:
        return None
    kind, length, own = struct.unpack(">BHI", head[:7])
    if kind < REPORT or own != seq or head[7] != binascii.crc32(head[:7], seed) & 255:
        return None
    body = file.read(length)
    crc = binascii.crc32(body, binascii.crc32(head, seed))
    return body if file.read(4) == struct.pack(">I", crc) else None


def records(file, size, seed, base, strict):
    """Walk a segment: yields (offset, kind, seq, length) for each valid record, and at last
    (offset after the last valid one, -1, next seq, WHOLE, TORN or ROTTEN).

    verify: check every body; else only where something is wrong with what came before, which
    is enough to find records quickly: their bodies are checked when they are read. A record
    that has rotted costs only itself: the walk goes on at the next one, found by its length or,
    where that has rotted as well, byte by byte. Raises OSError."""
    head = bytearray(8)
    view = memoryview(head)[:7]
    block = bytearray(128)
    at = end = HEADER
    next_seq = base
    bad = torn = False
    while at + _OVERHEAD <= size:
        file.seek(at)
        file.readinto(head)
        kind, length, seq = struct.unpack_from(">BHI", head)
        after = at + _OVERHEAD + length
        good = next_seq <= seq <= next_seq + size and kind
        good = good and head[7] == binascii.crc32(view, seed) & 255
        if good and after <= size and (bad or seq == next_seq):
            crc = binascii.crc32(head, seed)
            if not (strict or bad) or _body_is_sound(file, length, crc, block):
                yield at, kind, seq, length
                next_seq = seq + 1 if kind >= REPORT else seq
                at = end = after
                bad = torn = False
                continue
        if not bad:
            bad = True
            torn = good and after > size
            if good and after <= size:
                at = after  # only the body is bad
                continue
        at += 1
    if at < size and not bad:
        bad = torn = True  # less than the smallest record: nothing was complete
    if bad and not torn:
        # A file system may have made the file longer before it wrote the bytes.
        file.seek(size - 4)
        torn = file.read(4) in (b"\0\0\0\0", b"\xff\xff\xff\xff")
    yield end, -1, next_seq, (_TORN if torn else _ROTTEN) if bad else _WHOLE


def _body_is_sound(file, length, crc, block):
    """Whether the next `length` bytes of a file and the CRC after them agree."""
    view = memoryview(block)
    while length:
        part = view[: min(length, len(block))]
        file.readinto(part)
        crc = binascii.crc32(part, crc)
        length -= len(part)
    return file.read(4) == struct.pack(">I", crc)
