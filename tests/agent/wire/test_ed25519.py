"""agent/wire/ed25519.py against OpenSSL (cryptography) and libsodium (PyNaCl)."""

import asyncio

import nacl.exceptions
import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire import ed25519
from tests.agent.wire import make_comb
from tests.support import ROOT, run_micropython

seeds = st.binary(min_size=32, max_size=32)
KEY = bytes(range(32))


def openssl(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def libsodium_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.signing.VerifyKey(public).verify(message, signature)
    except (nacl.exceptions.BadSignatureError, ValueError):
        return False
    return True


@given(seeds, st.binary(max_size=300))
@settings(max_examples=50)
def test_signs_as_openssl_does(seed: bytes, message: bytes) -> None:
    signer = ed25519.Signer(seed)
    assert signer.public == openssl(seed).public_key().public_bytes_raw()
    assert signer.sign(message) == openssl(seed).sign(message)
    assert ed25519.verify(signer.public, message, signer.sign(message))


@given(st.binary(max_size=40), st.integers(0, 511), st.sampled_from(["message", "signature"]))
@settings(max_examples=50)
def test_a_turned_bit_is_refused(message: bytes, bit: int, which: str) -> None:
    signer = ed25519.Signer(KEY)
    changed = bytearray(message if which == "message" and message else signer.sign(message))
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    if which == "message" and message:
        assert not ed25519.verify(signer.public, bytes(changed), signer.sign(message))
    else:
        assert not ed25519.verify(signer.public, message, bytes(changed))


@given(
    st.binary(min_size=32, max_size=32), st.binary(max_size=9), st.binary(min_size=64, max_size=64)
)
@settings(max_examples=50)
def test_any_bytes_at_all_are_refused(public: bytes, message: bytes, signature: bytes) -> None:
    # Not by chance alone: half of all public keys are not on the curve, and S is mostly >= L.
    signature = signature[:63] + bytes([signature[63] & 0x0F])
    assert not ed25519.verify(public, message, signature)
    assert not libsodium_verifies(public, message, signature)


@given(st.integers(0, 2**252), st.binary(max_size=9))
@settings(max_examples=30)
def test_a_multiple_of_the_base_point_is_right_for_every_scalar(scalar: int, _: bytes) -> None:
    (*_, encoded) = ed25519._times_base(scalar)
    point, total = make_comb.BASE, (0, 1)
    n = scalar
    while n:
        if n & 1:
            total = make_comb.add(total, point)
        point = make_comb.add(point, point)
        n >>= 1
    assert int.from_bytes(encoded, "little") == total[1] | (total[0] & 1) << 255


@pytest.mark.parametrize("scalar", [0, 1, 2, 3, ed25519._L - 1, ed25519._L, 2**255 - 1])
def test_scalars_at_the_border_are_right(scalar: int) -> None:
    test_a_multiple_of_the_base_point_is_right_for_every_scalar.hypothesis.inner_test(scalar, b"")


def test_a_key_is_a_seed_of_32_bytes() -> None:
    for length in (0, 31, 33, 64):
        with pytest.raises(ValueError, match="32 bytes"):
            ed25519.Signer(bytes(length))


def test_nothing_secret_shows() -> None:
    signer = ed25519.Signer(KEY)
    assert KEY.hex() not in repr(signer) + str(signer)
    assert repr(KEY)[2:-1] not in repr(signer)


def test_the_table_is_the_one_computed_from_the_base_point() -> None:
    assert (ROOT / "agent/wire/comb.py").read_text() == make_comb.source()


# One for signing and one for verifying; at ESP32 speed each step is then below 50 ms.
TURNS = """
import asyncio
from agent.wire import ed25519

async def main():
    turns = 0
    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)
    signer = ed25519.Signer(bytes(32))
    task = asyncio.create_task(other())
    signature = await signer.sign_async(bytes(400))
    print(turns)
    turns = 0
    print(await ed25519.verify_async(signer.public, bytes(400), signature))
    print(turns)
    task.cancel()

asyncio.run(main())
"""


def test_others_get_their_turn_while_a_device_signs_and_verifies() -> None:
    signing, good, verifying = run_micropython(TURNS, check=True).stdout.split()
    assert good == "True"
    # Eight blocks of SHA-512 and the base point's multiple in five; three times that to verify.
    assert int(signing) >= 13
    assert int(verifying) >= 39


def test_signatures_made_side_by_side_do_not_mix() -> None:
    signer = ed25519.Signer(KEY)
    messages = [b"%d" % i for i in range(5)]

    async def all_at_once() -> list[bytes]:
        return await asyncio.gather(*(signer.sign_async(message) for message in messages))

    assert asyncio.run(all_at_once()) == [openssl(KEY).sign(message) for message in messages]
