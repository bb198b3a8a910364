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
from tests.support import ROOT
from tests.world.devices import Device, outage_began

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


def test_unknown_keys_metrics_and_events_are_accepted():
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
        {"_5": 2**33 + 1},
        {"_6": 2**33 + 1},
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
        {"_8": {2: [2**53 - 1, 1]}},
        {"_8": {2: [-(2**53) + 1, None, -1]}},
        {"_8": {2: [2**52, 2**52]}},
        {"_8": {2: [2**64 - 1, -(2**64)]}},
        {"_9": []},
        {"_9": [[0, 1]]},
        {"_9": [[2**60, 1, {}]]},
        {"_9": [[315_576_001, 1, {}]]},
        {"_9": [[-315_576_001, 1, {}]]},
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
def test_a_well_signed_report_with_a_bad_field_still_has_its_number(changes):
    error = refused(a_report(**changes))
    assert (error.stream, error.seq) == (Device().stream, 1)


def test_a_missing_field_is_named_and_the_usual_step_and_number_are_left_out():
    for key in (3, 4, 5, 6, 8):
        table = a_report()
        del table[key]
        assert f"({key}) is missing" in str(refused(table))
    table = a_report()
    del table[7], table[11]
    report = parse_report(encoded(table))
    assert (report.step, report.n) == (60, 5)


@pytest.mark.parametrize(
    "changes", [{"_1": b"123"}, {"_2": 0}, {"_2": 2**32}, {"_2": True}], ids=str
)
def test_a_report_without_stream_or_seq_can_t_be_counted(changes):
    assert refused(a_report(**changes)).seq is None


def both_take(rule: str, parse, table: dict, changes: dict) -> bool:
    """Whether wire.cddl and the parser take a payload, with keys of a later version beside; they
    must agree."""
    payload = encoded(table | changes | {99: 1.5, "later": {}})
    try:
        schema(rule).validate_cbor(payload)
        by_cddl = True
    except pycddl.ValidationError:
        by_cddl = False
    try:
        parse(payload)
        by_parser = True
    except Refused:
        by_parser = False
    assert by_cddl is by_parser, (rule, changes, by_cddl, by_parser)
    return by_cddl


_BIRTH = dict(enumerate([b"abcd", 1, 1, 0, None, "b", "a", "i", 0, 1, [1, 2, 3]], 1))
_ENROLMENT = {1: "6403112001-1", 2: bytes(32), 3: None, 4: "linux", 5: "0.1.0", 6: None}
_U32, _U53, _U33 = (1, 2**32 - 1), (0, 2**53 - 1), (0, 2**33)


@pytest.mark.parametrize(
    ("rule", "parse", "table", "bounds"),
    [
        (
            "report",
            parse_report,
            a_report(_8={}, _9=[[0, 9, {}]]),
            {2: _U32, 4: _U32, 5: _U33, 6: _U33, 7: (1, 86400), 11: (0, 60)},
        ),
        (
            "birth",
            parse_birth,
            _BIRTH,
            {2: _U32, 3: _U53, 4: _U53, 5: _U53, 9: (0, 15), 10: (0, 2**32)},
        ),
        ("enrolment", parse_enrolment, _ENROLMENT, {6: _U53}),
    ],
    ids=["report", "birth", "enrolment"],
)
def test_wire_cddl_and_the_parsers_agree_about_every_known_key(rule, parse, table, bounds):
    assert both_take(rule, parse, table, {})
    for key, (least, most) in bounds.items():
        assert both_take(rule, parse, table, {key: least})
        assert both_take(rule, parse, table, {key: most})
        assert not both_take(rule, parse, table, {key: least - 1})
        assert not both_take(rule, parse, table, {key: most + 1})
    for key in table:
        assert not both_take(rule, parse, table, {key: {"no": 1.5}})
    for key, text in table.items():
        if type(text) is str and rule == "birth":
            assert both_take(rule, parse, table, {key: "\U0001f4e1" * 200})
            assert not both_take(rule, parse, table, {key: "\U0001f4e1" * 201})


def test_wire_cddl_and_the_parser_agree_about_events_and_columns():
    table = a_report()
    for good in (
        {9: [[315_576_000, 1, {}]]},
        {9: [[0, 2**53 - 1, {1: [], 2: [[1, 2]], 3: [None, 1], 4: True, 5: b"", 6: ""}]]},
        {8: {}},
        {8: {2: [None], 13: 7, 999: [1, None]}},
        {10: [None, 15]},
    ):
        assert both_take("report", parse_report, table, good)
    for bad in (
        {9: []},
        {9: [[315_576_001, 1, {}]]},
        {9: [[0, 2**53, {}]]},
        {9: [[0, 1, {1: {}}]]},
        {9: [[0, 1, {1: 1.5}]]},
        {8: {2: None}},
        {8: {2: []}},
        {8: {999: "x"}},
        {8: {2: 2**53}},
        {8: {"a": 1}},
        {10: [0, 16]},
    ):
        assert not both_take("report", parse_report, table, bad)


def test_a_payload_that_is_not_deterministic_is_read_as_it_is():
    table = a_report()
    pairs = [encoded(key) + encoded(value) for key, value in table.items() if key != 5]
    pairs.append(b"\x18\x05\x19\x00\x2a")  # 5: 42, both longer than need be
    payload = bytes((0xA0 + len(pairs),)) + b"".join(reversed(pairs))
    assert parse_report(payload).up == 42


def with_more(pair: bytes) -> bytes:
    """A good report's payload with another key and value, as CBOR, at its end."""
    payload = encoded(a_report())
    return bytes((payload[0] + 1,)) + payload[1:] + pair


@pytest.mark.parametrize(
    "pair",
    [
        b"\x18\x63\xf9\x3e\x00",  # 99: a float
        b"\x18\x63\xf7",  # undefined
        b"\x18\x63\xf8\xff",  # another simple value
        b"\x20\xa1\xf6\x41a",  # -1: a map with a key that is null
        b"\x61x\x1b" + b"\xff" * 8,  # a text as key
        b"\x18\x63" + b"\x81" * 7 + b"\x00",  # eight levels with the payload's own map
    ],
    ids=bytes.hex,
)
def test_an_unknown_key_may_have_any_value(pair):
    assert parse_report(with_more(pair)).seq == 1


@pytest.mark.parametrize(
    "pair",
    [
        b"\x05\x00",  # a key twice
        b"\x18\x05\x00",  # also if it is written otherwise
        b"\x18\x63\xa2\x01\x00\x01\x00",
        b"\x18\x63\xd9\x03\xe8\x00",  # a tag that means nothing to anybody
        b"\x18\x63\x81\xd2\x00",
        b"\x18\x63\xc1\x00",  # one that is a date
        b"\x18\x63\xc2\x49" + b"\xff" * 9,  # a bignum
        b"\x18\x63\x61\xff",  # text that is not UTF-8
        b"\x18\x63\x9f\xff",  # an indefinite length
        b"\x18\x63" + b"\x81" * 8 + b"\x00",  # nine levels
        b"\xf6\x00",  # keys that are neither integers nor texts
        b"\xf4\x00",
        b"\x41a\x00",
        b"\x81\x01\x00",
        b"\xf9\x3e\x00\x00",
    ],
    ids=bytes.hex,
)
def test_what_no_payload_may_hold_is_refused_with_unknown_keys_too(pair):
    refused(with_more(pair))


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
        cbor2.dumps({True: b"abcd"} | {k: v for k, v in a_report().items() if k != 1}),
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
    # Older agents don't name their certificate.
    assert birth.certificate is None
    schema("birth").validate_cbor(encoded(table | {13: b"\x01\xfa"}))
    assert parse_birth(encoded(table | {13: b"\x01\xfa"})).certificate == "1fa"
    for serial in (b"", bytes(21), 5, "1fa", None):
        refused(table | {13: serial}, parse_birth)


def test_an_enrolment_is_read():
    table = _ENROLMENT
    schema("enrolment").validate_cbor(encoded(table))
    assert parse_enrolment(encoded(table)).slot == "6403112001-1"
    refused(table | {2: bytes(31)}, parse_enrolment)
    # The firmware's hash came later: older agents leave it out, some devices don't know it.
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
