"""Throws broken messages at agent/wire until the time is up, or until one does harm.

    python -m tests.agent.wire.fuzz_wire --seconds 60

Harm is an exception other than CborError and CoseError, a strictly decoded value that encodes to
other bytes, a message that verifies though it was changed. What does it is printed as hex, to
become a vector in tests/vectors; ends with 1 then. The same --seed throws the same messages.
"""

import random
import sys

from agent.wire import cbor, cose, ed25519
from tests.fuzzing import begin

SIGNER = ed25519.Signer(bytes(range(32)))
TOPIC = b"desa/1/6403/6403112001-1/report"
REPORT = {
    1: b"\1\2\3\4",
    2: 300,
    3: bytes(8),
    4: 70000,
    5: 5_000_000_000,
    6: None,
    7: 60,
    8: {1: [1], 7: [452, -3, None, 1], 20: [123456, 0]},
    9: [[-5, 1, {1: 5, 2: [[4, 1], [5, 2]]}], [0, 3, {4: "text ü", 5: True}]],
    11: 4,
}
SEEDS = [
    cbor.dumps(REPORT),
    cbor.dumps([1.5, 0.1, 1e300, float("inf"), -0.0, cbor.Simple(99), cbor.UNDEFINED, False]),
    cbor.dumps([2**64, -(2**70), {"a": {"b": [b"c"]}}, cbor.Tag(1, 0)]),
    bytes.fromhex("9f5f4101420203ff7f6161ffbf61619f01ffffc249010000000000000000fa3f800000ff"),
]
MESSAGE = cose.sign1(SIGNER, SEEDS[0], TOPIC)
# Bytes where something begins, ends or is at its limit.
EDGES = bytes.fromhex("0017181b1c1f20375f7f3b407b809b9fa0b7bbbfc0c2d2d8e0f4f6f7f8f9fbff")


class Harm(Exception):
    """What went wrong."""


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice(EDGES)
        elif kind == 2:
            out[at:at] = bytes(rng.choice(EDGES) for _ in range(rng.randrange(1, 5)))
        elif kind == 3:
            del out[at : at + rng.randrange(1, 9)]
        elif kind == 4:
            del out[at:]
        elif kind == 5:
            out[at:at] = out[: rng.randrange(1, 20)] * rng.randrange(1, 4)
        else:
            other = rng.choice(SEEDS)
            start = rng.randrange(len(other))
            out[at : at + rng.randrange(9)] = other[start : start + rng.randrange(9)]
    return bytes(out)


def throw_at_cbor(data: bytes) -> None:
    for strict in (True, False):
        try:
            value = cbor.loads(data, strict)
        except cbor.CborError:
            continue
        again = cbor.dumps(value)
        if strict and again != data:
            raise Harm("a strictly decoded value encodes otherwise")
        if cbor.dumps(cbor.loads(again)) != again:
            raise Harm("an encoded value decodes otherwise")


def throw_at_cose(data: bytes) -> None:
    for profile in (True, False):
        try:
            cose.verify1(SIGNER.public, data, TOPIC, profile)
        except cose.CoseError:
            continue
        if data != MESSAGE:
            raise Harm("a changed message verifies")


def throw_at_ed25519(data: bytes) -> None:
    public, signature = data[:32], data[32:96]
    if ed25519.verify(public, b"message", signature):
        raise Harm("a made-up signature verifies")


def main() -> int:
    fuzzing = begin(__doc__.splitlines()[0])
    rng = fuzzing.dice
    thrown = 0
    while fuzzing.goes_on():
        for throw, data in (
            *((throw_at_cbor, mutated(rng.choice(SEEDS), rng)) for _ in range(50)),
            (throw_at_cbor, rng.randbytes(rng.randrange(40))),
            *((throw_at_cose, mutated(MESSAGE, rng)) for _ in range(5)),
            (throw_at_ed25519, mutated(SIGNER.public + SIGNER.sign(b"another"), rng)),
        ):
            thrown += 1
            try:
                throw(data)
            except Exception as e:
                print(f"fuzz_wire: {throw.__name__}: {e!r}: {data.hex()}")
                return 1
    print(f"fuzz_wire: {thrown} messages did no harm")
    return 0


if __name__ == "__main__":
    sys.exit(main())
