"""agent/wire/cbor.py against cbor2, and against those who mean harm."""

import math
import tracemalloc

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire import cbor
from tests.support import run_micropython

keys = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.integers(0, 30),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.floats(), st.text(), st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@given(values)
def test_encodes_as_cbor2_does_canonically(value: object) -> None:
    # cbor2 orders map keys by length first (RFC 7049), we bytewise (RFC 8949).
    encoded = cbor.dumps(value, max_depth=99)
    assert same(cbor2.loads(encoded), value)
    if not any_map_of_two(value):
        assert encoded == cbor2.dumps(value, canonical=True)


def any_map_of_two(value: object) -> bool:
    if isinstance(value, list):
        return any(map(any_map_of_two, value))
    if isinstance(value, dict):
        return len(value) > 1 or any(map(any_map_of_two, value.values()))
    return False


@given(values)
def test_a_value_survives_the_way_there_and_back(value: object) -> None:
    assert same(cbor.loads(cbor.dumps(value, max_depth=99), max_depth=99), value)


@given(values)
def test_what_cbor2_writes_is_read(value: object) -> None:
    assert same(cbor.loads(cbor2.dumps(value), strict=False, max_depth=99), value)


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_or_are_the_only_encoding_of_their_value(data: bytes) -> None:
    try:
        value = cbor.loads(data)
    except cbor.CborError:
        return
    assert cbor.dumps(value) == data


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_or_read_leniently_and_then_written_strictly(data: bytes) -> None:
    try:
        value = cbor.loads(data, strict=False)
    except cbor.CborError:
        return
    assert same_decoded(cbor.loads(cbor.dumps(value)), value)


def same_decoded(a: object, b: object) -> bool:
    if isinstance(a, cbor.Tag) and isinstance(b, cbor.Tag):
        return a.tag == b.tag and same_decoded(a.value, b.value)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_decoded, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_decoded(a[key], b[key]) for key in a)
    return same(a, b)


def test_map_keys_are_written_bytewise_whatever_the_order_they_were_put_in() -> None:
    # The example of RFC 8949, 4.2.1 (its keys of other types left out).
    keys = [10, 100, -1, "z", "aa"]
    assert list(cbor.loads(cbor.dumps({key: 0 for key in reversed(keys)}))) == keys


def test_tuples_bytearrays_and_memoryviews_are_written_as_arrays_and_byte_strings() -> None:
    assert cbor.dumps((1, bytearray(b"a"), memoryview(b"b"))) == bytes.fromhex("830141614162")


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, {1.5: 0}, {None: 0}, {(1,): 0}, {True: 0}, "\ud800", cbor.Simple(24)],
)
def test_what_cbor_or_the_reader_has_no_place_for_is_not_written(value: object) -> None:
    with pytest.raises(cbor.CborError):
        cbor.dumps(value)


def test_a_loop_is_not_written() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(cbor.CborError, match="too deep"):
        cbor.dumps(loop)


def test_an_error_says_what_and_where() -> None:
    with pytest.raises(cbor.CborError, match="key twice, at offset 3"):
        cbor.loads(bytes.fromhex("a201000101"))
    with pytest.raises(cbor.CborError, match="not UTF-8, at offset 1"):
        cbor.loads(bytes.fromhex("8161ff"))
    with pytest.raises(cbor.CborError, match="too long, at offset 1"):
        cbor.loads(b"\0\0")


def test_limits_are_the_callers() -> None:
    assert cbor.loads(b"\x81" * 20 + b"\x80", max_depth=21)
    with pytest.raises(cbor.CborError, match="too deep"):
        cbor.loads(b"\x81" * 20 + b"\x80", max_depth=20)
    assert cbor.loads(bytes.fromhex("83010203"), max_items=3)
    for too_many in ("83010203", "818101", "a10102", "9f0102ff"):
        with pytest.raises(cbor.CborError):
            cbor.loads(bytes.fromhex(too_many), strict=False, max_items=1)
    # A map's key and its value count as two.
    assert cbor.loads(bytes.fromhex("a10102"), max_items=2)


def test_an_absurd_depth_is_an_error_like_others() -> None:
    with pytest.raises(cbor.CborError):
        cbor.loads(b"\x81" * 100000, max_depth=100000)


@pytest.mark.parametrize(
    "start", ["5b7fffffffffffffff", "7b7fffffffffffffff", "9b7fffffffffffffff", "5a7fffffff"]
)
def test_a_length_allocates_nothing_before_the_bytes_are_there(start: str) -> None:
    data = bytes.fromhex(start) + bytes(1000)
    peaks = []
    for _ in range(3):  # another thread of the tests may allocate meanwhile
        tracemalloc.start()
        try:
            with pytest.raises(cbor.CborError):
                cbor.loads(data)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) < 20_000


def test_a_device_that_runs_out_of_memory_says_so() -> None:
    script = """
from agent.wire import cbor
try:
    cbor.loads(b'\\x99\\x0f\\xff' + b'\\x80' * 4095)
except cbor.CborError as e:
    print(e)
"""
    assert "no memory" in run_micropython(script, heapsize="96k", check=True).stdout
