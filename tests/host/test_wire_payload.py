"""Payloads: what is read, what is refused, what is ignored."""

import cbor2
import pycddl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.wire import (
    Reason,
    Refused,
    encode_ack,
    parse_birth,
    parse_enrolment,
    parse_report,
)
from host_tools.wire.envelope import strict_decode
from tests.host.factory import Device, outage_began
from tests.support import ROOT

CDDL = (ROOT / "docs" / "wire.cddl").read_text()


def schema(rule: str) -> pycddl.Schema:
    """wire.cddl with another first rule, which is the one that is validated."""
    return pycddl.Schema(f"start = {rule}\n{CDDL}")


def encoded(table: object) -> bytes:
    return cbor2.dumps(table, canonical=True)


def a_report(**changes) -> dict:
    return Device().payload(events=[outage_began(3, 5)]) | {
        int(key[1:]): value for key, value in changes.items()
    }


def refused(table: object, parse=parse_report) -> Refused:
    with pytest.raises(Refused) as caught:
        parse(table if isinstance(table, bytes) else encoded(table))
    assert caught.value.reason is Reason.MALFORMED
    return caught.value


def test_the_factory_s_payloads_follow_wire_cddl():
    device = Device()
    schema("report").validate_cbor(encoded(device.payload(events=[outage_began(-4, 5)])))
    schema("report").validate_cbor(encoded(Device(clock=False).payload({}, [[0, 3, {}]])))
    schema("signed").validate_cbor(device.report())
    schema("signed").validate_cbor(device.birth())
    schema("birth").validate_cbor(strict_decode(device.birth(), 9).value[2])


def test_a_report_is_read():
    report = parse_report(encoded(a_report()))
    assert (report.seq, report.prev, report.step, report.n) == (1, None, 60, 5)
    assert report.events[0].kind == 1 and report.events[0].detail[2] == [[4, 0], [5, 1]]
    assert (report.clock_age, report.clock_source) == (120, 3)


def test_unknown_keys_metrics_and_events_are_let_through():
    table = a_report(_77={"a": [1.5]}, _8={1: [1], 900: [7, -1]}, _9=[[0, 99, {5: [1, None]}]])
    table["text"] = None
    report = parse_report(encoded(table))
    assert report.metrics[900] == [7, -1] and report.events[0].kind == 99


@pytest.mark.parametrize(
    "changes",
    [
        {"_3": b"1234567"},
        {"_3": 0},
        {"_4": 0},
        {"_5": -1},
        {"_5": 2**53},
        {"_6": "1"},
        {"_6": 2**64 - 1},
        {"_6": True},
        {"_7": 0},
        {"_7": 86401},
        {"_7": 60.0},
        {"_8": []},
        {"_8": {-1: [1]}},
        {"_8": {"a": [1]}},
        {"_8": {True: [1]}},
        {"_8": {1: []}},
        {"_8": {1: [1] * 6}},
        {"_8": {1: [True]}},
        {"_8": {1: [1.0]}},
        {"_8": {1: "5"}},
        {"_8": {1: True}},
        {"_8": {13: 2**53 // 1024 + 1}},
        {"_8": {13: [2**53]}},
        {"_8": {2: [2**52, 2**52]}},
        {"_8": {2: [2**64 - 1, -(2**64)]}},
        {"_9": []},
        {"_9": [[0, 1]]},
        {"_9": [[2**60, 1, {}]]},
        {"_9": [[0, -1, {}]]},
        {"_9": [[0, 1, {-1: 0}]]},
        {"_9": [[0, 1, {1: {}}]]},
        {"_9": [[0, 1, {1: [[1, 2, 3]]}]]},
        {"_10": [1]},
        {"_10": [-1, 3]},
        {"_10": [1, 16]},
        {"_11": 61},
        {"_11": 0},
    ],
    ids=str,
)
def test_a_well_signed_report_with_a_bad_field_still_tells_its_number(changes):
    error = refused(a_report(**changes))
    assert (error.stream, error.seq) == (Device().stream, 1)


def test_step_and_number_of_samples_are_the_usual_ones_where_they_are_not_told():
    table = a_report()
    del table[7], table[11]
    report = parse_report(encoded(table))
    assert (report.step, report.n) == (60, 5)


@pytest.mark.parametrize("key", [3, 4, 5, 6, 8])
def test_a_missing_field_is_named(key):
    table = a_report()
    del table[key]
    assert f"({key}) is missing" in str(refused(table))


@pytest.mark.parametrize(
    "changes", [{"_1": b"123"}, {"_2": 0}, {"_2": 2**32}, {"_2": True}], ids=str
)
def test_a_report_without_stream_or_seq_can_t_be_counted(changes):
    assert refused(a_report(**changes)).seq is None


def test_true_is_not_the_key_1():
    table = a_report()
    table.pop(1)
    refused(cbor2.dumps({True: Device().stream} | table))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xa0\x00",  # trailing byte
        b"\xa2\x01\x00\x01\x00",  # duplicate keys
        b"\xbf\x01\x00\xff",  # indefinite length
        b"\xa1\x18\x63" + b"\x81" * 9 + b"\x00",  # nested too deep
        b"\xa1\x18\x63\xc2\x49" + b"\xff" * 9,  # an integer of 72 bits
        b"\xa1\x18\x63\xd8\x23\x61a",  # a regular expression
        b"\xa1\x18\x63\xd8\x1c\x81\xd8\x1d\x00",  # a structure that contains itself
        b"\xba\xff\xff\xff\xff\x00",
        b"\xa1\x01\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x80",
    ],
)
def test_cbor_that_is_not_allowed_is_malformed(payload):
    refused(payload)


@given(st.binary(max_size=200))
def test_noise_is_malformed(noise):
    for parse in (parse_report, parse_birth, parse_enrolment):
        with pytest.raises(Refused):
            parse(noise)


def test_a_birth_is_read_and_each_field_is_checked():
    payload = strict_decode(Device().birth(), 9).value[2]
    birth = parse_birth(payload)
    assert (birth.boot, birth.conn, birth.next, birth.cadence) == (1, 1, 1, (10, 60, 5))
    table = cbor2.loads(payload)
    for key in table:
        refused({k: v for k, v in table.items() if k != key}, parse_birth)
        refused(table | {key: -1}, parse_birth)


def test_an_enrolment_is_read():
    table = {1: "6403112001-1", 2: bytes(32), 3: None, 4: "linux", 5: "0.1.0", 6: None}
    schema("enrolment").validate_cbor(encoded(table))
    assert parse_enrolment(encoded(table)).slot == "6403112001-1"
    refused(table | {2: bytes(31)}, parse_enrolment)
    # The firmware's hash came later: older agents leave it out, some devices can't tell.
    assert parse_enrolment(encoded(table)).firmware is None
    for firmware in (None, bytes(32)):
        schema("enrolment").validate_cbor(encoded(table | {7: firmware}))
        assert parse_enrolment(encoded(table | {7: firmware})).firmware == firmware
    refused(table | {7: bytes(31)}, parse_enrolment)
    refused(table | {7: "a"}, parse_enrolment)
    refused({k: v for k, v in table.items() if k != 3}, parse_enrolment)


def test_an_ack_says_less_rather_than_too_much():
    ranges = [(10 * i, 10 * i + 3) for i in range(1, 30)]
    message = encode_ack(b"abcd", 5, ranges, 1_800_000_000, (2, 7))
    schema("ack").validate_cbor(message)
    table = cbor2.loads(message)
    assert table[3] == [list(pair) for pair in ranges[:16]] and table[5] == [2, 7]
    plain = encode_ack(b"abcd", 0, [], 1_800_000_000)
    schema("ack").validate_cbor(plain)
    assert set(cbor2.loads(plain)) == {1, 2, 4}
