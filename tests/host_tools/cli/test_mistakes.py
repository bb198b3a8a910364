"""Mistakes that people made with the verbs: each ends in a sentence, and nothing half done."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from host_tools.broker.config import broker_files
from host_tools.broker.process import BrokerProcess
from host_tools.field.enrolments import EnrolmentLog
from host_tools.field.provision.dealer import slot_in_kit
from host_tools.field.provision.errors import ProvisionError
from host_tools.keys.ca import Authority
from host_tools.office.cutting import pending_slots
from host_tools.people import technicians
from host_tools.people.kits.create import chosen_slots
from host_tools.people.kits.model import KitError
from host_tools.province.settings import Province, TlsFiles
from tests.host_tools.conftest import PASSPHRASE, Run
from tests.support import PATIENCE_S, free_port
from tests.world.evidencing import signing_registry
from tests.world.kits import KIT_PASSPHRASE, SECOND, SLOT, FieldDevice, make_kit

MAC, OTHER = "a0:b7:65:00:00:01", "a0:b7:65:00:00:02"


@pytest.mark.parametrize("name", ["x" * 58, "two\nlines", " ", "bell\a"])
def test_a_name_that_no_certificate_can_hold_is_refused(desalink: Run, tmp_path: Path, name: str):
    ended = desalink("init", tmp_path / "new", "--province", "64", "--name", name)
    assert ended.code == 1
    assert "give one line of 1 to 50 characters with --name" in ended.err
    assert not (tmp_path / "new").exists()


def test_a_name_of_50_characters_is_good(desalink: Run, tmp_path: Path):
    ended = desalink("init", tmp_path / "new", "--province", "64", "--name", "x" * 50)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("address", ["nowhere", "300.1.1.1", "1.2.3.4\nuser root"])
def test_an_address_that_is_none_is_not_listened_on(desalink: Run, tmp_path: Path, address: str):
    ended = desalink("init", tmp_path / "new", "--province", "64", "--bind", address)
    assert ended.code == 1 and "give --bind an IP address" in ended.err


def test_a_language_that_there_is_not_is_refused_where_it_was_set(
    desalink: Run, kaltim: Province, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DESALINK_LANG", "jv")
    ended = desalink("-C", kaltim.directory, "villages")
    assert ended.code == 1
    assert "There is no language 'jv' of DESALINK_LANG; give one of en, id." in ended.err
    assert desalink("--lang", "en", "-C", kaltim.directory, "villages").code == 0


# ---- slots -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["²", "2a", "0", "", "1000", "-1", "٣"])
def test_a_slot_that_is_none_provisions_and_packs_nothing(
    kaltim: Province, authority: Authority, number: str
):
    with signing_registry(kaltim) as registry:
        kit, _ = make_kit(kaltim, registry, authority)
        with pytest.raises(ProvisionError, match="is not in the kit of Ani"):
            slot_in_kit(kit, f"6403112001-{number}")
        with pytest.raises(KitError, match="is not a slot"):
            chosen_slots(registry, [f"6403112001-{number}"], None)


def test_slots_go_to_999_as_on_the_wire(kaltim: Province, authority: Authority):
    with signing_registry(kaltim) as registry:
        (slot,) = chosen_slots(registry, ["6403112001-999"], None)
        kit, _ = make_kit(kaltim, registry, authority, slots=[slot])
    assert slot_in_kit(kit, "64.03.11.2001-999") == slot
    assert slot_in_kit(kit, "Bohe Silian", 999) == slot


# ---- revoking ----------------------------------------------------------------------------


def test_a_revocation_while_the_broker_does_not_answer_says_what_is_left_to_do(
    desalink: Run, kaltim: Province, broker: BrokerProcess
):
    with signing_registry(kaltim) as registry:
        registry.enrol(SLOT, bytes(32), board="b", firmware="1", by="test")
    # It lives and does not listen: as while it hangs, or after its port was changed.
    config = broker_files(kaltim).config
    text = config.read_text()
    config.write_text(text.replace(f"listener {kaltim.broker.port} ", f"listener {free_port()} "))
    ended = desalink("-C", kaltim.directory, "devices", "revoke", SLOT)
    assert ended.code == 1 and f"of slot {SLOT} is revoked" in ended.out
    assert f"The live connection of {SLOT} was not cut" in ended.err
    assert "'desalink broker run', then run this command again" in ended.err
    config.write_text(text)
    assert desalink("-C", kaltim.directory, "devices", "revoke", SLOT).code == 0
    broker.stop()
    ended = desalink("-C", kaltim.directory, "devices", "revoke", SLOT)
    assert ended.code == 0 and "takes effect when one starts" in ended.err


@pytest.mark.parametrize("verb", ["kit", "technicians"])
def test_a_revocation_that_takes_other_kits_along_says_so_and_asks(
    desalink: Run, kaltim: Province, authority: Authority, verb: str
):
    with signing_registry(kaltim) as registry:
        kit, _ = make_kit(kaltim, registry, authority)
        other, _ = make_kit(kaltim, registry, authority, slots=["6403112003-1"])
    what = (verb, "revoke", kit.id.hex() if verb == "kit" else "Ani")
    ended = desalink("-C", kaltim.directory, *what)
    assert ended.code == 1 and other.id.hex() in ended.err and "--yes" in ended.err
    assert "Nothing was changed" in ended.err
    with signing_registry(kaltim) as registry:
        assert registry.revoked_certificates() == []
        assert technicians.find(registry, "Ani").revoked_at is None
    ended = desalink("-C", kaltim.directory, *what, "--yes")
    assert ended.code == 0 and other.id.hex() in ended.err
    with signing_registry(kaltim) as registry:
        assert {entry.state(time.time()) for entry in registry.kits()} >= {"key revoked"}


def test_taking_back_what_is_unused_leaves_devices_in_use_connected(
    desalink: Run, kaltim: Province, authority: Authority, broker: BrokerProcess, tmp_path: Path
):
    import paho.mqtt.client as mqtt

    log = EnrolmentLog(tmp_path / "log")
    with signing_registry(kaltim) as registry:
        kit, _ = make_kit(kaltim, registry, authority)
    FieldDevice(MAC).enrol(log, kit, SLOT)
    (tmp_path / "export").write_bytes(log.export())
    assert desalink("-C", kaltim.directory, "enrolments", "import", tmp_path / "export").code == 0
    files = TlsFiles(kaltim.ca_certificate, tmp_path / "crt", tmp_path / "key")
    files.certificate.write_text(kit.slots[SLOT].certificate_pem.decode())
    files.key.write_text(kit.slots[SLOT].key_pem.decode())
    ends: list[object] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_disconnect = lambda *what: ends.append(what)
    client.tls_set(str(files.ca), str(files.certificate), str(files.key))
    client.connect("127.0.0.1", kaltim.broker.port)
    client.loop_start()
    try:
        ended = desalink("-C", kaltim.directory, "kit", "revoke", kit.id.hex(), "--unused-only")
        assert (ended.code, ended.err) == (0, "")
        client.publish(f"desa/1/6403/{SLOT}/report", b"x", 1).wait_for_publish(PATIENCE_S)
        assert ends == []
    finally:
        client.disconnect()
        client.loop_stop()


# ---- enrolments and technicians ----------------------------------------------------------


def test_an_import_that_needs_the_passphrase_enrols_nobody_without_it(
    desalink: Run,
    kaltim: Province,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    log = EnrolmentLog(tmp_path / "log")
    old, new = FieldDevice(MAC), FieldDevice(OTHER)
    with signing_registry(kaltim) as registry:
        kit, _ = make_kit(kaltim, registry, authority)
    old.enrol(log, kit, SLOT)
    (tmp_path / "first").write_bytes(log.export())
    assert desalink("-C", kaltim.directory, "enrolments", "import", tmp_path / "first").code == 0
    serial = log.slot_for(kit, SLOT, OTHER).serial
    log.append(kit, SLOT, new.proof(SLOT), OTHER, "b", None, serial, replaces=old.kid)
    FieldDevice("a0:b7:65:00:00:03").enrol(log, kit, SECOND)
    (tmp_path / "second").write_bytes(log.export())
    importing = ("-C", kaltim.directory, "enrolments", "import", tmp_path / "second")

    monkeypatch.delenv("DESALINK_PASSPHRASE")
    ended = desalink(*importing)
    assert ended.code == 1 and "DESALINK_PASSPHRASE" in ended.err and ended.out == ""
    with signing_registry(kaltim) as registry:
        assert [device.kid for device in registry.active_devices()] == [old.kid]
        assert len(registry.enrolment_records()) == 1
        assert pending_slots(kaltim, registry) == []


def test_technicians_whose_keys_expired_are_not_called_nobody(
    desalink: Run, kaltim: Province, monkeypatch: pytest.MonkeyPatch
):
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani", "--days", 1).code == 0
    later = time.time() + 3 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    ended = desalink("-C", kaltim.directory, "technicians", "list")
    assert "No technician has a valid key: 1 key expired or revoked." in ended.err
    assert "--all" in ended.err
    assert "\texpired\n" in desalink("-C", kaltim.directory, "technicians", "list", "--all").out


def test_a_clock_that_is_years_behind_signs_nothing(
    desalink: Run, kaltim: Province, monkeypatch: pytest.MonkeyPatch
):
    before = kaltim.trust.read_bytes()
    past = (datetime.now() - timedelta(days=3 * 365)).timestamp()
    monkeypatch.setattr(time, "time", lambda: past)
    ended = desalink("-C", kaltim.directory, "technicians", "add", "Ani")
    assert ended.code == 1
    assert re.search(
        r"The clock of this machine shows 20\d\d-\d\d-\d\d, .*set the clock", ended.err
    )
    with signing_registry(kaltim) as registry:
        assert technicians.technicians(registry) == []
    assert kaltim.trust.read_bytes() == before


def test_a_kit_names_its_boards_as_boards(desalink: Run, kaltim: Province, tmp_path: Path):
    help_text = desalink("kit", "create", "--help").out
    assert "--board BOARD" in help_text and "--firmware" not in help_text
    there = tmp_path / "there.desakit"
    there.touch()
    create = ("kit", "create", "--technician", "Ani", "--villages", "6403112001", "-o", there)
    ended = desalink("-C", kaltim.directory, *create, "--firmware", "esp32-generic")
    assert ended.code == 1 and "it is now called --board" in ended.err


def test_a_rebuild_without_a_broker_has_succeeded(desalink: Run, kaltim: Province):
    from host_tools.store import open_database

    open_database(kaltim.database, create=True).close()
    ended = desalink("-C", kaltim.directory, "ingest", "--rebuild", "--until-idle", "0")
    assert ended.code == 0 and "0 reports derived again." in ended.err
    assert desalink("-C", kaltim.directory, "ingest", "--until-idle", "0").code == 1


def test_certificates_that_end_with_the_ca_are_not_shortened_silently(
    desalink: Run, kaltim: Province, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DESALINK_KIT_PASSPHRASE", KIT_PASSPHRASE)
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani").code == 0
    create = ("kit", "create", "--technician", "Ani", "--villages", "6403112001")
    ended = desalink("-C", kaltim.directory, *create, "-o", tmp_path / "long.desakit")
    assert ended.code == 0 and "The CA ends on" not in ended.err
    short = Authority.generate("x", timedelta(days=400))
    short.save(kaltim.ca_key, kaltim.ca_certificate, PASSPHRASE)
    ended = desalink("-C", kaltim.directory, *create, "-o", tmp_path / "short.desakit")
    assert ended.code == 0 and "The CA ends on" in ended.err
    device = ("enrol", "--village", "6403112001", "--device-dir", tmp_path / "device")
    ended = desalink("-C", kaltim.directory, *device)
    assert ended.code == 0 and "The CA ends on" in ended.err, ended.err
