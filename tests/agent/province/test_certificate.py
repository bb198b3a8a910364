"""A renewed certificate: what is refused, when it is tried, and what a power cut leaves."""

from __future__ import annotations

import asyncio
import gc
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from agent.device import interpreter
from agent.net.errors import NetError
from agent.province import certificate as role
from agent.province import received, renewal
from host_tools.keys.authorities import Authorities, root_block, sign_authorities
from host_tools.keys.ca import Authority
from host_tools.keys.signing import public_bytes, sign1

SLOT = "6403112001-1"
BASE = f"desa/1/6403/{SLOT}/"
DAY_S = 86400
REFUSED = NetError("not authorised", "mqtt", 5)
RESET = NetError("reset", "session", 104)
SILENT = NetError("no answer", "connect", 110)


ROOTS = [Ed25519PrivateKey.generate() for _ in range(3)]


def document(number: int, by: int, root: int, *authorities: Authority) -> bytes:
    """What the root key `by` signs: these CAs and the root key `root` count."""
    certificates = [a.certificate.public_bytes(Encoding.DER) for a in authorities]
    content = Authorities(number, tuple(certificates), public_bytes(ROOTS[root]), 1_800_000_000)
    return sign_authorities(ROOTS[by], content)


class PowerCut(BaseException):
    """Ends the device in the middle of a write."""


class Device:
    """Files of a device, and the role with what it needs of session, delivery and clock."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.generate("East Kalimantan")
        issued = self.authority.issue_client(SLOT, timedelta(days=100))
        self.folder = folder
        for name, content in (
            ("ca.pem", self.authority.certificate_pem + root_block(public_bytes(ROOTS[0]))),
            ("client.pem", issued.certificate_pem),
            ("client.key", issued.key_pem),
        ):
            (folder / name).write_bytes(content)
        self.old = x509.load_pem_x509_certificate(issued.certificate_pem)
        self.up = 100
        self.now: int | None = int(datetime.now(UTC).timestamp())
        self.start()

    def start(self) -> None:
        """As after each start of the agent."""
        self.session = SimpleNamespace(
            base=BASE, topics={}, begin=[], end=[], work=[], number=0, stage="",
            client=SimpleNamespace(tls="as at start"),
        )  # fmt: skip
        self.delivery = SimpleNamespace(proved=0)
        self.birth: dict[int, bytes] = {}
        clock = SimpleNamespace(up=lambda: self.up, now=lambda: self.now)
        settings = {
            "broker.ca": str(self.folder / "ca.pem"),
            "broker.key": str(self.folder / "client.key"),
            "state_dir": str(self.folder),
        }
        files = str(self.folder / "client.pem"), str(self.folder), str(self.folder / "ca.pem")
        used = renewal.present(*files)
        role.CertificateTopic(self.session, self.delivery, clock, settings, used, self.birth)

    def renewed(self, days: int = 1000, **change: Any) -> x509.Certificate:
        return self.authority.renew_client(self.old, timedelta(days=days), **change)

    def receive(self, certificate: x509.Certificate, *documents: bytes) -> None:
        message = {1: certificate.public_bytes(Encoding.DER)}
        if documents:
            message[2] = list(documents)
        message = cbor2.dumps(message)
        self.session.topics[BASE + "certificate"](memoryview(message), True)

    @property
    def shown(self) -> bytes:
        """The serial that the birth of the next connection names."""
        return self.birth[13]

    def attempt(self, error: NetError, connected: bool = False) -> None:
        """One attempt to connect, and its end."""
        for begin in self.session.begin:
            begin()
        self.session.number += connected
        self.session.stage = error.stage
        for end in self.session.end:
            end(error)

    async def connection(self, proved: bool) -> None:
        """One that lasts until its work is done."""
        for begin in self.session.begin:
            begin()
        self.session.number += 1
        if proved:
            self.delivery.proved = self.session.number
        for work in self.session.work:
            await work()


def serial(certificate: x509.Certificate) -> bytes:
    number = certificate.serial_number
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    # A device makes room before it loads a certificate; the heap of the tests is a hundred times
    # as large.
    monkeypatch.setattr(gc, "collect", lambda: 0)
    return Device(tmp_path)


def test_fields_are_those_that_a_library_of_certificates_sees(device: Device) -> None:
    for days in (1, 9000, 20000):  # GeneralizedTime from 2050 on
        authority = Authority.generate("x", timedelta(days=30000))
        made = x509.load_pem_x509_certificate(
            authority.issue_client(SLOT, timedelta(days=days)).certificate_pem
        )
        number, begin, end, who = renewal.fields(made.public_bytes(Encoding.DER))
        assert number == serial(made)
        assert begin == made.not_valid_before_utc.timestamp()
        assert end == made.not_valid_after_utc.timestamp()
        assert who[:2] == [made.issuer.public_bytes(), made.subject.public_bytes()]


def test_bytes_that_are_no_certificate_are_refused(device: Device) -> None:
    der = device.old.public_bytes(Encoding.DER)
    for size in range(len(der)):
        with pytest.raises(ValueError):
            renewal.fields(der[:size])
    for at in range(len(der)):
        for value in (0, 0x30, 0x80, 0x84, 0xFF):
            changed = der[:at] + bytes([value]) + der[at + 1 :]
            try:
                renewal.fields(changed)
            except ValueError:
                pass


def _other_key(device: Device) -> x509.Certificate:
    return x509.load_pem_x509_certificate(
        device.authority.issue_client(SLOT, timedelta(days=1000)).certificate_pem
    )


def _other_authority(device: Device) -> x509.Certificate:
    return Authority.generate("another").renew_client(device.old, timedelta(days=1000))


@pytest.mark.parametrize(
    "make",
    [_other_key, _other_authority, lambda device: device.renewed(50)],
    ids=["another key", "another CA", "ends sooner"],
)
def test_what_does_not_continue_the_present_certificate_is_refused(
    device: Device, capsys: pytest.CaptureFixture[str], make: Any
) -> None:
    device.receive(make(device))
    assert "certificate: refused" in capsys.readouterr().err
    assert not (device.folder / "certificate.new").exists()


def test_a_certificate_of_the_future_and_a_malformed_message_are_refused(device: Device) -> None:
    handle = device.session.topics[BASE + "certificate"]
    for message in (b"", b"\x00", b"\xa1\x01\x01", cbor2.dumps({1: bytes(2049)}), bytes(5000)):
        handle(memoryview(message), True)
    device.now = int(device.old.not_valid_before_utc.timestamp()) - 10 * DAY_S
    device.receive(device.renewed())
    assert not (device.folder / "certificate.new").exists()


async def _at_once(ms: int) -> None:
    raise AssertionError("it waits")


def test_the_new_one_is_tried_next_and_taken_when_a_report_was_stored(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "sleep_ms", _at_once)
    new = device.renewed()
    device.receive(new)
    assert device.shown == serial(device.old)
    asyncio.run(device.connection(proved=True))
    assert device.shown == serial(new)
    assert isinstance(device.session.client.tls, ssl.SSLContext)
    assert not (device.folder / "certificate.new").exists()
    device.start()
    assert device.shown == serial(new)
    device.receive(new)  # retained, it comes again
    device.attempt(RESET)
    assert device.shown == serial(new)
    assert not (device.folder / "certificate.new").exists()


@pytest.mark.parametrize(
    ("ends", "after"),
    [
        ([(REFUSED, False)], 1),
        ([(RESET, True)] * 3, 3),
        ([(NetError("x", "tls", 104), False)] * 3, 3),
    ],
    ids=["refused", "three connections", "three handshakes"],
)
def test_it_falls_back_and_tries_again_after_a_day(
    device: Device, ends: list[tuple[NetError, bool]], after: int
) -> None:
    new = device.renewed()
    device.receive(new)
    for error, connected in ends:
        device.attempt(error, connected)
        assert device.shown == serial(new)
    device.attempt(RESET, True)
    assert device.shown == serial(device.old)
    device.up += DAY_S - 1
    device.attempt(RESET, True)
    assert device.shown == serial(device.old)
    device.up += 1
    device.attempt(RESET, True)
    assert device.shown == serial(new)


def test_an_outage_is_no_verdict_but_a_day_without_a_stored_report_is(device: Device) -> None:
    new = device.renewed()
    device.receive(new)
    for _ in range(20):
        device.attempt(SILENT)
        assert device.shown == serial(new)
    device.up += DAY_S
    device.attempt(RESET, True)
    device.attempt(RESET)
    assert device.shown == serial(device.old)


def test_when_the_old_one_has_ended_the_new_one_is_tried_again_at_once(device: Device) -> None:
    """And the old one in between, as the device's clock may be wrong."""
    new = device.renewed()
    device.receive(new)
    device.now = int(device.old.not_valid_after_utc.timestamp())
    shown = []
    for _ in range(4):
        device.attempt(REFUSED)
        shown.append(device.shown == serial(new))
    assert shown == [True, False, True, False]


def test_another_one_that_comes_during_a_trial_is_tried_in_its_place(device: Device) -> None:
    first, second = device.renewed(500), device.renewed(1000)
    device.receive(first)
    device.attempt(RESET, True)
    device.receive(second)
    device.delivery.proved = 9
    asyncio.run(device.session.work[0]())  # proves nothing: it was the first that was shown
    assert (device.folder / "certificate.new").exists()
    device.attempt(RESET, True)
    assert device.shown == serial(second)


def test_a_device_that_is_provisioned_again_forgets_the_renewed_one(device: Device) -> None:
    device.receive(device.renewed())
    issued = device.authority.issue_client(SLOT, timedelta(days=100))
    (device.folder / "client.pem").write_bytes(issued.certificate_pem)
    (device.folder / "client.key").write_bytes(issued.key_pem)
    device.start()
    device.attempt(RESET, True)
    assert device.shown == serial(x509.load_pem_x509_certificate(issued.certificate_pem))
    assert not list(device.folder.glob("certificate*"))


def _in_use(device: Device, certificate: x509.Certificate, *documents: bytes) -> bool:
    """Whether the device uses the certificate after it has proved itself."""
    device.receive(certificate, *documents)
    device.attempt(RESET, True)
    device.delivery.proved = device.session.number + 1
    for work in device.session.work:
        asyncio.run(work())
    device.start()
    return device.shown == serial(certificate)


def test_a_new_authority_counts_once_the_root_has_signed_it(device: Device) -> None:
    later = Authority.generate("Later")
    new = later.renew_client(device.old, timedelta(days=1000))
    assert not _in_use(device, new)
    assert not _in_use(device, new, document(1, 1, 0, later))  # by another key
    assert _in_use(device, new, document(2, 0, 0, later, device.authority))
    # An older document does not bring back the CA of before, and the new one counts on.
    old = device.renewed(2000)
    assert _in_use(device, old)
    assert _in_use(
        device, later.renew_client(device.old, timedelta(days=3000)), document(3, 0, 0, later)
    )
    old = device.renewed(4000)
    assert not _in_use(device, old, document(1, 0, 0, device.authority))
    assert _in_use(device, later.renew_client(device.old, timedelta(days=4000)))


def test_a_device_that_missed_a_root_key_follows_by_the_documents_between(device: Device) -> None:
    later = Authority.generate("Later")
    first, second = document(1, 0, 1, device.authority), document(2, 1, 2, later)
    new = later.renew_client(device.old, timedelta(days=1000))
    assert not _in_use(device, new, second)
    assert _in_use(device, new, first, second)
    third = later.renew_client(device.old, timedelta(days=2000))
    assert not _in_use(device, device.renewed(3000), document(3, 0, 0, device.authority))
    assert _in_use(device, third, document(3, 2, 2, later))


@pytest.mark.parametrize(
    "documents",
    [
        (b"\x00",),
        ({},),
        (sign1(ROOTS[0], b"\xf6", b"desa/1/authorities"),),
        (sign1(ROOTS[0], cbor2.dumps({1: 1, 2: [], 3: bytes(32)}), b"desa/1/authorities"),),
        (sign1(ROOTS[0], cbor2.dumps({1: 1, 2: [b"0"], 3: bytes(32)}), b"desa/1/authorities"),),
        (sign1(ROOTS[0], cbor2.dumps({1: 2**40, 2: [b""], 3: b""}), b"desa/1/authorities"),),
    ],
)  # fmt: skip
def test_documents_that_are_none_change_nothing(device: Device, documents: tuple[Any]) -> None:
    other = Authority.generate("x").renew_client(device.old, timedelta(days=1000))
    assert not _in_use(device, other, *documents)
    assert device.shown == serial(device.old)


@pytest.mark.parametrize("cut", range(1, 110))
def test_a_power_cut_at_any_write_leaves_the_old_or_the_new_one(
    device: Device, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Each step of a trial is cut: bytes of the file, its sync, and both renames."""
    later = Authority.generate("Later")
    new = later.renew_client(device.old, timedelta(days=1000))
    change = document(1, 0, 0, later, device.authority)
    steps = 0

    def step(name: str) -> None:
        nonlocal steps
        steps += 1
        if steps == cut:
            raise PowerCut

    class File:
        def __init__(self, path: str, mode: str) -> None:
            self._file = Path(path).open(mode, buffering=0)

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def write(self, data: bytes) -> None:
            step("half")
            self._file.write(data[: len(data) // 2])
            step("rest")
            self._file.write(data[len(data) // 2 :])

    real = received.os.rename

    def rename(old: str, to: str) -> None:
        step("before the rename")
        real(old, to)
        step("after the rename")

    with monkeypatch.context() as patched:
        patched.setattr(received, "open", File, raising=False)
        patched.setattr(interpreter, "sync", lambda file: step("sync"))
        patched.setattr(received.os, "rename", rename)
        try:
            device.receive(new, change)
            asyncio.run(device.connection(proved=True))
        except PowerCut:
            pass
        else:
            assert cut > steps
    device.start()
    assert device.shown in (serial(device.old), serial(new))
    device.receive(new, change)
    device.attempt(RESET, True)
    assert device.shown == serial(new)
