"""A new CA and a new root key: kits, passphrase and backups go on. What devices do is in
tests/system/test_years.py."""

from __future__ import annotations

import time
from pathlib import Path

import cbor2
import pytest
from pycddl import Schema

from host_tools.broker.client import CheckClient
from host_tools.broker.revocation import write_crl
from host_tools.common.errors import BrokerError, ProvinceError
from host_tools.keys.authorities import load_documents
from host_tools.keys.ca import Authority, load_certificate, load_certificates
from host_tools.office.backup import make_backup
from host_tools.office.backup_file import BackupError
from host_tools.office.rekeying import change_passphrase
from host_tools.office.restore import restore
from host_tools.office.succession import finish_authority, renew_authority, renew_root
from host_tools.people import technicians
from host_tools.people.kits.check import check_kit
from host_tools.people.kits.create import write_kit
from host_tools.people.kits.opened import KitDirectory, open_kit
from host_tools.people.trust import verify_trust
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, TlsFiles
from tests.host_tools.conftest import PASSPHRASE, running_broker
from tests.support import ROOT
from tests.world.evidencing import signing_registry
from tests.world.kits import KIT_PASSPHRASE, SECOND, SLOT, make_kit


def _kit(province: Province, registry: Registry, path: Path) -> Path:
    authority = Authority.load(province.ca_key, province.ca_certificate, PASSPHRASE)
    kit, root = make_kit(province, registry, authority, slots=[SLOT])
    write_kit(kit, root, path, KIT_PASSPHRASE)
    return path


def _wrong(province: Province, path: Path) -> list[str]:
    roots = [technicians.root_public(province), *technicians.former_roots(province)]
    kit = open_kit(path, KIT_PASSPHRASE)
    ca_pem = province.ca_certificate.read_bytes()
    return [c.what for c in check_kit(kit, roots=roots, ca_pem=ca_pem) if not c.held]


def test_kits_from_before_and_after_are_good_and_open_in_one_place(
    kaltim: Province, registry: Registry, tmp_path: Path
) -> None:
    old = _kit(kaltim, registry, tmp_path / "old")
    opened = KitDirectory(tmp_path / "opened")
    opened.put(old, KIT_PASSPHRASE)
    renew_root(kaltim, registry, PASSPHRASE)
    renew_root(kaltim, registry, PASSPHRASE)
    renew_authority(kaltim, registry, PASSPHRASE)
    new = _kit(kaltim, registry, tmp_path / "new")
    assert _wrong(kaltim, old) == _wrong(kaltim, new) == []
    opened.put(new, KIT_PASSPHRASE)
    kit = opened.open(KIT_PASSPHRASE)
    assert kit.ca_pem == kaltim.ca_certificate.read_bytes()
    assert kit.ca_pem.count(b"BEGIN CERTIFICATE") == 2
    document = verify_trust(kaltim.trust.read_bytes(), technicians.root_public(kaltim))
    assert document.version > 2
    assert _wrong(kaltim, new) == []


def test_each_document_is_what_the_description_says(kaltim: Province, registry: Registry) -> None:
    renew_authority(kaltim, registry, PASSPHRASE)
    renew_root(kaltim, registry, PASSPHRASE)
    finish_authority(kaltim, registry, PASSPHRASE)
    schema = Schema("message = authorities\n" + (ROOT / "docs" / "wire.cddl").read_text())
    numbers = []
    for document in load_documents(kaltim.authorities):
        payload = cbor2.loads(document).value[2]
        schema.validate_cbor(payload)
        numbers.append(cbor2.loads(payload)[1])
    assert numbers == [1, 2, 3]


def test_the_broker_keeps_its_certificate_until_the_period_ends(
    kaltim: Province, registry: Registry, authority: Authority
) -> None:
    new = renew_authority(kaltim, registry, PASSPHRASE)
    with pytest.raises(ProvinceError, match="--finish"):
        renew_authority(kaltim, registry, PASSPHRASE)
    server = load_certificate(kaltim.server_certificate)
    server.verify_directly_issued_by(authority.certificate)
    load_certificate(kaltim.service("ingest").certificate).verify_directly_issued_by(
        new.certificate
    )
    finish_authority(kaltim, registry, PASSPHRASE)
    server = load_certificate(kaltim.server_certificate)
    server.verify_directly_issued_by(new.certificate)
    assert load_certificates(kaltim.ca_certificate) == [new.certificate]
    assert not kaltim.former_ca_key.exists()


def test_a_new_passphrase_is_that_of_the_former_ca_too(
    kaltim: Province, registry: Registry
) -> None:
    renew_authority(kaltim, registry, PASSPHRASE)
    assert "ca/former.key" in change_passphrase(kaltim, PASSPHRASE, "another good one")
    finish_authority(kaltim, registry, "another good one")


def test_a_backup_from_before_a_new_root_key_does_not_take_the_provinces_place(
    kaltim: Province, tmp_path: Path
) -> None:
    before = make_backup(kaltim, tmp_path / "before.tar").path
    with signing_registry(kaltim) as registry:
        renew_root(kaltim, registry, PASSPHRASE)
        renew_authority(kaltim, registry, PASSPHRASE)
    after = make_backup(kaltim, tmp_path / "after.tar", now=time.time() + 1).path
    with pytest.raises(BackupError, match="another root key"):
        restore(before, kaltim.directory, replace_existing=True)
    restore(after, kaltim.directory, replace_existing=True)
    assert len(load_certificates(kaltim.ca_certificate)) == 2


def test_a_backup_from_before_a_new_ca_keeps_the_ca_that_devices_know(
    kaltim: Province, tmp_path: Path
) -> None:
    before = make_backup(kaltim, tmp_path / "before.tar").path
    with Registry.open(kaltim.directory) as registry:
        made = renew_authority(kaltim, registry, PASSPHRASE)
        files = {}
        for slot in (SLOT, SECOND):
            issued = made.issue_client(slot)
            registry.record_certificate(issued.serial, slot, issued.not_after, issued.der)
            files[slot] = TlsFiles(*(tmp_path / f"{slot}.{name}" for name in ("ca", "crt", "key")))
            for path, content in zip(
                (files[slot].ca, files[slot].certificate, files[slot].key),
                (kaltim.ca_certificate.read_bytes(), issued.certificate_pem, issued.key_pem),
                strict=True,
            ):
                path.write_bytes(content)
        registry.revoke_certificates(SECOND)
        write_crl(kaltim, registry, made)
    change_passphrase(kaltim, PASSPHRASE, "another good one")
    done = restore(before, kaltim.directory, replace_existing=True)
    assert "is newer than the backup" in done.notes[0]
    with running_broker(kaltim):
        CheckClient("127.0.0.1", kaltim.broker.port, files[SLOT]).close()
        CheckClient("127.0.0.1", kaltim.broker.port, kaltim.service("operator")).close()
        with pytest.raises(BrokerError):
            CheckClient("127.0.0.1", kaltim.broker.port, files[SECOND])
    with Registry.open(kaltim.directory) as registry:
        finish_authority(kaltim, registry, "another good one")
