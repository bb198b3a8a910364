"""The province held to the vectors that hold the agent (tests/vectors): both say the same.

Payloads are read with cbor2 and signatures checked with libsodium. Another version of either may
judge otherwise, and what was evidence yesterday must not be forged today.
"""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.keys.signing import verify1
from host_tools.wire import Key, Refused, Verifier, decode, parse_topic, verify_sign1
from host_tools.wire.envelope import check_signature, hash8
from tests.support import ROOT


def vectors(*checks: str) -> list[dict]:
    found = []
    for path in sorted((ROOT / "tests" / "vectors").glob("*.json")):
        content = json.loads(path.read_text())
        for number, vector in enumerate(content["vectors"]):
            vector = content.get("defaults", {}) | vector | {"at": f"{path.stem} {number}"}
            if vector["check"] in checks:
                found.append(vector)
    assert found
    return found


def data(value: str | list) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value)
    parts = [(part, 1) if isinstance(part, str) else part for part in value]
    return b"".join(bytes.fromhex(part) * times for part, times in parts)


def test_libsodium_judges_signatures_as_the_agent_does():
    for vector in vectors("ed25519-sign", "ed25519-verify"):
        public, message, signature = (data(vector[k]) for k in ("public", "message", "signature"))
        good = check_signature(public, signature + message)
        assert good is vector.get("valid", True), vector["at"]


def test_the_envelope_is_judged_as_the_agent_does():
    for vector in vectors("cose-verify"):
        if not vector["profile"]:
            continue
        public, message, aad = (data(vector[key]) for key in ("public", "message", "aad"))
        expected = None if vector.get("refused") else data(vector["payload"])
        assert payload_or_none(verify1, message, public, aad) == expected, vector["at"]
        try:
            topic = parse_topic(aad.decode())
        except Refused:
            continue
        verifier = Verifier({hash8(public): Key(public, topic.slot, True)})
        signed = payload_or_none(verifier.verify, topic.name, message)
        assert (signed and signed.payload) == expected, vector["at"]


# What `verify_sign1` accepts and the agent doesn't: its COSE need not be deterministic, and it may
# have any number of headers.
LENIENT = {
    "protected header out of order, without profile",
    "protected header not shortest, without profile",
    "tag not shortest, without profile",
    "many unprotected headers, without profile",
}


def test_a_cose_message_of_any_shape_is_judged_as_the_agent_does():
    for vector in vectors("cose-verify"):
        if vector["profile"] or vector.get("name") in LENIENT:
            continue
        public, message, aad = (data(vector[key]) for key in ("public", "message", "aad"))
        found = payload_or_none(verify_sign1, message, public, aad)
        expected = None if vector.get("refused") else data(vector["payload"])
        assert (found and found[0]) == expected, vector["at"]


def payload_or_none(verify, *arguments):
    try:
        return verify(*arguments)
    except Refused:
        return None


class Bad(Exception):
    pass


class Simple(int):
    """A simple value without a name."""


def read(content: bytes, at: int, depth: int) -> tuple[object, int]:
    """An item and where it ends, from docs/wire.md, "CBOR", and RFC 8949, appendix C, alone.

    Python compares numbers, booleans and what is made of them as the page says of keys.
    """
    major, info = content[at] >> 5, content[at] & 31
    at += 1
    n = info
    if info >= 24:
        if info > 27:  # reserved, or of indefinite length
            raise Bad
        n = int.from_bytes(take(content, at, 1 << info - 24), "big")
        at += 1 << info - 24
    if major == 0:
        return n, at
    if major == 1:
        return -1 - n, at
    if major == 2:
        return take(content, at, n), at + n
    if major == 3:
        return take(content, at, n).decode(), at + n
    if major == 7:
        if info > 24:
            size = 1 << info - 24
            return struct.unpack({2: ">e", 4: ">f", 8: ">d"}[size], n.to_bytes(size, "big"))[0], at
        if info == 24 and n < 32:
            raise Bad
        return {20: False, 21: True, 22: None, 23: Ellipsis}.get(n, Simple(n)), at
    if major == 6 or (depth == 8 and n) or n > len(content):
        raise Bad
    items = []
    for _ in range(n if major == 4 else 2 * n):
        item, at = read(content, at, depth + 1)
        items.append(item)
    if major == 4:
        return tuple(items), at
    if len(set(items[::2])) < n:
        raise Bad
    return frozenset(zip(items[::2], items[1::2], strict=True)), at


def take(content: bytes, at: int, n: int) -> bytes:
    if at + n > len(content):
        raise Bad
    return content[at : at + n]


def good_payload(content: bytes) -> bool:
    try:
        item, at = read(content, 0, 0)
    except (Bad, IndexError, UnicodeError):
        return False
    keys = [type(key) for key, _ in item] if isinstance(item, frozenset) else [None]
    return at == len(content) and {int, str}.issuperset(keys)


def accepts(content: bytes) -> bool:
    try:
        decode(content)
        return True
    except Refused:
        return False


ITEMS = [data(vector["hex"]) for vector in vectors("cbor", "cbor-refused")]
KEY_99, MAP_OF_1, ARRAY_OF_1 = b"\x18\x63", b"\xa1", b"\x81"


@pytest.mark.parametrize(
    "shape",
    [
        lambda item: item,
        lambda item: MAP_OF_1 + KEY_99 + item,
        lambda item: MAP_OF_1 + KEY_99 + ARRAY_OF_1 + item,
        lambda item: MAP_OF_1 + item + b"\0",
        lambda item: MAP_OF_1 + KEY_99 + MAP_OF_1 + item + b"\0",
        lambda item: MAP_OF_1 + KEY_99 + b"\xa2" + item + b"\0" + item + b"\1",
        lambda item: MAP_OF_1 + KEY_99 + MAP_OF_1 + b"\0" + item + b"\0",
    ],
    ids="alone,value,in an array,key,inner key,inner key twice,and more".split(","),
)
def test_payloads_are_refused_where_the_page_says_so_and_nowhere_else(shape):
    judged = set()
    for item in ITEMS:
        payload = shape(item)
        assert accepts(payload) is good_payload(payload), payload[:100].hex()
        judged.add(accepts(payload))
    assert False in judged


@pytest.mark.parametrize(
    ("inner", "good"),
    [
        ("a2 01 00 f93c00 00", False),  # 1 and 1.0
        ("a2 01 00 f5 00", False),  # 1 and true
        ("a2 00 00 f4 00", False),  # 0 and false
        ("a2 f90000 00 f98000 00", False),  # 0.0 and -0.0
        ("a2 05 00 e5 00", False),  # 5 and the simple value 5
        ("a2 f93c00 00 fa3f800000 00", False),  # 1.0 in two forms
        ("a2 01 00 1801 00", False),  # 1 in two forms
        ("a2 8101 00 81f93c00 00", False),  # [1] and [1.0]
        ("a2 a201020304 00 a203040102 00", False),  # a map in two orders
        ("a2 f97e00 00 f97e00 00", True),  # NaN twice
        ("a2 4161 00 6161 00", True),  # bytes and text
        ("a2 f6 00 f7 00", True),  # null and undefined
        ("81 81 81 81 81 81 80", True),
        ("81 81 81 81 81 81 81 80", True),  # the ninth, but empty
        ("81 81 81 81 81 81 81 a0", True),
        ("81 81 81 81 81 81 81 81 80", False),
        ("81 81 81 81 81 81 81 81 00", False),
        ("1b 0000000000000001", True),
        ("5b 0000000000000001 00", True),  # lengths that are not shortest
        ("9b 0000000000000001 00", True),
        ("bb 0000000000000001 00 00", True),
        ("fb 3ff0000000000000", True),
    ],
)
def test_which_unknown_values_may_stand_in_a_payload(inner, good):
    payload = MAP_OF_1 + KEY_99 + bytes.fromhex(inner)
    assert accepts(payload) is good
    assert good_payload(payload) is good


@given(st.lists(st.sampled_from([i for i in ITEMS if len(i) < 40]), max_size=4), st.booleans())
def test_whatever_is_put_together_is_judged_as_the_page_says(items, as_keys):
    head = bytes(((0xA0 if as_keys else 0x80) + len(items),))
    inner = head + b"".join(item + b"\0" if as_keys else item for item in items)
    payload = MAP_OF_1 + KEY_99 + inner
    assert accepts(payload) is good_payload(payload)
