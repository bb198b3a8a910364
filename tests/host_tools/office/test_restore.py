"""A restore puts back all or nothing, and never undoes a revocation."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from host_tools.broker.revocation import write_crl
from host_tools.broker.revoked import listed
from host_tools.broker.upkeep import load_crl
from host_tools.evidence.verify import verify
from host_tools.keys.ca import Authority
from host_tools.keys.root import load_root_key
from host_tools.office.backup import make_backup
from host_tools.office.founding import found_province
from host_tools.office.locking import hold
from host_tools.office.restore import restore
from host_tools.people import technicians
from host_tools.people.technicians import root_public
from host_tools.province.registry import Registry, kid_of
from host_tools.province.settings import Province, load
from tests.host_tools.conftest import PASSPHRASE, Ended, Run
from tests.host_tools.evidence.conftest import verify_evidence
from tests.world.evidencing import evidenced, receipts_until, signing_registry
from tests.world.filled import Filled
from tests.world.killed import count_steps, killed_at
from tests.world.kits import SECOND, SLOT, make_kit

THIRD = "6403112003-1"


class Years:
    """A province with a backup, and what happened since: revocations and a new device."""

    def __init__(self, province: Province, authority: Authority, folder: Path) -> None:
        self.province = province
        root = load_root_key(province.root_key, PASSPHRASE)
        with signing_registry(province) as registry:
            for number, slot in enumerate((SLOT, SECOND)):
                self._enrol(registry, authority, slot, number)
            make_kit(province, registry, authority, "Ani", [SLOT])
            make_kit(province, registry, authority, "Budi", [SECOND])
            self.backup = make_backup(province, folder / "backup.tar").path
            self.registry_copy = folder / "registry.copy"
            shutil.copy(province.registry, self.registry_copy)

            self._enrol(registry, authority, THIRD, 2)
            registry.revoke(kid_of(bytes([0] * 32)), by="Citra")
            registry.revoke_certificates(SLOT)
            # A kit that the backup does not know is lost, with its technician's key.
            make_kit(province, registry, authority, "Dewi", [THIRD])
            for name in ("Ani", "Dewi"):
                (entry,) = [e for e in registry.kits() if e.name == name]
                registry.revoke_kit(entry, by="Citra", at=int(time.time()), unused_only=False)
                technicians.revoke(province, registry, root, [entry.technician], by="Citra")
            write_crl(province, registry, authority, authority.issue_client("probe"))
            self.revoked = dict(registry.revoked_certificates())
            self.trust = technicians.newest_trust(province, registry)
            self.entries = len(list(registry.office_log()))

    @staticmethod
    def _enrol(registry: Registry, authority: Authority, slot: str, number: int) -> None:
        issued = authority.issue_client(slot)
        registry.record_certificate(issued.serial, slot, issued.not_after, issued.der)
        registry.enrol(
            slot,
            bytes([number] * 32),
            board="b",
            firmware="1",
            by="x",
            certificate=issued.serial,
        )

    def check(self, *, whole: bool = True) -> None:
        """What was revoked is revoked, in the registry and in the next list."""
        province = load(self.province.directory)
        authority = Authority.load(province.ca_key, province.ca_certificate, PASSPHRASE)
        with signing_registry(province) as registry:
            write_crl(province, registry, authority)
            assert self.revoked.keys() == dict(registry.revoked_certificates()).keys()
            assert {serial for serial, _ in listed(load_crl(province))} == self.revoked.keys()
            valid = {t.name for t in technicians.technicians(registry) if t.valid(time.time())}
            assert valid == {"Budi"}
            assert technicians.newest_trust(province, registry) == self.trust
            if whole:
                assert len(list(registry.office_log())) == self.entries
                assert {d.slot for d in registry.active_devices()} == {SECOND, THIRD}
                assert all(
                    technicians.key_path(province, t.kid).exists()
                    for t in technicians.technicians(registry)
                )


@pytest.fixture
def years(kaltim: Province, authority: Authority, tmp_path: Path) -> Years:
    return Years(kaltim, authority, tmp_path)


def test_a_restore_beside_an_existing_province_keeps_what_it_revoked(years: Years, desalink: Run):
    directory = years.province.directory
    ended = desalink("restore", years.backup, directory)
    assert ended.code == 1 and "give --replace" in ended.err
    ended = desalink("restore", years.backup, directory, "--replace")
    assert ended.code == 0 and "6 revocations since the backup" in ended.out, ended
    years.check()
    # Also when the restored province is deleted and only what was there before is left.
    shutil.rmtree(directory)
    assert desalink("restore", years.backup, directory).code == 0
    years.check()


def test_the_longer_office_log_counts_and_its_rows_with_it(years: Years, desalink: Run):
    directory = years.province.directory
    assert desalink("restore", years.backup, directory, "--replace").code == 0
    ended = desalink("-C", directory, "evidence", "check")
    assert ended.code == 0, ended.err


def test_an_office_log_that_was_forked_is_refused(years: Years, desalink: Run):
    shutil.copy(years.registry_copy, years.province.registry)
    with signing_registry(years.province) as registry:
        registry.enrol("6403112004-1", bytes([9] * 32), board="b", firmware="1", by="x")
        backup = make_backup(years.province, years.backup.with_name("other.tar")).path
    shutil.copy(years.registry_copy, years.province.registry)
    with signing_registry(years.province) as registry:
        registry.enrol("6403112004-2", bytes([8] * 32), board="b", firmware="1", by="x")
    ended = desalink("restore", backup, years.province.directory, "--replace")
    assert ended.code == 1 and "one of them was forked" in ended.err


def test_receipts_that_are_newer_than_the_backup_are_kept(
    kaltim: Province, tmp_path: Path, desalink: Run
):
    made = evidenced(kaltim, days=2)
    filled = Filled(kaltim.database)
    device = made.devices[0]
    device.now = made.month.end + 86_400
    device.stream = b"late"
    backup = make_backup(kaltim, tmp_path / "backup.tar").path
    filled.store(device, [device.report(seq=5)])
    receipts_until(filled, kaltim, made.month.end + 3 * 86_400)
    filled.db.close()
    heads = desalink("-C", kaltim.directory, "evidence", "receipts").out
    ended = desalink("restore", backup, kaltim.directory, "--replace")
    assert ended.code == 0 and "Receipts 31 to 32 are newer than the backup" in ended.err
    assert desalink("-C", kaltim.directory, "evidence", "receipts").out == heads
    # The device sends it again.
    filled = Filled(kaltim.database)
    device.seq = 0
    filled.store(device, [device.report(seq=5)], received_at=made.month.end + 4 * 86_400)
    receipts_until(filled, kaltim, made.month.end + 6 * 86_400)
    filled.db.close()
    assert desalink("-C", kaltim.directory, "evidence", "receipts").code == 0
    ended = desalink("-C", kaltim.directory, "evidence", "check")
    assert ended.code == 1 and "Receipt 32 of 2026-11-02 counts 1 reports" in ended.err

    # What was lost is declared, and the evidence holds again.
    def lost(*numbers: int) -> Ended:
        command = ("-C", kaltim.directory, "evidence", "lost", *numbers)
        return desalink(*command, "--why", "restored", "--by", "Rina")

    assert "are stored. Only receipts" in lost(1, 32).err
    assert "There are no receipts 31 to 99" in lost(31, 99).err
    assert lost(31, 32).code == 0
    assert "is declared lost already" in lost(32, 32).err
    ended = desalink("-C", kaltim.directory, "evidence", "check")
    assert ended.code == 0 and "receipts 31 to 32 (restored; Rina)" in ended.err
    file = tmp_path / "november.evidence"
    ended = desalink(
        *("-C", kaltim.directory, "evidence", "export", "--month", "2026-11", "-o", file)
    )
    assert ended.code == 0, ended.err
    checked = verify(file, [root_public(kaltim)])
    assert checked.reports == 1 and "receipts 31 to 32 are lost" in checked.unproved[-1]
    assert "They count 1 reports" in checked.unproved[-1]
    other = verify_evidence.verdict(file, [kaltim.root_public])
    assert other["totals"] == checked.totals
    assert "receipts 31 to 32 lost" in other["not_proved"][-1]


@pytest.mark.parametrize("damaged", ["registry.db", "province.toml"])
def test_what_is_damaged_is_no_reason_to_forget_revocations(
    years: Years, desalink: Run, damaged: str
):
    (years.province.directory / damaged).write_bytes(b"[" * 5000)
    ended = desalink("restore", years.backup, years.province.directory, "--replace")
    assert ended.code == 0
    registry = damaged == "registry.db"
    assert ("only revocations that its revocation list and trust document name" in ended.err) == (
        registry
    )
    if registry:
        assert f"only revoked certificates: {SLOT}" in ended.err
    years.check(whole=not registry)


@pytest.mark.parametrize("verb", [("crl", "check"), ("broker", "config"), ("kit", "list")])
def test_an_older_registry_put_back_by_hand_undoes_no_revocation(
    years: Years, desalink: Run, verb: tuple[str, str]
):
    shutil.copy(years.registry_copy, years.province.registry)
    for suffix in ("-wal", "-shm"):
        Path(f"{years.province.registry}{suffix}").unlink(missing_ok=True)
    ended = desalink("-C", years.province.directory, *verb)
    if verb[0] == "crl":
        assert ended.code == 1
        assert "older than the revocation list: 5 revocations are taken over" in ended.err
        assert "older than trust document" in ended.err
        # Once it has caught up, all is well.
        assert desalink("-C", years.province.directory, *verb).code == 0
    years.check(whole=False)


def test_another_province_is_never_replaced(years: Years, tmp_path: Path, desalink: Run):
    other = tmp_path / "other"
    found_province(other, "64", PASSPHRASE, only_villages=["6403112001"])
    before = (other / "registry.db").read_bytes()
    ended = desalink("restore", years.backup, other, "--replace")
    assert ended.code == 1 and "is of another province" in ended.err
    (other / "province.toml").unlink()
    ended = desalink("restore", years.backup, other, "--replace")
    assert ended.code == 1 and "is not empty" in ended.err
    assert (other / "registry.db").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if "restore" in path.name) == []


def test_nothing_is_replaced_under_a_running_ingest_or_broker(
    years: Years, desalink: Run, request: pytest.FixtureRequest
):
    directory = years.province.directory
    with hold(directory / "province.db.lock", "busy"):
        ended = desalink("restore", years.backup, directory, "--replace")
        assert ended.code == 75 and "The ingest" in ended.err
    request.getfixturevalue("broker")
    ended = desalink("restore", years.backup, directory, "--replace")
    assert ended.code == 1 and "The broker" in ended.err


@pytest.mark.parametrize("there", [True, False])
def test_a_restore_that_was_killed_is_run_again(years: Years, there: bool):
    """At each step the directory is what it was, or what it shall be; never in between."""
    directory = years.province.directory
    spare = directory.with_name("spare")
    os.rename(directory, spare)

    def again() -> None:
        for path in (directory, *directory.parent.glob("*before-restore-*")):
            shutil.rmtree(path, ignore_errors=True)
        if there:
            shutil.copytree(spare, directory)

    def run() -> None:
        restore(years.backup, directory, replace_existing=there)

    again()
    total = count_steps(run)
    # Every step from the exchange on, and some of the long way there.
    steps = [*range(1, total - 20, 12), *range(total - 20, total + 1)]
    for step in steps:
        again()
        assert killed_at(step, run)
        if there:
            load(directory)
        if directory.exists():
            with Registry.open(directory) as registry:
                assert len(registry.active_devices()) == 2
    run()
    if there:
        years.check()
    assert list(directory.parent.glob(f".{directory.name}.restore-*/.restoring")) == []
