"""Certificates of services and devices are renewed before they end."""

from __future__ import annotations

import ssl
import time
from datetime import timedelta
from pathlib import Path

import cbor2
import pytest
from cryptography import x509
from pycddl import Schema

from host_tools.broker.client import CheckClient
from host_tools.broker.process import BrokerProcess
from host_tools.keys import ca
from host_tools.keys.ca import Authority
from host_tools.office import expiry
from host_tools.office.renewal import renew_devices
from host_tools.province.registry import Registry, kid_of
from host_tools.province.settings import Province, TlsFiles
from tests.host_tools.conftest import Run
from tests.support import PATIENCE_S, ROOT
from tests.world.evidencing import signing_registry
from tests.world.kits import KIT_PASSPHRASE, SECOND, SLOT, make_kit

DAY_S = 86400


def _device(
    registry: Registry, authority: Authority, folder: Path, slot: str, days: float, number: int = 0
) -> TlsFiles:
    """A device with a certificate that ends in so many days; its files."""
    issued = authority.issue_client(slot, timedelta(days=days))
    registry.record_certificate(issued.serial, slot, issued.not_after, issued.der)
    registry.enrol(
        slot, bytes([number] * 32), board="b", firmware="1", by="x", certificate=issued.serial
    )
    folder.mkdir(exist_ok=True)
    (folder / "client.pem").write_bytes(issued.certificate_pem)
    (folder / "client.key").write_bytes(issued.key_pem)
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    return TlsFiles(folder / "ca.pem", folder / "client.pem", folder / "client.key")


def _sentence(province: Province, registry: Registry) -> tuple[int, str]:
    (end,) = [end for end in expiry.ends(province, registry) if "the device of" in end.what]
    return end.days, end.remedy


def test_the_alarm_is_about_the_certificate_in_use_not_a_spare(
    kaltim: Province, authority: Authority, tmp_path: Path, desalink: Run
):
    with signing_registry(kaltim) as registry:
        _device(registry, authority, tmp_path / "device", SLOT, 20.5)
        make_kit(kaltim, registry, authority, slots=[SLOT])
        assert _sentence(kaltim, registry)[0] == 20
    ended = desalink("-C", kaltim.directory, "crl", "check", "--quiet")
    assert ended.code == 1 and f"the device of {SLOT} ends in 20 days" in ended.err
    assert "desalink renew devices" in ended.err


def test_a_device_gets_its_certificate_with_new_dates_over_its_own_topic(
    kaltim: Province,
    authority: Authority,
    broker: BrokerProcess,
    tmp_path: Path,
    desalink: Run,
):
    with signing_registry(kaltim) as registry:
        files = _device(registry, authority, tmp_path / "one", SLOT, 300)
        other = _device(registry, authority, tmp_path / "two", SECOND, 1800, 1)
    ended = desalink("-C", kaltim.directory, "renew", "devices")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "1 certificate renewed, 0 renewed before, 0 not renewed.\n"
        "1 renewed certificate published.\n"
    )
    topic = f"desa/1/6403/{SLOT}/certificate"
    with CheckClient("127.0.0.1", kaltim.broker.port, other) as stranger:
        stranger.subscribe(topic)
        with CheckClient("127.0.0.1", kaltim.broker.port, files) as device:
            device.subscribe(topic)
            message = device.messages.get(timeout=PATIENCE_S)
        assert stranger.messages.empty()
    assert message.topic == topic
    cddl = (ROOT / "docs" / "wire.cddl").read_text()
    Schema("message = certificate\n" + cddl).validate_cbor(message.payload)
    payload = cbor2.loads(message.payload)
    assert list(payload) == [1]
    new, old = x509.load_der_x509_certificate(payload[1]), ca.load_certificate(files.certificate)
    assert new.public_key() == old.public_key() and new.subject == old.subject
    assert new.not_valid_after_utc > old.not_valid_after_utc + timedelta(days=1000)
    # It opens the broker with the key that the device has.
    files.certificate.write_text(ssl.DER_cert_to_PEM_cert(payload[1]))
    CheckClient("127.0.0.1", kaltim.broker.port, files).close()
    # It is revoked with the slot; and once renewed it is not renewed again.
    ended = desalink("-C", kaltim.directory, "renew", "devices")
    assert "0 certificates renewed, 1 renewed before" in ended.out
    assert desalink("-C", kaltim.directory, "renew", "devices", "--publish-only").code == 0
    with signing_registry(kaltim) as registry:
        assert "waits at the broker" in _sentence(kaltim, registry)[1]
        # The device says that it uses it: the other one's certificate now is the first to end.
        shown = {SLOT: format(new.serial_number, "x")}
        assert not [e for e in expiry.ends(kaltim, registry, shown=shown) if SLOT in e.what]
        registry.revoke(kid_of(bytes(32)), by="x")
        assert len(registry.revoke_certificates(SLOT)) == 2


def test_a_certificate_from_before_is_taken_from_the_devices_own_file(
    kaltim: Province, authority: Authority, broker: BrokerProcess, tmp_path: Path, desalink: Run
):
    with signing_registry(kaltim) as registry:
        files = _device(registry, authority, tmp_path / "one", SLOT, 300)
        registry.change("UPDATE certificates SET content = NULL")
    ended = desalink("-C", kaltim.directory, "renew", "devices")
    assert ended.code == 1
    assert f"{SLOT}: its certificate" in ended.err and "--certificate" in ended.err
    foreign = tmp_path / "foreign.pem"
    foreign.write_bytes(Authority.generate("x").issue_client(SLOT).certificate_pem)
    renew = ("-C", kaltim.directory, "renew", "devices", "--certificate")
    ended = desalink(*renew, foreign)
    assert ended.code == 1 and "is not a certificate that this province has issued" in ended.err
    assert desalink(*renew, files.certificate).code == 0


def test_nobody_is_given_less_than_asked_for_without_a_sentence(
    kaltim: Province, authority: Authority, tmp_path: Path
):
    """At the CA's end a new certificate would end with the CA."""
    with signing_registry(kaltim) as registry:
        end = authority.certificate.not_valid_after_utc
        days = (end.timestamp() - time.time()) / DAY_S
        _device(registry, authority, tmp_path / "one", SLOT, days + 9)
        done = renew_devices(kaltim, registry, authority, now=end.timestamp() - 300 * DAY_S)
    ((slot, why),) = done.left
    assert slot == SLOT and "the CA itself ends on" in why and done.renewed == ()


@pytest.mark.parametrize(
    "verb",
    [
        ("renew", "services"),
        ("broker", "config"),
        ("devices", "revoke", SLOT),
        ("kit", "create", "--technician", "Ani", "--villages", SLOT, "-o"),
        ("enrol", "--village", SECOND[:10], "--device-dir"),
    ],
)
def test_services_are_renewed_with_the_key_that_they_have(
    kaltim: Province,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    desalink: Run,
    verb: tuple[str, ...],
    request: pytest.FixtureRequest,
    tmp_path: Path,
):
    monkeypatch.setenv("DESALINK_KIT_PASSPHRASE", KIT_PASSPHRASE)
    assert desalink("-C", kaltim.directory, "technicians", "add", "Ani").code == 0
    more = [tmp_path / "new"] if verb[-1].startswith("-") else []
    files = kaltim.service("ingest")
    with signing_registry(kaltim) as registry:
        registry.enrol(SLOT, bytes(32), board="b", firmware="1", by="x")
    short = authority.renew_client(ca.load_certificate(files.certificate), timedelta(days=100))
    pem = ssl.DER_cert_to_PEM_cert(short.public_bytes(ca.serialization.Encoding.DER))
    files.certificate.write_text(pem)
    key = files.key.read_bytes()
    ended = desalink("-C", kaltim.directory, "crl", "check", "--days", 120)
    assert ended.code == 1 and "desalink renew services" in ended.err
    ended = desalink("-C", kaltim.directory, *verb, *more)
    assert ended.code == 0, ended.err
    assert files.key.read_bytes() == key
    assert desalink("-C", kaltim.directory, "crl", "check", "--days", 120).code == 0
    monkeypatch.delenv("DESALINK_PASSPHRASE")
    ended = desalink("-C", kaltim.directory, "renew", "services")
    assert (ended.code, ended.out) == (0, "No service's certificate ends within 366 days.\n")
    request.getfixturevalue("broker")
    CheckClient("127.0.0.1", kaltim.broker.port, files).close()
