"""The signed envelope: what passes, and what is refused with which reason."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.wire import (
    Key,
    Reason,
    Refused,
    Verifier,
    parse_report,
    verify_sign1,
)
from tests.world.devices import Device, enveloped

# Order of the curve's base point (RFC 8032, 5.1).
L = 2**252 + 27742317777372353535851937790883648493

# eddsa-sig-01 of the COSE working group's examples (RFC 9052's appendices point there).
COSE_KEY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
COSE_MESSAGE = bytes.fromhex(
    "d28445a201270300a10442313154546869732069732074686520636f6e74656e742e5840"
    "7142fd2ff96d56db85bee905a76ba1d0b7321a95c8c4d3607c5781932b7afb87"
    "11497dfa751bf40b58b3bcc32300b1487f3db34085eef013bf08f4a44d6fef0d"
)

DEVICE = Device()


def verifier(device: Device = DEVICE, *, slot: str | None = None, active: bool = True) -> Verifier:
    return Verifier({device.kid: Key(device.public_key, slot or device.slot, active)})


def refusal(message: bytes, topic: str | None = None, checker: Verifier | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        (checker or verifier()).verify(topic or DEVICE.topic("report"), message)
    return caught.value


def resigned(payload: bytes, protected: bytes, unprotected: dict | None = None) -> bytes:
    """Signed correctly by DEVICE, in an envelope of the test's choice."""
    aad = DEVICE.topic("report").encode()
    return enveloped(DEVICE.key, protected, aad, payload, unprotected)


@pytest.fixture(scope="module")
def message() -> bytes:
    return Device().report()


def test_a_device_s_report_is_verified_and_read(message):
    signed = verifier().verify(DEVICE.topic("report"), message)
    assert (signed.topic.slot, signed.topic.village) == ("6403112001-1", "6403112001")
    assert signed.kid == DEVICE.kid
    assert parse_report(signed.payload).seq == 1
    # The older name of the algorithm is accepted.
    older = Device()
    signed = verifier().verify(older.topic("report"), older.sign(older.payload(), alg=-8))
    assert parse_report(signed.payload).stream == older.stream


def test_the_cose_working_group_s_example_verifies_and_no_other_aad_or_content():
    assert verify_sign1(COSE_MESSAGE, COSE_KEY) == (b"This is the content.", b"11")
    other = COSE_MESSAGE.replace(b"content", b"contexx")
    for changed, aad in ((COSE_MESSAGE, b"x"), (other, b"")):
        with pytest.raises(Refused) as caught:
            verify_sign1(changed, COSE_KEY, aad)
        assert caught.value.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 5000])
def test_payloads_of_every_length_pass_both_verifiers(size):
    payload = bytes(size)
    signed = DEVICE.sign(payload)
    assert verifier().verify(DEVICE.topic("report"), signed).payload == payload
    aad = DEVICE.topic("report").encode()
    assert verify_sign1(signed, DEVICE.public_key, aad) == (payload, DEVICE.kid)


def test_every_truncation_is_malformed_and_every_changed_byte_refused(message):
    assert {refusal(message[:size]).reason for size in range(len(message))} == {Reason.MALFORMED}
    for place in range(17, len(message), 7):
        changed = bytearray(message)
        changed[place] ^= 1
        assert refusal(bytes(changed)).reason in (Reason.BAD_SIGNATURE, Reason.MALFORMED)


PROTECTED = cbor2.dumps({1: -19, 4: DEVICE.kid})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda message: message + b"\0", Reason.MALFORMED),
        (lambda message: message[1:], Reason.MALFORMED),  # no tag
        (lambda message: b"\xd1" + message[1:], Reason.MALFORMED),  # another tag
        (lambda _: DEVICE.sign(bytes(8192)), Reason.TOO_LARGE),
        (lambda _: resigned(bytes(40), PROTECTED, {4: DEVICE.kid}), Reason.MALFORMED),
        (
            lambda m: m[:-32] + (int.from_bytes(m[-32:], "little") + L).to_bytes(32, "little"),
            Reason.BAD_SIGNATURE,
        ),
    ],
    ids=["trailing byte", "no tag", "other tag", "too large", "unprotected header", "S >= L"],
)
def test_another_envelope_is_refused(message, change, reason):
    assert refusal(change(message)).reason is reason


def test_a_message_does_not_verify_under_another_topic(message):
    neighbour, topic = verifier(slot="6403112002-1"), "desa/1/6403/6403112002-1/report"
    assert refusal(message, topic, neighbour).reason is Reason.BAD_SIGNATURE
    assert refusal(message, DEVICE.topic("birth")).reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "topic",
    [
        "desa/1/6402/6403112001-1/report",
        "desa/2/6403/6403112001-1/report",
        "desa/1/6403/6403112001/report",
        "desa/1/6403/6403112001-0/report",
        "desa/1/6403/6403112001-1/report/",
        "desa/1/6403/6403112001-1/report\n",
        "desa/1/6403/६४०३112001-1/report",
        "",
    ],
)
def test_a_topic_of_another_form_is_a_wrong_topic(topic, message):
    with pytest.raises(Refused) as caught:
        verifier().verify(topic, message)
    assert caught.value.reason is Reason.WRONG_TOPIC


def test_an_unknown_key_is_named_and_a_key_of_another_slot_refused(message):
    refused = refusal(message, checker=Verifier({}))
    assert (refused.reason, refused.kid) == (Reason.UNKNOWN_KEY, DEVICE.kid)
    assert refusal(message, checker=verifier(slot="6403112002-1")).reason is Reason.WRONG_SLOT


def test_only_the_holder_of_a_revoked_key_raises_that_alarm(message):
    revoked = verifier(active=False)
    assert refusal(message, checker=revoked).reason is Reason.REVOKED_KEY
    forged = message[:-1] + bytes((message[-1] ^ 1,))
    assert refusal(forged, checker=revoked).reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "point", [bytes((1,)) + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f"]
)
def test_points_of_small_order_are_refused(point, message):
    # With A and R of small order and S = 0 such signatures "verify" for many messages.
    weak = Verifier({DEVICE.kid: Key(point, DEVICE.slot, True)})
    forged = message[:-64] + point + bytes(32)
    assert refusal(forged, checker=weak).reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "protected",
    [
        {1: -7, 4: DEVICE.kid},
        {4: DEVICE.kid},
        {1: -19},
        {1: -19, 4: DEVICE.kid, 5: 1},
        {1: -19, 4: DEVICE.kid[:7]},
    ],
)
def test_other_protected_headers_are_malformed_however_well_signed(protected):
    assert refusal(resigned(bytes(40), cbor2.dumps(protected))).reason is Reason.MALFORMED


@given(st.binary(max_size=300))
def test_noise_is_refused_with_a_reason(noise):
    refusal(noise)
    refusal(b"\xd2\x84\x4d\xa2\x01\x32\x04\x48" + noise)
    with pytest.raises(Refused):
        verify_sign1(b"\xd2\x84" + noise, DEVICE.public_key)
