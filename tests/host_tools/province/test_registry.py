"""The registry keeps what was promised: one device a slot, nothing forgotten."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from host_tools.common.errors import EnrolmentError, RegistryError, VillageError
from host_tools.province.records import SCHEMA
from host_tools.province.registry import Registry, kid_of, village_of
from host_tools.province.settings import Province
from tests.support import PATIENCE_S
from tests.world.evidencing import signing_registry

SLOT = "6403112001-1"
OTHER = "6403112002-1"


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def enrol(registry: Registry, slot: str, number: int, *, replace: bool = False, at: int = 100):
    return registry.enrol(
        slot, key(number), board="linux", firmware="0.1.0", by="ani", replace=replace, at=at
    )


def test_an_enrolled_device_is_found_by_key_id_slot_and_list(registry: Registry):
    device, outcome = enrol(registry, SLOT, 1)
    assert outcome == "enrolled"
    assert (device.kid, device.slot, device.active) == (kid_of(key(1)), SLOT, True)
    assert (device.board, device.firmware, device.enrolled_by) == ("linux", "0.1.0", "ani")
    assert registry.device_by_kid(kid_of(key(1))) == device
    assert registry.keys_for_slot(SLOT) == registry.active_devices() == [device]
    assert registry.device_by_kid(kid_of(key(2))) is None
    assert enrol(registry, SLOT, 1, at=200) == (device, "already")


def test_a_second_key_needs_to_be_a_replacement(registry: Registry):
    first, _ = enrol(registry, SLOT, 1)
    with pytest.raises(EnrolmentError) as raised:
        enrol(registry, SLOT, 2)
    assert str(raised.value) == (
        f"Slot {SLOT} is filled by device {first.kid.hex()} (linux); if this device takes its "
        "place, say so with --replace."
    )
    second, outcome = enrol(registry, SLOT, 2, replace=True, at=300)
    assert outcome == "replaced"
    old = registry.device_by_kid(first.kid)
    assert old is not None
    assert (old.revoked_at, old.revoked_by, old.replaced_by) == (300, "ani", second.kid)
    assert registry.active_devices() == [second]
    assert registry.keys_for_slot(SLOT) == [old, second]


def test_a_revoked_key_stays_known_and_can_not_come_back(registry: Registry):
    device, _ = enrol(registry, SLOT, 1)
    revoked = registry.revoke(device.kid, by="budi", at=500)
    assert (revoked.revoked_at, revoked.revoked_by, revoked.active) == (500, "budi", False)
    assert registry.revoke(device.kid, by="citra", at=900) == revoked
    assert registry.active_devices() == []
    assert registry.device_by_kid(device.kid) == revoked
    with pytest.raises(EnrolmentError, match="was revoked; delete the device's state directory"):
        enrol(registry, SLOT, 1)
    assert enrol(registry, SLOT, 2)[1] == "enrolled"
    with pytest.raises(RegistryError, match="no device 0000000000000000"):
        registry.revoke(bytes(8), by="budi")


def test_a_slot_needs_a_village_and_a_key_32_bytes_of_its_own(registry: Registry):
    assert village_of(SLOT) == "6403112001"
    for slot in ("6403112001", "6403112001-0", "6403112001-01", "x-1", "6403112001-1\n"):
        with pytest.raises(RegistryError, match="is not a slot"):
            enrol(registry, slot, 1)
    with pytest.raises(VillageError, match="no village 6403112009"):
        enrol(registry, "6403112009-1", 1)
    with pytest.raises(EnrolmentError, match="31 bytes instead of 32"):
        registry.enrol(SLOT, bytes(31), board="linux", firmware="0", by="ani")
    enrol(registry, SLOT, 1)
    with pytest.raises(EnrolmentError, match=f"belongs to slot {SLOT} .was its storage copied"):
        enrol(registry, OTHER, 1, replace=True)


def test_one_of_two_technicians_at_the_same_slot_wins(kaltim: Province):
    outcomes: list[str] = []
    start = threading.Barrier(4, timeout=PATIENCE_S)  # one that fails stops all

    def technician(number: int) -> None:
        with signing_registry(kaltim) as registry:
            start.wait()
            try:
                outcomes.append(enrol(registry, SLOT, number)[1])
            except EnrolmentError:
                outcomes.append("refused")

    threads = [threading.Thread(target=technician, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["enrolled", "refused", "refused", "refused"]


def test_the_database_itself_allows_one_device_a_slot(registry: Registry):
    enrol(registry, SLOT, 1)
    with pytest.raises(sqlite3.IntegrityError):
        registry.change(
            "INSERT INTO devices (kid, public_key, slot, board, firmware, enrolled_at, "
            "enrolled_by) VALUES (x'00', x'00', ?, 'b', 'f', 1, 'x')",
            SLOT,
        )


def test_a_reader_sees_by_a_number_that_somebody_changed_it(kaltim: Province):
    with signing_registry(kaltim) as reader, signing_registry(kaltim) as writer:
        before = reader.version()
        assert reader.version() == before
        enrol(writer, SLOT, 1)
        assert reader.version() != before
        assert len(reader.active_devices()) == 1


def test_certificates_are_revoked_but_for_those_to_keep(registry: Registry):
    for serial in ("a1", "b2", "c3"):
        registry.record_certificate(serial, SLOT, 2_000_000_000)
    registry.record_certificate("d4", OTHER, 2_000_000_000)
    assert [c.serial for c in registry.revoke_certificates(SLOT, keep=["b2"])] == ["a1", "c3"]
    assert registry.revoke_certificates(SLOT, keep=["b2"]) == []
    assert {serial for serial, _ in registry.revoked_certificates()} == {"a1", "c3"}
    assert [c.serial for c in registry.certificates(SLOT) if c.revoked_at is None] == ["b2"]


def test_a_new_province_has_its_services_on_record_and_commits_for_good(registry: Registry):
    # As durable as the disk allows.
    assert registry.rows("PRAGMA journal_mode") == [("wal",)]
    assert registry.rows("PRAGMA synchronous") == [(2,)]
    assert {c.slot for c in registry.certificates()} == {
        "ingest", "operator", "check-ingest", "check-operator", "0000000000-1", "0000000000-2",
    }  # fmt: skip


def test_a_missing_damaged_or_newer_registry_is_reported(tmp_path: Path):
    with pytest.raises(RegistryError, match="registry.db is missing"):
        Registry.open(tmp_path)
    (tmp_path / "registry.db").write_bytes(b"this is not a database, but long enough for one" * 9)
    with pytest.raises(RegistryError, match="is damaged or not a registry"):
        Registry.open(tmp_path)
    (tmp_path / "registry.db").unlink()
    Registry.create(tmp_path, []).close()
    db = sqlite3.connect(tmp_path / "registry.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(RegistryError, match="has format 99 and this desalink knows [0-9]+;"):
        Registry.open(tmp_path)
    with pytest.raises(RegistryError, match="exists already"):
        Registry.create(tmp_path, [])


def test_a_registry_of_the_first_format_opens_and_keeps_what_it_knows(tmp_path: Path):
    """As `desalink 0.1` left it: the tables of then, a device, a certificate."""
    db = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    db.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version=1;COMMIT;")
    db.execute("INSERT INTO villages VALUES ('6403112001', 'a', 'b', 'c', NULL, NULL, NULL)")
    db.execute("INSERT INTO slots VALUES (?, '6403112001', 1)", (SLOT,))
    db.execute(
        "INSERT INTO devices (kid, public_key, slot, board, firmware, enrolled_at, enrolled_by) "
        "VALUES (?, ?, ?, 'linux', '0.1.0', 5, 'ani')",
        (kid_of(key(1)), key(1), SLOT),
    )
    db.execute("INSERT INTO certificates VALUES ('abc', ?, 99, 1, NULL)", (SLOT,))
    db.close()
    with Registry.open(tmp_path) as registry:
        (device,) = registry.devices()
        assert (device.kid, device.slot, device.certificate) == (kid_of(key(1)), SLOT, None)
        assert [c.serial for c in registry.certificates(SLOT)] == ["abc"]
        assert registry.kits() == []
    with Registry.open(tmp_path) as registry:
        assert enrol(registry, SLOT, 2, replace=True)[1] == "replaced"
    # A new one is the same in every table and column.
    (tmp_path / "new").mkdir()
    shapes = []
    for directory in (tmp_path, tmp_path / "new"):
        if not (directory / "registry.db").exists():
            Registry.create(directory, []).close()
        db = sqlite3.connect(directory / "registry.db")
        shapes.append(db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall())
        db.close()
    assert shapes[0] == shapes[1]


def test_what_is_changed_together_is_undone_together(registry: Registry):
    with pytest.raises(EnrolmentError), registry.transaction():
        enrol(registry, SLOT, 1)
        enrol(registry, SLOT, 2)
    assert registry.devices() == []
