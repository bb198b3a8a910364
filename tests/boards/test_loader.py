"""The loader of firmware with ROMFS, on real MicroPython: which image starts."""

import json
from pathlib import Path

import pytest

from host_tools.devices.release import Release
from host_tools.devices.romfs import RECORD_SPACE, half, romfs_image
from tests.support import run_micropython

STARTS = Path(__file__).with_name("starts.py")
HALF = 0x4000
A = ["old", "A", "/rom"]
B = ["new", "B", "/rom"]


def image(name: str) -> bytes:
    return romfs_image(Release("1", "board", {"/image/name": name.encode()}))


OLD = half(image("old"), 1)
NEW = half(image("new"), 2)
UNCONFIRMED = NEW[:76] + b"\xff" * 4 + NEW[80:]


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def start(folder: Path, a: bytes, b: bytes, *actions: str) -> list:
    path = folder / "romfs"
    path.write_bytes(a.ljust(HALF, b"\xff") + b.ljust(HALF, b"\xff"))
    ended = run_micropython(STARTS, path, *(actions or ["start"]), check=True)
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert isinstance(seen, list)
    return seen


@pytest.mark.parametrize(
    ("a", "b", "started"),
    [
        pytest.param(OLD, b"", A, id="as provisioned"),
        pytest.param(OLD, NEW, B, id="the newer one"),
        pytest.param(half(image("old"), 3), NEW, A, id="the newer one is A"),
        pytest.param(OLD, NEW[:RECORD_SPACE], A, id="the image was not written"),
        pytest.param(OLD, damaged(NEW, RECORD_SPACE + 9), A, id="the image is damaged"),
        pytest.param(OLD, damaged(NEW, 5), A, id="the record is damaged"),
        pytest.param(OLD, b"\xff" * RECORD_SPACE + NEW[RECORD_SPACE:], A, id="no record yet"),
        pytest.param(damaged(OLD, RECORD_SPACE), NEW, B, id="the older one is damaged"),
        pytest.param(b"", UNCONFIRMED, B, id="nothing else is there"),
    ],
)
def test_the_newest_whole_image_is_mounted(tmp_path, a, b, started):
    assert start(tmp_path, a, b) == [started]


def test_an_image_that_is_not_confirmed_has_three_tries_then_the_older_one_starts(tmp_path):
    assert start(tmp_path, OLD, UNCONFIRMED, *["start"] * 5) == [B, B, B, A, A]


def test_an_image_that_is_confirmed_stays(tmp_path):
    actions = ["start", "start", "confirm", *["start"] * 4]
    assert start(tmp_path, OLD, UNCONFIRMED, *actions) == [B] * 6


def test_an_image_without_tries_is_better_than_none(tmp_path):
    assert start(tmp_path, damaged(OLD, RECORD_SPACE), UNCONFIRMED, *["start"] * 5) == [B] * 5


@pytest.mark.parametrize(
    "a", [b"", damaged(OLD, RECORD_SPACE), half(bytes(HALF), 1)[:HALF], b"DSL1" * 16]
)
def test_without_an_image_it_says_what_to_do(tmp_path, a):
    (said,) = start(tmp_path, a, b"")
    assert "provision the board again" in said
