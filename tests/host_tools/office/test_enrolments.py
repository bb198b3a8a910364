"""The technician's log and its import: nothing lost, nothing twice, nothing slipped in."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cbor2
import pycddl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from host_tools import wire
from host_tools.common.errors import EnrolmentError
from host_tools.field.enrolments import EnrolmentLog, LogError, Record
from host_tools.field.enrolments.record import parse_record, sign_record
from host_tools.keys.ca import Authority
from host_tools.keys.root import load_root_key
from host_tools.keys.signing import public_bytes
from host_tools.office.importing import Imported, import_records, read_export
from host_tools.people import technicians
from host_tools.people.kits import Kit, KitDirectory, KitError
from host_tools.people.replacements import make_order
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from tests import support
from tests.host_tools.conftest import PASSPHRASE, Run
from tests.world.kits import KIT_PASSPHRASE, SECOND, SLOT, FieldDevice, make_kit, sealed

CDDL = (support.ROOT / "docs" / "wire.cddl").read_text()
MAC, OTHER_MAC = "24:0a:c4:00:00:01", "24:0a:c4:00:00:02"


Pack = Callable[..., Kit]


@pytest.fixture
def pack(kaltim: Province, registry: Registry, authority: Authority) -> Pack:
    """Packs one more kit."""
    return lambda *who: make_kit(kaltim, registry, authority, *who)[0]


@pytest.fixture
def kit(pack: Pack) -> Kit:
    return pack()


@pytest.fixture
def log(tmp_path: Path) -> EnrolmentLog:
    return EnrolmentLog(tmp_path / "laptop" / "enrolments")


@pytest.fixture
def device() -> FieldDevice:
    return FieldDevice(MAC)


def imported(registry: Registry, log: EnrolmentLog, **more) -> list[Imported]:
    return import_records(registry, read_export(log.export(), "f"), "f", **more)


def outcomes(results: list[Imported]) -> list[str]:
    return [result.outcome for result in results]


# ---- on the laptop -----------------------------------------------------------------------


def test_a_record_says_who_enrolled_what_and_follows_wire_cddl(
    log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    before = int(time.time())
    record = device.enrol(log, kit, SLOT)
    assert (record.slot, record.unique_id, record.board) == (SLOT, MAC, "esp32-generic")
    assert (record.number, record.prev, record.device) == (0, bytes(32), device.kid)
    assert (record.technician, record.kit) == (kit.technician_kid, kit.id)
    assert record.certificate_serial == kit.slots[SLOT].serial
    assert before <= record.time <= time.time()
    second = FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    assert (second.number, second.prev, second.log) == (1, record.hash, record.log)
    for one in (record, second):
        payload, _ = wire.verify_sign1(
            one.raw, public_bytes(kit.technician_key), b"desa/1/enrolments"
        )
        pycddl.Schema(f"start = enrolment-record\n{CDDL}").validate_cbor(payload)
        pycddl.Schema(f"start = enrolment\n{CDDL}").validate_cbor(
            wire.verify_sign1(one.proof, device_key(one), enrol_aad(one))[0]
        )
    pycddl.Schema(f"start = enrolment-log\n{CDDL}").validate_cbor(log.export())
    assert log.records() == [record, second]
    assert log.find("240AC4000001") == record
    assert log.find("24:0a:c4:00:00:09") is None


def device_key(record: Record) -> bytes:
    return record.enrolment().public_key


def enrol_aad(record: Record) -> bytes:
    return wire.enrol_topic(record.slot).encode()


def test_the_same_device_is_recorded_once(log: EnrolmentLog, kit: Kit, device: FieldDevice):
    record = device.enrol(log, kit, SLOT)
    size = (log.directory / "enrolments.log").stat().st_size
    # The proof is made anew each time, and has another time in it.
    again = log.append(
        kit,
        SLOT,
        device.proof(SLOT, changes={6: None}),
        MAC,
        "esp32",
        None,
        kit.slots[SLOT].serial,
    )
    assert again == record
    assert (log.directory / "enrolments.log").stat().st_size == size


def test_the_laptop_refuses_what_the_province_would(
    log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    other = FieldDevice(OTHER_MAC)
    with pytest.raises(
        EnrolmentError, match=f"Slot {SLOT} is filled by device {device.kid.hex()}"
    ):
        other.enrol(log, kit, SLOT)
    with pytest.raises(EnrolmentError, match=f"is enrolled for slot {SLOT}"):
        FieldDevice("240AC4000001").enrol(log, kit, SECOND)
    with pytest.raises(EnrolmentError, match="is for slot"):
        log.append(kit, SECOND, other.proof(SLOT), OTHER_MAC, "b", None, kit.slots[SECOND].serial)
    with pytest.raises(EnrolmentError, match="is not one of this kit"):
        log.append(kit, SECOND, other.proof(SECOND), OTHER_MAC, "b", None, "abc")
    with pytest.raises(EnrolmentError, match="is not valid"):
        log.append(kit, SECOND, b"nonsense", OTHER_MAC, "b", None, kit.slots[SECOND].serial)
    with pytest.raises(KitError, match="is not in the kit"):
        log.append(kit, "6403112003-1", other.proof("6403112003-1"), None, "b", None, "1")
    for now, error, sentence in (
        (kit.expires, KitError, "expired"),
        (kit.created - 2 * 86400, EnrolmentError, "laptop's clock"),
    ):
        with pytest.raises(error, match=sentence):
            log.append(
                *(kit, SECOND, other.proof(SECOND), OTHER_MAC, "b", None),
                kit.slots[SECOND].serial,
                now=now,
            )
    assert len(log.records()) == 1


def test_a_replacement_on_the_laptop_gets_a_certificate_of_its_own(
    log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    other = FieldDevice(OTHER_MAC)
    filled = log.filled_by(kit, SLOT)
    assert filled == device.kid
    with pytest.raises(EnrolmentError, match="has certificate .* already"):
        other.enrol(log, kit, SLOT, filled)
    serial = log.slot_for(kit, SLOT, other.mac).serial
    record = log.append(
        kit, SLOT, other.proof(SLOT), OTHER_MAC, "b", None, serial, replaces=filled
    )
    assert (record.replaces, log.filled_by(kit, SLOT)) == (device.kid, other.kid)
    with pytest.raises(EnrolmentError, match="its key is no longer valid"):
        device.enrol(log, kit, SLOT, other.kid)
    third = FieldDevice("24:0a:c4:00:00:03")
    with pytest.raises(KitError, match="Other devices have the kit's certificates"):
        log.slot_for(kit, SLOT, third.mac)


@pytest.mark.parametrize("left", [1, 2, 3, 50, -5, -1])
def test_a_torn_record_is_as_if_it_had_never_been(
    log: EnrolmentLog, kit: Kit, device: FieldDevice, left: int
):
    first = device.enrol(log, kit, SLOT)
    path = log.directory / "enrolments.log"
    whole = path.stat().st_size
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    content = path.read_bytes()
    path.write_bytes(content[: whole + left] if left > 0 else content[:left])
    assert log.records() == [first]
    again = FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    assert (again.number, again.prev) == (1, first.hash)
    assert log.records() == [first, again]


def test_a_block_of_zeros_at_the_end_is_a_torn_record(
    log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    first = device.enrol(log, kit, SLOT)
    with (log.directory / "enrolments.log").open("ab") as file:
        file.write(bytes(4096))
    assert log.records() == [first]


def test_damage_that_is_not_at_the_end_is_told_and_nothing_is_written_over(
    log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    path = log.directory / "enrolments.log"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(LogError, match="is damaged at record 0"):
        log.records()
    with pytest.raises(LogError, match="is damaged at record 0"):
        FieldDevice("24:0a:c4:00:00:03").enrol(log, kit, SECOND)
    assert path.read_bytes() == content


def _enrol_in_a_process(directory: Path, file: Path, slot: str, mac: str) -> None:
    from host_tools.people.kits.opened import read_kit

    FieldDevice(mac).enrol(EnrolmentLog(directory), read_kit(file, KIT_PASSPHRASE), slot)


def test_devices_side_by_side_make_one_chain(
    kaltim: Province, registry: Registry, authority: Authority, log: EnrolmentLog, tmp_path: Path
):
    slots = [SLOT, SECOND]
    made, root = make_kit(kaltim, registry, authority, slots=slots)
    file = sealed(made, root, tmp_path / "kit")
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(
            target=_enrol_in_a_process, args=(log.directory, file, slot, f"24:0a:c4:00:00:0{n}")
        )
        for n, slot in enumerate(slots)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(2 * support.PATIENCE_S)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sorted(record.slot for record in log.records()) == slots
    assert outcomes(imported(registry, log)) == ["enrolled"] * 2


def test_the_real_agent_s_proof_is_recorded_and_imported(
    log: EnrolmentLog, kit: Kit, registry: Registry, tmp_path: Path
):
    import base64
    import json

    config = dict(kit.slots[SLOT].config) | {"port": "boards.unix.board"}
    (tmp_path / "state").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(config))
    for program in ([sys.executable], [support.micropython()]):
        done = subprocess.run(
            [*program, "-m", "agent", "--enrol", str(tmp_path / "config.json")],
            cwd=support.ROOT,
            capture_output=True,
            check=True,
        )
        proof = base64.b64decode(done.stdout)
        record = log.append(kit, SLOT, proof, None, "unix", None, kit.slots[SLOT].serial)
        payload = wire.verify_sign1(proof, device_key(record), enrol_aad(record))[0]
        pycddl.Schema(f"start = enrolment\n{CDDL}").validate_cbor(payload)
        assert cbor2.loads(payload)[7] is None
    assert outcomes(imported(registry, log)) == ["enrolled"]


# ---- import ------------------------------------------------------------------------------


def test_an_import_enrols_and_again_changes_nothing(
    registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    record = device.enrol(log, kit, SLOT)
    assert outcomes(imported(registry, log)) == ["enrolled"]
    (enrolled,) = registry.devices()
    assert (enrolled.kid, enrolled.slot, enrolled.board) == (device.kid, SLOT, "esp32-generic")
    assert (enrolled.enrolled_by, enrolled.enrolled_at) == ("Ani", record.time)
    assert (enrolled.unique_id, enrolled.firmware, enrolled.firmware_hash) == (
        *(MAC, "0.1.0"),
        bytes(32),
    )
    assert enrolled.certificate == kit.slots[SLOT].serial
    assert outcomes(imported(registry, log)) == ["known"]
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    # The log goes on, and so does the import.
    assert outcomes(imported(registry, log)) == ["known", "enrolled"]
    assert len(registry.devices()) == 2


def test_an_older_copy_of_a_log_is_known(
    registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    old = log.export()
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    imported(registry, log)
    assert outcomes(import_records(registry, read_export(old, "f"), "f")) == ["known"]


def test_a_log_put_back_from_a_copy_is_known_on_the_laptop_once_the_kit_tells(
    pack: Pack, registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    path = log.directory / "enrolments.log"
    copy = path.read_bytes()
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    imported(registry, log)
    next_kit = pack()
    path.write_bytes(copy)
    third = FieldDevice("24:0a:c4:00:00:03")
    serial = next_kit.slots[SECOND].serial
    with pytest.raises(LogError, match="1 of the 2 records .* new log"):
        log.append(next_kit, SECOND, third.proof(SECOND), third.mac, "b", None, serial, b"x" * 8)
    with pytest.raises(LogError, match="1 of the 2 records"):
        log.slot_for(next_kit, SECOND, third.mac)
    assert path.read_bytes() == copy


def test_two_laptops_of_one_technician_are_no_fork(
    registry: Registry, kit: Kit, tmp_path: Path, device: FieldDevice
):
    one, two = EnrolmentLog(tmp_path / "one"), EnrolmentLog(tmp_path / "two")
    device.enrol(one, kit, SLOT)
    FieldDevice(OTHER_MAC).enrol(two, kit, SECOND)
    assert outcomes(imported(registry, one)) == outcomes(imported(registry, two)) == ["enrolled"]


def test_a_forked_log_is_refused_whole(
    registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice, tmp_path: Path
):
    device.enrol(log, kit, SLOT)
    # The laptop's disk is put back from a copy, and work goes on.
    copy = EnrolmentLog(tmp_path / "copy")
    copy.directory.mkdir()
    (copy.directory / "enrolments.log").write_bytes(
        (log.directory / "enrolments.log").read_bytes()
    )
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    FieldDevice("24:0a:c4:00:00:03").enrol(copy, kit, SECOND)
    imported(registry, log)
    before = registry.devices()
    with pytest.raises(LogError, match="record 1 .* the log was forked"):
        imported(registry, copy)
    assert registry.devices() == before


def chain(of: Kit, *devices: FieldDevice, **changes) -> list[bytes]:
    """A log of these devices, one a slot, with changed fields in the last record."""
    raws: list[bytes] = []
    for number, device in enumerate(devices):
        slot = [SLOT, SECOND][number]
        fields = {
            "log": b"log id 1",
            "prev": parse_record(raws[-1]).hash if raws else bytes(32),
            "number": number,
            "time": int(time.time()),
            "slot": slot,
            "proof": device.proof(slot),
            "unique_id": device.mac,
            "board": "b",
            "firmware_hash": None,
            "certificate_serial": of.slots[slot].serial,
            "replaces": None,
            "kit": of.id,
        }
        key = of.technician_key
        if number == len(devices) - 1:
            key = changes.pop("key", key)
            fields |= changes
        raws.append(sign_record(key, **fields))
    return raws


def a_file(raws: list[bytes]) -> bytes:
    return cbor2.dumps(["desalink enrolments", raws], canonical=True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"key": Ed25519PrivateKey.generate()}, "which no technician of this province has"),
        ({"number": 2}, "chain is broken at record 1"),
        ({"prev": bytes(32)}, "chain is broken at record 1"),
        ({"log": b"log id 2"}, "chain is broken at record 1"),
        ({"time": 1_000_000_000}, "was signed on 2001-09-09, and the key of technician Ani"),
        ({"time": 2_000_000_000}, "was signed on 2033-05-18, and the key of technician Ani"),
    ],
)
def test_a_log_that_can_not_be_trusted_enrols_nobody(
    registry: Registry, kit: Kit, device: FieldDevice, changes, sentence
):
    raws = chain(kit, device, FieldDevice(OTHER_MAC), **changes)
    with pytest.raises(LogError, match=sentence):
        import_records(registry, read_export(a_file(raws), "f"), "f")
    assert registry.devices() == []
    assert registry.enrolment_records() == []


def test_a_record_from_the_future_is_told(registry: Registry, kit: Kit, device: FieldDevice):
    raws = chain(kit, device, time=int(time.time()) + 10 * 86400)
    with pytest.raises(LogError, match="more than one day ahead"):
        import_records(registry, read_export(a_file(raws), "f"), "f")


def test_a_record_from_after_all_calendars_is_told(kit: Kit, device: FieldDevice):
    raws = chain(kit, device, time=2**53 - 1)
    with pytest.raises(LogError, match="time \\(3\\) of the enrolment record"):
        read_export(a_file(raws), "f")


def test_a_technician_s_clock_may_be_a_day_off_and_no_more(
    registry: Registry, kit: Kit, device: FieldDevice
):
    now = int(time.time())
    for off, sentence in ((-1, "one day behind"), (1, "more than one day ahead")):
        raws = chain(kit, device, time=now + off * (86400 + 600), log=b"far off ")
        with pytest.raises(LogError, match=sentence):
            import_records(registry, read_export(a_file(raws), "f"), "f")
    for number, off in enumerate((-1, 1)):
        raws = chain(kit, device, time=now + off * (86400 - 600), log=b"near by%d" % number)
        (result,) = import_records(registry, read_export(a_file(raws), "f"), "f")
        assert result.outcome in ("enrolled", "already")


def test_what_a_device_says_of_itself_gives_the_terminal_no_orders(
    desalink: Run, kaltim: Province, registry: Registry, kit: Kit, device: FieldDevice
):
    raws = chain(kit, device, proof=device.proof(SLOT, changes={5: "1\x1b[2J\x9b"}))
    import_records(registry, read_export(a_file(raws), "f"), "f")
    for words in (("show", SLOT), ("list",)):
        said = desalink("-C", kaltim.directory, "devices", *words).out
        assert "1?[2J?" in said and "\x1b" not in said, words


def test_an_expired_kit_enrols_nobody_whatever_the_laptop_thought_of_it(
    kaltim: Province, registry: Registry, authority: Authority, device: FieldDevice
):
    kit, _ = make_kit(kaltim, registry, authority, days=1)
    for time_, outcome in ((kit.expires, "refused"), (kit.expires - 1, "enrolled")):
        raws = chain(kit, device, time=time_, log=b"%8d" % (time_ % 10**8))
        records = read_export(a_file(raws), "f")
        (result,) = import_records(registry, records, "f", now=kit.expires + 60)
        assert (result.outcome, "expired on" in result.reason) == (outcome, outcome == "refused")


def test_a_technician_enrols_only_from_kits_that_were_made_for_him(
    pack: Pack, registry: Registry, kit: Kit, device: FieldDevice
):
    saris = pack("Sari")
    # A certificate and slot of Sari's kit, named rightly, countersigned by Ani.
    raws = chain(saris, device, key=kit.technician_key)
    (result,) = import_records(registry, read_export(a_file(raws), "f"), "f")
    assert result.outcome == "refused"
    assert "of Sari" in result.reason and "of Ani" in result.reason
    assert registry.devices() == []
    assert [refused for *_, refused in registry.enrolment_records()] == [result.reason]
    (result,) = import_records(
        registry, read_export(a_file(chain(saris, device, log=b"log id 2")), "f"), "f"
    )
    assert result.outcome == "enrolled"


def test_an_altered_record_is_not_what_was_signed(registry: Registry, kit: Kit, device):
    (raw,) = chain(kit, device)
    with pytest.raises(LogError, match="is not what technician Ani signed"):
        import_records(registry, read_export(a_file([raw[:-1] + bytes([raw[-1] ^ 1])]), "f"), "f")


def test_one_technician_can_not_write_into_the_log_of_another(
    pack: Pack, registry: Registry, kit: Kit, device: FieldDevice
):
    budis = pack("Budi")
    raws = chain(kit, device, FieldDevice(OTHER_MAC), key=budis.technician_key, kit=budis.id)
    with pytest.raises(LogError, match="signed by Budi in a log of Ani"):
        import_records(registry, read_export(a_file(raws), "f"), "f")


def test_a_revoked_technician_enrols_nobody(
    kaltim: Province, registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    imported(registry, log)
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    root = load_root_key(kaltim.root_key, PASSPHRASE)
    technicians.revoke(kaltim, registry, root, [kit.technician_kid], by="x")
    with pytest.raises(LogError, match="technician Ani that was revoked on"):
        imported(registry, log)
    assert len(registry.devices()) == 1


def test_a_record_that_was_refused_enrols_nobody_once_its_technician_is_revoked(
    kaltim: Province, registry: Registry, kit: Kit, tmp_path: Path, device: FieldDevice
):
    one, two = EnrolmentLog(tmp_path / "one"), EnrolmentLog(tmp_path / "two")
    device.enrol(one, kit, SLOT)
    serial = kit.slots[SLOT].certificates[1].serial
    two.append(kit, SLOT, FieldDevice(OTHER_MAC).proof(SLOT), OTHER_MAC, "b", None, serial)
    assert outcomes([*imported(registry, one), *imported(registry, two)]) == [
        "enrolled",
        "refused",
    ]
    root = load_root_key(kaltim.root_key, PASSPHRASE)
    technicians.revoke(kaltim, registry, root, [kit.technician_kid], by="x")
    registry.revoke(device.kid, by="x")
    (result,) = imported(registry, two)
    assert (result.outcome, "Ani was revoked on" in result.reason) == ("refused", True)
    assert not registry.active_devices()
    # What was enrolled before the technician was revoked stays so.
    assert outcomes(imported(registry, one)) == ["known"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"certificate_serial": "abc"}, "was not given out for slot"),
        ({"kit": bytes(8)}, "is not a kit of this province"),
        ({"unique_id": "24:0a:c4:00:00:07"}, "the device says 240ac4000002"),
        ({"replaces": bytes(8)}, None),
    ],
)
def test_a_record_that_can_not_enrol_is_kept_with_its_reason_and_the_others_count(
    registry: Registry, kit: Kit, device: FieldDevice, changes, sentence
):
    raws = chain(kit, device, FieldDevice(OTHER_MAC), **changes)
    results = import_records(registry, read_export(a_file(raws), "f"), "f")
    assert results[0].outcome == "enrolled"
    if sentence is None:
        assert results[1].outcome == "enrolled"  # whoever was to be replaced there is not
        return
    assert (results[1].outcome, sentence in results[1].reason) == ("refused", True)
    assert [d.kid for d in registry.devices()] == [device.kid]
    # Importing it again tries it again, with the same end.
    again = import_records(registry, read_export(a_file(raws), "f"), "f")
    assert outcomes(again) == ["known", "refused"]


def test_a_proof_that_is_another_device_s_is_refused(registry: Registry, kit: Kit, device):
    stranger = FieldDevice(OTHER_MAC)
    payload = {1: SLOT, 2: device.public, 3: None, 4: "b", 5: "1", 6: None}
    stolen = stranger.proof(SLOT, changes=payload)
    raws = chain(kit, device, proof=stolen)
    (result,) = import_records(registry, read_export(a_file(raws), "f"), "f")
    assert result.outcome == "refused" and "key id" in result.reason


def test_another_key_for_a_filled_slot_waits_for_leave_from_the_province(
    kaltim: Province, registry: Registry, kit: Kit, tmp_path: Path, device: FieldDevice
):
    one, two = EnrolmentLog(tmp_path / "one"), EnrolmentLog(tmp_path / "two")
    device.enrol(one, kit, SLOT)
    imported(registry, one)
    # Another laptop does not know of it.
    other = FieldDevice(OTHER_MAC)
    serial = kit.slots[SLOT].certificates[1].serial
    two.append(kit, SLOT, other.proof(SLOT), OTHER_MAC, "b", None, serial)
    (result,) = imported(registry, two)
    assert result.outcome == "refused"
    assert f"slot {SLOT} is filled by device {device.kid.hex()}" in result.reason
    root = load_root_key(kaltim.root_key, PASSPHRASE)
    (filling,) = registry.active_devices()
    order = make_order(registry, root, filling, by="kepala", now=time.time())
    payload, _ = wire.verify_sign1(order, technicians.root_public(kaltim), b"desa/1/replacements")
    pycddl.Schema(f"start = replacement\n{CDDL}").validate_cbor(payload)
    assert outcomes(imported(registry, two)) == ["replaced"]
    assert [d.kid for d in registry.active_devices()] == [other.kid]
    old = registry.device_by_kid(device.kid)
    assert old is not None and old.replaced_by == other.kid
    # The order is used up.
    third = FieldDevice("24:0a:c4:00:00:03")
    raws = chain(kit, third)
    (result,) = import_records(registry, read_export(a_file(raws), "f"), "f")
    assert result.outcome == "refused"


def test_a_replacement_takes_the_old_certificate_back_and_leaves_those_under_way(
    pack: Pack, registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    other = FieldDevice(OTHER_MAC)
    spare = log.slot_for(kit, SLOT, OTHER_MAC).serial
    log.append(kit, SLOT, other.proof(SLOT), OTHER_MAC, "b", None, spare, device.kid)
    budis = pack("Budi")
    assert outcomes(imported(registry, log)) == ["enrolled", "replaced"]
    revoked = {c.serial for c in registry.certificates(SLOT) if c.revoked_at is not None}
    assert revoked == {kit.slots[SLOT].serial}
    assert budis.slots[SLOT].serial not in revoked


def test_an_address_that_fills_another_slot_is_refused_until_it_is_revoked_there(
    kaltim: Province, registry: Registry, kit: Kit, log: EnrolmentLog, device: FieldDevice
):
    registry.enrol(
        "6403112004-1", bytes(32), board="b", firmware="1", by="x", unique_id="240AC4000001"
    )
    device.enrol(log, kit, SLOT)
    (result,) = imported(registry, log)
    assert result.outcome == "refused" and "enrolled for slot 6403112004-1" in result.reason
    registry.revoke(registry.active_devices()[0].kid, by="x")
    assert outcomes(imported(registry, log)) == ["enrolled"]


def test_a_device_that_is_provisioned_again_with_another_kit_keeps_its_key(
    pack: Pack, registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    imported(registry, log)
    next_kit = pack()
    assert log.filled_by(next_kit, SLOT) == device.kid
    device.enrol(log, next_kit, SLOT)
    assert outcomes(imported(registry, log)) == ["known", "already"]
    (enrolled,) = registry.devices()
    assert enrolled.certificate == next_kit.slots[SLOT].serial
    revoked = {c.serial for c in registry.certificates(SLOT) if c.revoked_at is not None}
    assert revoked == {kit.slots[SLOT].serial}


def test_a_new_kit_knows_what_was_imported_since(
    pack: Pack, registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    next_kit = pack()
    # Not imported yet: the log knows better than the kit.
    assert log.filled_by(next_kit, SLOT) == device.kid
    imported(registry, log)
    registry.revoke(device.kid, by="x")
    next_kit = pack()
    assert log.filled_by(next_kit, SLOT) is None
    FieldDevice(MAC).enrol(log, next_kit, SECOND)


def test_the_province_s_order_goes_along_in_the_kit(
    pack: Pack, kaltim: Province, registry: Registry, authority: Authority, log: EnrolmentLog
):
    old, _ = registry.enrol(SLOT, bytes(32), board="b", firmware="1", by="x")
    kit, root = make_kit(kaltim, registry, authority)
    other = FieldDevice(OTHER_MAC)
    with pytest.raises(EnrolmentError, match="add --replace"):
        other.enrol(log, kit, SLOT)
    make_order(registry, root, old, by="x", now=time.time())
    kit = pack()
    assert other.enrol(log, kit, SLOT).replaces == old.kid
    assert outcomes(imported(registry, log)) == ["replaced"]


def test_a_record_that_was_refused_does_not_undo_what_came_later(
    registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    registry.enrol("6403112004-1", bytes(32), board="b", firmware="1", by="x", unique_id=MAC)
    device.enrol(log, kit, SLOT)
    other = FieldDevice(OTHER_MAC)
    spare = log.slot_for(kit, SLOT, OTHER_MAC).serial
    log.append(kit, SLOT, other.proof(SLOT), OTHER_MAC, "b", None, spare, device.kid)
    assert outcomes(imported(registry, log)) == ["refused", "enrolled"]
    registry.revoke(registry.keys_for_slot("6403112004-1")[0].kid, by="x")
    results = imported(registry, log)
    assert outcomes(results) == ["refused", "known"]
    assert "later device" in results[0].reason
    assert [d.kid for d in registry.active_devices()] == [other.kid]


def test_a_device_that_was_erased_takes_its_own_place_with_the_same_certificate(
    registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    imported(registry, log)
    erased = FieldDevice(MAC)
    assert log.slot_for(kit, SLOT, MAC).serial == kit.slots[SLOT].serial
    erased.enrol(log, kit, SLOT, device.kid)
    assert outcomes(imported(registry, log)) == ["known", "replaced"]
    assert [d.kid for d in registry.active_devices()] == [erased.kid]
    assert all(c.revoked_at is None for c in registry.certificates(SLOT))


def test_a_certificate_of_another_device_is_refused(
    registry: Registry, log: EnrolmentLog, kit: Kit, device: FieldDevice
):
    device.enrol(log, kit, SLOT)
    imported(registry, log)
    raws = chain(kit, FieldDevice(OTHER_MAC), replaces=device.kid)
    (result,) = import_records(registry, read_export(a_file(raws), "f"), "f")
    assert result.outcome == "refused"
    assert f"was given to device {device.kid.hex()} already" in result.reason


# ---- hostile files -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        cbor2.dumps({}),
        cbor2.dumps(["desalink enrolments"]),
        cbor2.dumps(["desalink enrolments", []]),
        cbor2.dumps(["desalink enrolments", [1]]),
        cbor2.dumps(["desalink enrolments", [b""]]),
        cbor2.dumps(["desalink enrolments", [b"\xd2\x84" + bytes(300)]]),
        b"\x9b" + b"\xff" * 8,
        b"\x82" * 100000,
    ],
)
def test_what_is_no_log_is_told(data: bytes):
    with pytest.raises(LogError, match="f "):
        read_export(data, "f")


KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.fixture(scope="module")
def export() -> bytes:
    device = FieldDevice(MAC)
    raw = sign_record(
        KEY,
        log=bytes(8),
        prev=bytes(32),
        number=0,
        time=1,
        slot=SLOT,
        proof=device.proof(SLOT),
        unique_id=None,
        board="b",
        firmware_hash=None,
        certificate_serial="1",
        replaces=None,
        kit=bytes(8),
    )
    return a_file([raw])


@given(st.data())
def test_altered_files_are_sentences(export: bytes, data):
    altered = bytearray(export)
    for at in data.draw(st.lists(st.integers(0, len(altered) - 1), min_size=1, max_size=4)):
        altered[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(altered)))
    for content in (bytes(altered), bytes(altered[:cut])):
        try:
            for record in read_export(content, "f"):
                record.enrolment()
        except (LogError, EnrolmentError) as error:
            assert str(error).count("\n") == 0


def test_a_record_s_fields_are_bounded(kit: Kit, device: FieldDevice):
    for changes in (
        {"board": ""},
        {"board": "a\nb"},
        {"slot": "6" * 15},
        {"unique_id": "\0"},
        {"proof": b"x"},
        {"certificate_serial": "1" * 65},
        {"replaces": bytes(7)},
    ):
        (raw,) = chain(kit, device, **changes)
        with pytest.raises(LogError):
            read_export(a_file([raw]), "f")
    assert replace(parse_record(chain(kit, device)[0]), raw=b"").slot == SLOT


# ---- the commands ------------------------------------------------------------------------


def test_from_the_laptop_to_the_province(
    desalink: Run,
    kaltim: Province,
    registry: Registry,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: FieldDevice,
):
    kit, root = make_kit(kaltim, registry, authority)
    laptop = KitDirectory(tmp_path / "laptop")
    laptop.put(sealed(kit, root, tmp_path / "kit"), KIT_PASSPHRASE)
    monkeypatch.setenv("DESALINK_KIT", str(laptop.path))
    trip = tmp_path / "ani.enrolments"
    ended = desalink("enrolments", "export", "-o", trip)
    assert (ended.code, "There are no enrolments" in ended.err) == (1, True)
    device.enrol(EnrolmentLog(laptop.enrolments), kit, SLOT)
    ended = desalink("enrolments", "export", "-o", trip)
    assert (ended.code, ended.err) == (0, "") and "1 enrolment is in" in ended.out
    assert SLOT in desalink("enrolments", "list", "--kit", laptop.path).out
    # A laptop has no province: the opened kit's log is meant.
    monkeypatch.chdir(tmp_path)
    assert SLOT in desalink("enrolments", "list").out
    monkeypatch.setenv("DESALINK_KIT", str(tmp_path / "nothing"))
    ended = desalink("enrolments", "list")
    assert (ended.code, "is not a province" in ended.err) == (1, True)
    monkeypatch.setenv("DESALINK_KIT", str(laptop.path))

    ended = desalink("-C", kaltim.directory, "enrolments", "import", trip)
    assert (ended.code, ended.err) == (0, "")
    # Again there is nothing to sign, so nobody asks for the passphrase.
    monkeypatch.delenv("DESALINK_PASSPHRASE")
    assert ended.out.splitlines() == [
        f"Device {device.kid.hex()} (esp32-generic) is enrolled for slot {SLOT}, by Ani.",
        "1 device enrolled, 0 of them in the place of another; 0 were known.",
    ]
    ended = desalink("-C", kaltim.directory, "enrolments", "import", trip)
    assert ended.out == "0 devices enrolled, 0 of them in the place of another; 1 were known.\n"
    listed = desalink("-C", kaltim.directory, "enrolments", "list").out.splitlines()[1]
    assert listed.split("\t")[3:] == [SLOT, device.kid.hex(), "Ani", "imported"]
    shown = desalink("-C", kaltim.directory, "devices", "show", SLOT).out
    assert kit.slots[SLOT].serial in shown and bytes(32).hex() in shown


def test_refused_records_end_in_a_sentence_and_code_1(
    pack: Pack, desalink: Run, kaltim: Province, tmp_path: Path
):
    kit = pack()
    raws = chain(kit, FieldDevice(MAC), certificate_serial="abc")
    (tmp_path / "f").write_bytes(a_file(raws))
    ended = desalink("-C", kaltim.directory, "enrolments", "import", tmp_path / "f")
    assert ended.code == 1
    assert ended.err.splitlines()[0].startswith(f"Refused: record 0, {SLOT}: certificate abc")
    assert "1 of 1 enrolments were refused" in ended.err
