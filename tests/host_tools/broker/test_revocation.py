"""What is revoked is cut off: proven by what the real broker still delivers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from host_tools.broker.client import CheckClient
from host_tools.broker.process import BrokerProcess
from host_tools.broker.revocation import is_refused
from host_tools.common.errors import BrokerError
from host_tools.common.files import write_file, write_private
from host_tools.field.enrolments import EnrolmentLog
from host_tools.keys import ca
from host_tools.keys.ca import Authority
from host_tools.office import expiry
from host_tools.people import technicians
from host_tools.people.kits import Kit, KitSlot
from host_tools.people.trust import TECHNICIAN, verify_trust
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, TlsFiles
from host_tools.store import open_database
from host_tools.store.sessions import save_alive
from tests.host_tools.conftest import Run
from tests.support import PATIENCE_S
from tests.world.kits import SECOND, SLOT, FieldDevice, make_kit, sealed

MAC, OTHER_MAC = "24:0a:c4:00:00:01", "24:0a:c4:00:00:02"


@pytest.fixture
def kit(kaltim: Province, registry: Registry, authority: Authority) -> Kit:
    return make_kit(kaltim, registry, authority)[0]


@pytest.fixture
def log(tmp_path: Path) -> EnrolmentLog:
    return EnrolmentLog(tmp_path / "laptop")


@pytest.fixture
def lab(kaltim: Province, broker: BrokerProcess, tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(kaltim, broker, tmp_path, stack)


class Lab:
    """Devices that speak over the real broker, and an ingest that sees what is delivered."""

    def __init__(
        self, province: Province, broker: BrokerProcess, folder: Path, stack: ExitStack
    ) -> None:
        self.province, self.port, self._folder, self._stack = province, broker.port, folder, stack
        self.ingest = stack.enter_context(
            CheckClient("localhost", self.port, province.service("ingest"))
        )
        self.ingest.subscribe("desa/1/+/+/report")

    def identity(self, slot: KitSlot) -> TlsFiles:
        directory = self._folder / slot.serial
        directory.mkdir(exist_ok=True)
        write_file(directory / "c.pem", slot.certificate_pem)
        write_private(directory / "c.key", slot.key_pem)
        return TlsFiles(self.province.ca_certificate, directory / "c.pem", directory / "c.key")

    def connect(self, slot: KitSlot) -> CheckClient:
        client = self._stack.enter_context(
            CheckClient("localhost", self.port, self.identity(slot))
        )
        # Once connected: how long a message waits for a broker that has cut the connection.
        client.timeout = 1.0
        return client

    def refused(self, slot: KitSlot) -> bool:
        return is_refused(self.province, self.identity(slot), self.port)

    def delivers(self, client: CheckClient, slot: str, text: bytes) -> bool:
        """Whether what a device publishes reaches the ingest."""
        topic = f"desa/1/{slot[:4]}/{slot}/report"
        try:
            client.publish(topic, text)
        except BrokerError:
            pass  # it was cut off; whether the message got through all the same is seen below
        # Another device's message, sent after it, shows that the broker has had the time.
        mark = b"after " + text
        check = self.province.service("0000000000-1")
        with CheckClient("localhost", self.port, check) as other:
            other.publish("desa/1/6403/0000000000-1/report", mark)
        while (message := self.ingest.messages.get(timeout=PATIENCE_S)).payload != mark:
            if message.payload == text:
                return True
        return False


def enrol(desalink: Run, province: Province, log: EnrolmentLog, path: Path) -> None:
    path.write_bytes(log.export())
    ended = desalink("-C", province.directory, "enrolments", "import", path)
    assert (ended.code, ended.err) == (0, "")


def test_a_revoked_device_is_cut_off_and_refused_and_its_neighbour_is_not(
    desalink: Run, kaltim: Province, kit: Kit, log: EnrolmentLog, lab: Lab, tmp_path: Path
):
    device = FieldDevice(MAC)
    device.enrol(log, kit, SLOT)
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    enrol(desalink, kaltim, log, tmp_path / "f")
    live, neighbour = lab.connect(kit.slots[SLOT]), lab.connect(kit.slots[SECOND])
    assert lab.delivers(live, SLOT, b"before")
    ended = desalink("-C", kaltim.directory, "devices", "revoke", SLOT, "--by", "budi")
    assert ended.code == 0 and f"can't fill it any more: {kit.id.hex()} of Ani." in ended.err
    assert ended.out == (
        f"Device {device.kid.hex()} of slot {SLOT} is revoked.\n"
        "The broker refuses its certificate; any live connection was cut.\n"
    )
    assert not lab.delivers(live, SLOT, b"from the session that was open")
    assert lab.refused(kit.slots[SLOT])
    # The neighbour was not touched.
    assert lab.delivers(neighbour, SECOND, b"still here")
    shown = json.loads(desalink("-C", kaltim.directory, "devices", "show", SLOT, "--json").out)
    assert shown["revoked_by"] == "budi" and shown["revoked_at"] is not None
    # To revoke it again changes nothing and is no error.
    assert desalink("-C", kaltim.directory, "devices", "revoke", device.kid.hex()[:6]).code == 0


def test_a_replacement_cuts_the_old_device_off_and_the_new_one_connects(
    desalink: Run, kaltim: Province, kit: Kit, log: EnrolmentLog, lab: Lab, tmp_path: Path
):
    old, new = FieldDevice(MAC), FieldDevice(OTHER_MAC)
    old.enrol(log, kit, SLOT)
    enrol(desalink, kaltim, log, tmp_path / "f")
    first = log.slot_for(kit, SLOT, MAC)
    live = lab.connect(first)
    assert lab.delivers(live, SLOT, b"before")
    second = log.slot_for(kit, SLOT, OTHER_MAC)
    log.append(kit, SLOT, new.proof(SLOT), OTHER_MAC, "b", None, second.serial, replaces=old.kid)
    enrol(desalink, kaltim, log, tmp_path / "f")
    assert not lab.delivers(live, SLOT, b"the old one again")
    assert lab.refused(first) and not lab.refused(second)
    assert lab.delivers(lab.connect(second), SLOT, b"the new one")


def test_a_lost_kit_is_worth_nothing(
    desalink: Run,
    kaltim: Province,
    registry: Registry,
    authority: Authority,
    log: EnrolmentLog,
    lab: Lab,
    tmp_path: Path,
):
    kit, root = make_kit(kaltim, registry, authority)
    budis, _ = make_kit(kaltim, registry, authority, "Budi", ["6403112003-1"])
    file = sealed(kit, root, tmp_path / "trip.desakit")
    FieldDevice(MAC).enrol(log, kit, SLOT)
    enrol(desalink, kaltim, log, tmp_path / "f")
    FieldDevice(OTHER_MAC).enrol(log, kit, SECOND)
    (tmp_path / "late").write_bytes(log.export())
    used, thief = lab.connect(kit.slots[SLOT]), lab.connect(kit.slots[SECOND])
    assert lab.delivers(used, SLOT, b"1") and lab.delivers(thief, SECOND, b"2")
    before = verify_trust(kaltim.trust.read_bytes(), technicians.root_public(kaltim))

    # By its file, whose passphrase nobody at the province needs to know.
    ended = desalink("-C", kaltim.directory, "kit", "revoke", file)
    assert ended.code == 0
    assert f"Kit {kit.id.hex()} of Ani is revoked: 4 certificates" in ended.out
    assert f"can't connect until provisioned again: {SLOT}" in ended.err
    assert not lab.delivers(used, SLOT, b"3") and not lab.delivers(thief, SECOND, b"4")
    for slot in kit.slots.values():
        for certificate in slot.certificates:
            assert lab.refused(slot.with_certificate(certificate))
    after = verify_trust(kaltim.trust.read_bytes(), technicians.root_public(kaltim))
    assert after.version == before.version + 1
    assert [key.name for key in after.keys if key.role == TECHNICIAN] == ["Budi"]
    ended = desalink("-C", kaltim.directory, "enrolments", "import", tmp_path / "late")
    assert ended.code == 1 and "technician Ani that was revoked" in ended.err
    # Budi's trip goes on; and revoking once more repeats what is needed, and changes nothing.
    assert not lab.refused(budis.slots["6403112003-1"])
    assert desalink("-C", kaltim.directory, "kit", "revoke", kit.id.hex()).code == 0
    again = verify_trust(kaltim.trust.read_bytes(), technicians.root_public(kaltim))
    assert again.version == after.version
    listed = desalink("-C", kaltim.directory, "kit", "list").out.splitlines()
    states = {line.split("\t")[1]: line.split("\t")[-1] for line in listed[1:]}
    assert states == {"Ani": "revoked", "Budi": "valid"}


def test_after_a_trip_only_what_nobody_was_given_is_taken_back(
    desalink: Run, kaltim: Province, kit: Kit, log: EnrolmentLog, lab: Lab, tmp_path: Path
):
    FieldDevice(MAC).enrol(log, kit, SLOT)
    enrol(desalink, kaltim, log, tmp_path / "f")
    ended = desalink("-C", kaltim.directory, "kit", "revoke", kit.id.hex(), "--unused-only")
    assert (ended.code, ended.err) == (0, "")
    assert "3 unused certificates" in ended.out
    assert lab.refused(kit.slots[SECOND]) and not lab.refused(kit.slots[SLOT])
    trust = verify_trust(kaltim.trust.read_bytes(), technicians.root_public(kaltim))
    assert trust.find(kit.technician_kid) is not None


def test_without_a_broker_it_takes_effect_when_one_starts(
    desalink: Run, kaltim: Province, kit: Kit
):
    other = "0" if kit.id.hex()[0] != "0" else "1"
    for unknown in ("nothing", other * 8, other * 4):
        ended = desalink("-C", kaltim.directory, "kit", "revoke", unknown)
        assert ended.code == 1 and "has no kit" in ended.err
    ended = desalink("-C", kaltim.directory, "kit", "revoke", kit.id.hex()[:6])
    assert ended.code == 0 and "take effect when one starts" in ended.err
    crl = x509.load_pem_x509_crl(kaltim.crl.read_bytes())
    for slot in kit.slots.values():
        for certificate in slot.certificates:
            assert crl.get_revoked_certificate_by_serial_number(int(certificate.serial, 16))


def test_an_import_that_was_interrupted_before_the_list_is_repaired_by_the_next(
    desalink: Run,
    kaltim: Province,
    registry: Registry,
    kit: Kit,
    log: EnrolmentLog,
    lab: Lab,
    tmp_path: Path,
):
    from host_tools.office.importing import import_records, read_export

    old = FieldDevice(MAC)
    old.enrol(log, kit, SLOT)
    enrol(desalink, kaltim, log, tmp_path / "f")
    first = log.slot_for(kit, SLOT, MAC)
    live = lab.connect(first)
    serial = log.slot_for(kit, SLOT, OTHER_MAC).serial
    new = FieldDevice(OTHER_MAC)
    log.append(kit, SLOT, new.proof(SLOT), OTHER_MAC, "b", None, serial, replaces=old.kid)
    # The power fails when the registry has it, and before the broker knows it.
    import_records(registry, read_export(log.export(), "f"), "f")
    assert not lab.refused(first)
    enrol(desalink, kaltim, log, tmp_path / "f")
    assert not lab.delivers(live, SLOT, b"x")
    assert lab.refused(first)


def test_devices_replace_gives_permission_and_the_old_one_goes_on(
    desalink: Run, kaltim: Province, kit: Kit, log: EnrolmentLog, lab: Lab, tmp_path: Path
):
    FieldDevice(MAC).enrol(log, kit, SLOT)
    enrol(desalink, kaltim, log, tmp_path / "f")
    live = lab.connect(kit.slots[SLOT])
    ended = desalink("-C", kaltim.directory, "devices", "replace", SLOT)
    assert ended.code == 0 and f"may replace {log.records()[0].device.hex()}" in ended.out
    assert lab.delivers(live, SLOT, b"still measuring")
    assert desalink("-C", kaltim.directory, "devices", "revoke", SLOT).code == 0
    ended = desalink("-C", kaltim.directory, "devices", "replace", SLOT)
    assert ended.code == 1 and "is revoked already" in ended.err


def _crl(province: Province, authority: Authority, patch: pytest.MonkeyPatch, days: int) -> None:
    patch.setattr(ca, "CRL_LIFE", timedelta(days=days))
    write_file(province.crl, authority.crl_pem([]))


def _server(
    province: Province, authority: Authority, patch: pytest.MonkeyPatch, days: int
) -> None:
    patch.setattr(ca, "SERVER_LIFE", timedelta(days=days))
    write_file(province.server_certificate, authority.issue_server(["localhost"]).certificate_pem)


def _ca(province: Province, authority: Authority, patch: pytest.MonkeyPatch, days: int) -> None:
    successor = Authority.generate("x", timedelta(days=days))
    pem = successor.certificate.public_bytes(serialization.Encoding.PEM)
    write_file(province.ca_certificate, pem)


@pytest.mark.parametrize(
    ("shorten", "what"),
    [
        (_crl, "The revocation list"),
        (_server, "The broker's certificate"),
        (_ca, "The CA's certificate"),
    ],
)
def test_an_end_in_sight_is_reported_with_what_to_do(
    desalink: Run,
    kaltim: Province,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    shorten: Callable[..., None],
    what: str,
):
    shorten(kaltim, authority, monkeypatch, 60)
    for days, code in (("90", 1), ("50", 0)):
        ended = desalink("-C", kaltim.directory, "crl", "check", "--quiet", "--days", days)
        assert ended.code == code
        assert (f"{what} ends in 5" in ended.err) == bool(code)
    shorten(kaltim, authority, monkeypatch, -1)
    assert f"{what} has ended" in desalink("-C", kaltim.directory, "crl", "check").err


def test_all_that_ends_is_listed_and_quiet_says_nothing_while_all_is_well(
    desalink: Run, kaltim: Province, registry: Registry
):
    ended = desalink("-C", kaltim.directory, "crl", "check", "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    ended = desalink("-C", kaltim.directory, "crl", "check")
    assert ended.code == 0 and "The revocation list" in ended.out
    (end,) = [
        end
        for end in expiry.ends(kaltim, registry, now=time.time() + 700 * 86400)
        if end.what == "The trust document"
    ]
    assert 0 <= end.days <= 30


@pytest.mark.parametrize(("days", "code"), [(95, 0), (80, 1), (-2, 2)])
def test_a_monitoring_system_hears_of_what_ends_90_days_before(
    kaltim: Province, registry: Registry, desalink: Run, days: int, code: int
):
    registry.enrol(SLOT, bytes(32), board="b", firmware="1", by="x")
    registry.record_certificate("a0", SLOT, int(time.time() + (days + 0.5) * 86400))
    with open_database(kaltim.database, create=True) as db, db.transaction():
        save_alive(db, int(time.time()), connected=True)
    ended = desalink("-C", kaltim.directory, "status", "--check", "--tolerate", 1)
    assert ended.code == code
    when = f"ends in {days} days" if days > 0 else "has ended"
    assert (f"of the device of {SLOT} {when}" in ended.out) == bool(code)
    assert ("'desalink renew devices'" in ended.out) == bool(code)


def test_the_first_device_whose_certificate_ends_is_reported(
    kaltim: Province, registry: Registry, desalink: Run
):
    for number, slot in enumerate((SLOT, SECOND)):
        registry.enrol(slot, bytes([number] * 32), board="b", firmware="1", by="x")
        registry.record_certificate(f"a{number}", slot, int(time.time()) + number * 9 * 86400 + 60)
    # A certificate of a slot that nobody fills makes no noise.
    registry.record_certificate("a9", "6403112003-1", 5)
    ended = desalink("-C", kaltim.directory, "crl", "check", "--quiet")
    assert ended.code == 1
    assert f"The certificate of the device of {SLOT} ends in 0 days" in ended.err
