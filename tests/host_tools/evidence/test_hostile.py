"""Damaged files, and files whose bytes were made to hurt whoever reads them."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import cbor2
import pytest

from tests.host_tools.evidence.conftest import Exports
from tests.world.month import SLOTS

END = 42  # bytes of the last item: the digest


def sealed(content: bytes, path: Path) -> Path:
    """A file of this content with the right digest at its end."""
    path.write_bytes(content + cbor2.dumps({"sha256": hashlib.sha256(content).digest()}))
    return path


def parts(path: Path) -> Iterator[bytes]:
    """The items of a good file but for the last."""
    data = path.read_bytes()[:-END]
    stream = BytesIO(data)
    while (begin := stream.tell()) < len(data):
        cbor2.load(stream)
        yield data[begin : stream.tell()]


@pytest.mark.parametrize("closed", [False, True])
def test_each_changed_byte_is_refused_a_thousand_times(
    closed: bool, exports: Exports, tmp_path: Path
):
    data = (exports.closed if closed else exports.open).read_bytes()
    rng = random.Random(13)
    path = tmp_path / "changed.evidence"
    for _ in range(500):
        at = rng.randrange(len(data))
        changed = bytearray(data)
        changed[at] ^= rng.randrange(1, 256)
        path.write_bytes(changed)
        assert exports.refusal(path), f"byte {at}"


def _resealed(count: int, seed: int, exports: Exports, path: Path) -> None:
    """Change bytes of a file, and put the right digest to its end: what is signed is refused. Of
    the rest nothing is a figure."""
    data = exports.closed.read_bytes()[:-END]
    rng = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        at = rng.randrange(len(data))
        changed[at] ^= rng.randrange(1, 256)
        if not exports.refusal(sealed(bytes(changed), path), exports.head):
            header, *rest = parts(path)
            good, *others = parts(exports.closed)
            free = {"province", "made", "desalink"}  # who wrote the file when
            own, was = cbor2.loads(header), cbor2.loads(good)
            assert {k: v for k, v in own.items() if k not in free} == {
                k: v for k, v in was.items() if k not in free
            }
            assert [inflated(item) for item in rest] == [inflated(item) for item in others]


def inflated(item: bytes) -> Any:
    """What an item says: the same may be compressed in several ways."""
    table = cbor2.loads(item)
    for name in ("reports", "births", "closed"):
        if name in table:
            table[name] = zlib.decompress(table[name])
    return table


def test_a_changed_byte_with_a_new_digest_is_refused_or_is_no_figure(
    exports: Exports, tmp_path: Path
):
    _resealed(25, 1, exports, tmp_path / "changed.evidence")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_changed_bytes_with_a_new_digest(exports: Exports, tmp_path: Path):
    _resealed(400, 2, exports, tmp_path / "changed.evidence")


def test_an_item_that_is_missing_twice_or_in_another_place_is_refused(
    exports: Exports, tmp_path: Path
):
    items = list(parts(exports.closed))
    path = tmp_path / "changed.evidence"
    for number, item in enumerate(items):
        if b"births" in item[:40]:
            continue  # they change no figure
        rest = items[:number] + items[number + 1 :]
        assert exports.refusal(sealed(b"".join(rest), path)), f"without {number}"
    for number, item in enumerate(items):
        twice = items[:number] + [item] + items[number:]
        assert exports.refusal(sealed(b"".join(twice), path)), f"{number} twice"


@pytest.mark.parametrize(
    "item",
    [
        b"\x81" * 100_000 + b"\x80",
        b"\x9b" + b"\x7f" * 8,
        b"\x5b" + b"\x7f" * 8,
        b"\xbb" + b"\x7f" * 8,
        b"\x9a\x00\x0f\xff\xff" + b"\x80" * 0xFFFFF,
        b"\x5f\x41a\x41b\xff",
        b"\xc2\x58\xff" + b"\xff" * 255,
        b"\xfb" + bytes(8),
        b"\x18\x01",
        b"\xa2\x61a\x01\x61a\x02",
        b"\xa1\x61\xff\x01",
        b"\xf7",
        b"",
        b"\xa0",
        b"\xa1\x01\x02",
        cbor2.dumps({"format": "desalink-evidence-1"}),
        cbor2.dumps({"reports": []}),
    ],
)
def test_bytes_that_are_no_evidence_are_refused_and_cost_little(
    item: bytes, exports: Exports, tmp_path: Path
):
    tracemalloc.start()
    try:
        assert exports.refusal(sealed(item, tmp_path / "bad.evidence"))
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    path = tmp_path / "short.evidence"
    path.write_bytes(item[:END])
    assert exports.refusal(path)


@pytest.mark.parametrize(
    ("plain", "more"),
    [
        (lambda: bytes(100 << 20), b""),
        (lambda: b"\x81" * (8 << 20), b""),
        (lambda: b"\x9a\x00\x0f\xff\xff" + b"\x00" * 0xFFFFF, b""),
        (lambda: b"\x81\x83\x00\x00\x5b" + b"\x7f" * 8, b""),
        (lambda: b"\x81\x83\x1b" + b"\xff" * 8 + b"\x1b" + b"\xff" * 8 + b"\x41a", b""),
        (lambda: b"\x80", b""),
        (lambda: b"\x81\x83\x00\x00\x40", b"more"),
        (lambda: b"\x81\x83\x00\x00\x40", None),
        (None, b""),
    ],
    ids=range(9),
)
def test_a_part_that_inflates_to_too_much_or_to_nonsense_is_refused(
    plain: Callable[[], bytes] | None, more: bytes | None, exports: Exports, tmp_path: Path
):
    # Only here: as a parameter it would be made in every worker.
    packed = zlib.compress(plain()) if plain else b""
    packed = packed[:-1] if more is None else packed + more
    items = list(parts(exports.open))
    at = next(n for n, item in enumerate(items) if b"reports" in item[:40])
    items[at] = cbor2.dumps({"slot": SLOTS[0], "reports": packed}, canonical=True)
    sealed(b"".join(items), tmp_path / "bad.evidence")
    tracemalloc.start()
    try:
        assert exports.refusal(tmp_path / "bad.evidence")
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()


STRANGE = (
    None,
    True,
    -1,
    2**64 - 1,
    "",
    "x" * 99,
    b"\x00",
    [],
    [[]],
    {},
    {"a": {"b": []}},
    "2026-13",
)


def test_a_strange_value_at_any_place_is_refused_with_a_sentence(exports: Exports, tmp_path: Path):
    header, *items = parts(exports.closed)
    table = cbor2.loads(header)
    path = tmp_path / "bad.evidence"
    for name in table:
        for value in STRANGE:
            if name in ("made", "desalink", "province") or value == table[name]:
                continue  # nothing follows from these
            changed = cbor2.dumps(table | {name: value}, canonical=True)
            assert exports.refusal(sealed(changed + b"".join(items), path)), (name, value)
    kinds = {next(key for key in cbor2.loads(item) if key != "slot"): item for item in items}
    for name, item in kinds.items():
        for value in (None, 2**64 - 1, [[]], {"a": []}):
            changed = cbor2.dumps(cbor2.loads(item) | {name: value}, canonical=True)
            rest = [changed if other is item else other for other in items]
            assert exports.refusal(sealed(header + b"".join(rest), path)), (name, value)


@pytest.mark.parametrize(
    "text", [b"", b"[" * 100_000, b'{"slots":' + b"9" * 10_000 + b"}", b"[1]", b'{"format":1}']
)
def test_closed_figures_that_are_no_json_of_that_form_are_refused(
    text: bytes, exports: Exports, tmp_path: Path
):
    file = exports.forged(closed=True)
    file.closed = text
    digest = hashlib.sha256(text).digest()
    file.change_entry("close", lambda body: body.update(digest=digest), "office")
    file.write(tmp_path / "bad.evidence")
    assert "no JSON of that form" in exports.refusal(tmp_path / "bad.evidence")
