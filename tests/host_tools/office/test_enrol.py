"""Enrolling a device on this machine: with the real agent, and with agents that misbehave."""

from __future__ import annotations

import base64
import json
import os
import shlex
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest
from cryptography import x509

from host_tools.broker.process import BrokerProcess
from host_tools.broker.revocation import is_refused
from host_tools.common.errors import EnrolmentError, PassphraseError
from host_tools.devices.config import parse_setting
from host_tools.devices.proof import verify_proof
from host_tools.keys.ca import Authority
from host_tools.office import enrol
from host_tools.province.registry import Device as RegistryDevice
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, TlsFiles
from tests.host_tools.conftest import PASSPHRASE, Ended, Run
from tests.world.devices import Device
from tests.world.evidencing import signing_registry

SLOT = "6403112001-1"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.fixture
def enrolling(desalink: Run, kaltim: Province, device: Path) -> Callable[..., Ended]:
    def run(*more: object, village: str = "64.03.11.2001", to: Path = device) -> Ended:
        return desalink(
            "-C", kaltim.directory, "enrol", "--village", village, "--device-dir", to, *more
        )

    return run


def devices(province: Province) -> list[RegistryDevice]:
    with signing_registry(province) as registry:
        return registry.devices()


# ---- with the real agent -----------------------------------------------------------------


@pytest.mark.parametrize(("interpreter", "board"), [("cpython", "linux"), ("micropython", "unix")])
def test_a_device_is_enrolled_by_its_own_key(
    enrolling: Callable[..., Ended], kaltim: Province, device: Path, interpreter: str, board: str
):
    ended = enrolling("--interpreter", interpreter, "--by", "ani")
    assert (ended.code, ended.err) == (0, "")
    (enrolled,) = devices(kaltim)
    assert (enrolled.slot, enrolled.board, enrolled.enrolled_by) == (SLOT, board, "ani")
    assert ended.out.splitlines()[0] == (
        f"Device {enrolled.kid.hex()} ({board}, agent {enrolled.firmware}) is enrolled for slot "
        f"{SLOT}, Bohe Silian in Maratua."
    )
    assert f"-m agent {device}/config.json" in ended.out.splitlines()[1]
    with Registry.open(kaltim.directory) as registry:
        newest = registry.newest_office_entry()
    assert newest is not None
    entry = cbor2.loads(cbor2.loads(newest[1]).value[2])
    assert (entry[4], entry[5]["kid"], entry[6]) == ("enrol", enrolled.kid, "ani")
    assert entry[5]["proof"] is not None

    # Again: the same key, the same certificate, and no passphrase needed.
    certificate = (device / "client.pem").read_bytes()
    os.environ.pop("DESALINK_PASSPHRASE")
    ended = enrolling("--interpreter", interpreter)
    assert (ended.code, ended.err) == (0, "")
    assert "is already enrolled for slot" in ended.out
    assert devices(kaltim) == [enrolled]
    assert (device / "client.pem").read_bytes() == certificate


def test_the_devices_files_are_its_own(
    enrolling: Callable[..., Ended], kaltim: Province, device: Path
):
    assert enrolling().code == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [device, *device.rglob("*")]}
    for name in ("config.json", "client.key", "client.pem", "ca.pem", "device.key"):
        assert modes.pop(name) == 0o600
    assert modes.pop("device") == modes.pop("state") == 0o700
    certificate = x509.load_pem_x509_certificate((device / "client.pem").read_bytes())
    ca = x509.load_pem_x509_certificate((device / "ca.pem").read_bytes())
    certificate.verify_directly_issued_by(ca)
    assert certificate.subject.rfc4514_string() == f"CN={SLOT}"
    # The province knows the public half only.
    seed = (device / "state" / "device.key").read_bytes()[:32]
    for path in kaltim.directory.rglob("*"):
        assert not path.is_file() or seed not in path.read_bytes()


def test_the_configuration_is_what_the_agent_takes(
    enrolling: Callable[..., Ended], kaltim: Province, device: Path
):
    assert enrolling("--set", "cadence.round_s=5", "--set", "link.interface=wlan0").code == 0
    config = json.loads((device / "config.json").read_text())
    assert config["slot"] == SLOT
    assert config["port"] == "boards._linux.board"
    assert config["broker"] == {
        "host": "localhost",
        "port": kaltim.broker.port,
        "ca": "ca.pem",
        "cert": "client.pem",
        "key": "client.key",
    }
    assert config["cadence"] == {"round_s": 5, "sample_s": 60, "report_samples": 5}
    assert config["link"]["interface"] == "wlan0"
    # What somebody changed by hand stays.
    config["link"]["targets"] = ["9.9.9.9"]
    (device / "config.json").write_text(json.dumps(config))
    assert enrolling("--set", "link.interface=wlan1").code == 0
    again = json.loads((device / "config.json").read_text())
    assert (again["link"]["targets"], again["link"]["interface"]) == (["9.9.9.9"], "wlan1")
    assert again["cadence"]["round_s"] == 5


def test_a_setting_that_the_agent_refuses_does_not_stay(
    enrolling: Callable[..., Ended], kaltim: Province, device: Path
):
    ended = enrolling("--set", "link.colour=red")
    assert ended.code == 1
    assert "link.colour: no such key" in ended.err
    assert devices(kaltim) == []
    assert not device.exists()
    assert enrolling().code == 0


def test_a_second_device_for_a_slot_must_replace_the_first(
    enrolling: Callable[..., Ended], kaltim: Province, device: Path, tmp_path: Path
):
    assert enrolling().code == 0
    (first,) = devices(kaltim)
    other = tmp_path / "other"
    ended = enrolling(to=other)
    assert ended.code == 1
    assert ended.err == (
        f"desalink: Slot {SLOT} is filled by device {first.kid.hex()} (linux); if this device "
        "takes its place, say so with --replace.\n"
    )
    assert not other.exists()
    # The key that fills the slot was lost with its directory, the certificate is still there.
    (device / "state" / "device.key").unlink()
    assert f"Slot {SLOT} is filled" in enrolling().err

    ended = enrolling("--replace", to=other)
    assert ended.code == 0
    assert f"has taken over slot {SLOT}" in ended.out
    old, new = devices(kaltim)
    assert (old.kid, old.replaced_by, new.active) == (first.kid, new.kid, True)
    # The first device's certificate is revoked with it.
    serial = x509.load_pem_x509_certificate((device / "client.pem").read_bytes()).serial_number
    crl = x509.load_pem_x509_crl(kaltim.crl.read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None
    assert "no broker of this province runs here" in ended.err


def test_a_replaced_device_is_cut_off_at_the_running_broker(
    enrolling: Callable[..., Ended],
    kaltim: Province,
    broker: BrokerProcess,
    device: Path,
    tmp_path: Path,
):
    assert enrolling().code == 0
    assert enrolling("--replace", to=tmp_path / "other").err == ""
    old, new = (
        TlsFiles(d / "ca.pem", d / "client.pem", d / "client.key")
        for d in (device, tmp_path / "other")
    )
    assert is_refused(kaltim, old, broker.port)
    assert not is_refused(kaltim, new, broker.port)


def test_copied_storage_is_noticed_and_gets_no_certificate(
    enrolling: Callable[..., Ended], kaltim: Province, device: Path, tmp_path: Path
):
    assert enrolling().code == 0
    copy = tmp_path / "copy"
    (copy / "state").mkdir(parents=True)
    (copy / "state" / "device.key").write_bytes((device / "state" / "device.key").read_bytes())
    ended = enrolling(village="6403112002", to=copy)
    assert ended.code == 1
    assert f"belongs to slot {SLOT} (was its storage copied?)" in ended.err
    with signing_registry(kaltim) as registry:
        assert registry.certificates("6403112002-1") == []


def test_a_directory_of_another_slot_or_purpose_is_refused(
    enrolling: Callable[..., Ended], device: Path, tmp_path: Path
):
    assert enrolling().code == 0
    ended = enrolling(village="6403112002")
    assert (ended.code, ended.err) == (
        1,
        f"desalink: {device} is the device of slot {SLOT}; give 6403112002-1 a directory of its "
        "own.\n",
    )
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "letter.txt").write_text("hello")
    ended = enrolling(village="6403112002", to=home)
    assert (ended.code, ended.err) == (
        1,
        f"desalink: {home} holds other things (letter.txt); give the device one of its own.\n",
    )
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def test_an_unknown_village_is_answered_with_near_ones(
    enrolling: Callable[..., Ended], device: Path
):
    ended = enrolling(village="6403112009")
    assert ended.code == 1
    assert "did you mean 6403112001 Bohe Silian (Maratua)" in ended.err
    assert not device.exists()


def test_a_wrong_passphrase_enrols_nothing_and_the_right_one_goes_on(
    enrolling: Callable[..., Ended],
    kaltim: Province,
    device: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("DESALINK_PASSPHRASE", "not the passphrase")
    ended = enrolling()
    assert ended.code == 1
    assert ended.err.startswith(f"desalink: That is not the passphrase of {kaltim.ca_key}, or ")
    assert devices(kaltim) == []
    key = (device / "state" / "device.key").read_bytes()
    monkeypatch.setenv("DESALINK_PASSPHRASE", PASSPHRASE)
    assert enrolling().code == 0
    assert (device / "state" / "device.key").read_bytes() == key


# ---- interrupted -------------------------------------------------------------------------


class Interrupt(BaseException):
    """A power cut, where a test wants one."""


@pytest.mark.parametrize("at", range(1, 8))
def test_an_interruption_at_any_write_is_repaired_by_running_it_again(
    kaltim: Province,
    authority: Authority,
    device: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
):
    calls = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == at:
                raise Interrupt
            return real(*arguments, **more)

        return call

    def enrol_now() -> enrol.Enrolled:
        with signing_registry(kaltim) as registry:
            village = registry.village("6403112001")
            assert village is not None
            return enrol.enrol_here(
                kaltim, registry, village, 1, device, open_authority=lambda: authority, by="ani"
            )

    with monkeypatch.context() as patched:
        for owner, name in (
            (enrol, "write_private"),
            (enrol, "ask_agent"),
            (Registry, "record_certificate"),
            (Registry, "enrol"),
        ):
            patched.setattr(owner, name, counted(getattr(owner, name)))
        with pytest.raises(Interrupt):
            enrol_now()
    assert enrol_now().outcome == "enrolled"
    assert enrol_now().outcome == "already"
    with signing_registry(kaltim) as registry:
        valid = [c for c in registry.certificates(SLOT) if c.revoked_at is None]
    certificate = x509.load_pem_x509_certificate((device / "client.pem").read_bytes())
    assert [c.serial for c in valid] == [f"{certificate.serial_number:x}"]
    assert sorted(path.name for path in device.iterdir()) == [
        "ca.pem", "client.key", "client.pem", "config.json", "state",
    ]  # fmt: skip


# ---- agents that misbehave ---------------------------------------------------------------


AGENT, STRANGER = Device(SLOT, 1), Device(SLOT, 2)
PAYLOAD = cbor2.loads(cbor2.loads(AGENT.proof()).value[2])


def proof(changes: dict[int, object] | None = None, kid: bytes = AGENT.kid) -> bytes:
    """An enrolment's envelope, right unless told otherwise."""
    device = Device(SLOT, 1)
    device.kid = kid
    return device.proof({4: "linux", 5: "9.9"} | (changes or {}))


def test_a_right_proof_is_accepted():
    enrolment = verify_proof(proof(), SLOT)
    assert (enrolment.slot, enrolment.board, enrolment.agent) == (SLOT, "linux", "9.9")


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (proof({1: "6403112002-1"}), "is for slot 6403112002-1 and not for 6403112001-1"),
        (AGENT.sign(PAYLOAD, "report"), "is not signed by the key"),
        (proof({2: STRANGER.public_key}, STRANGER.kid), "is not signed by the key"),
        (proof(kid=bytes(8)), "The key id in the device's proof"),
        (proof()[:-64] + bytes(64), "is not signed by the key"),
        (
            AGENT.sign({1: SLOT}, "enrol"),
            "proof for 6403112001-1 is not valid",
        ),
        (proof()[:-1], "proof for 6403112001-1 is not valid"),
        (proof() + b"\0", "proof for 6403112001-1 is not valid"),
        (b"", "proof for 6403112001-1 is not valid"),
        (b"\xd2" * 5000, "proof for 6403112001-1 is not valid"),
    ],
)
def test_a_wrong_proof_is_refused_with_its_reason(bad: bytes, sentence: str):
    with pytest.raises(EnrolmentError) as raised:
        verify_proof(bad, SLOT)
    assert sentence in str(raised.value)


def stand_in(tmp_path: Path, script: str) -> list[str]:
    """Options that let a script answer in the agent's place."""
    path = tmp_path / "agent.py"
    path.write_text(script)
    return ["--agent-command", shlex.join([sys.executable, str(path)])]


def test_the_agent_is_asked_with_enrol_and_does_not_see_the_passphrase(
    enrolling: Callable[..., Ended], kaltim: Province, device: Path, tmp_path: Path
):
    said = base64.b64encode(proof()).decode()
    ended = enrolling(
        *stand_in(
            tmp_path,
            "import json, os, sys\n"
            "assert sys.argv[1] == '--enrol' and os.path.exists(sys.argv[2])\n"
            f"open({str(tmp_path / 'environment')!r}, 'w').write(json.dumps(dict(os.environ)))\n"
            f"print({said!r})\n",
        )
    )
    assert (ended.code, ended.err) == (0, "")
    assert devices(kaltim)[0].firmware == "9.9"
    assert PASSPHRASE not in (tmp_path / "environment").read_text()


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("print('hello world')", "The agent did not answer with a proof"),
        ("pass", "The agent did not answer with a proof (it wrote b'')"),
        ("print('A' * 100000)", "The agent did not answer with a proof"),
        ("print('AAAA')", "is not valid"),
        ("import sys; sys.exit('agent: config: slot: no')", "The agent reports: config: slot: no"),
        ("raise SystemExit(3)", "The agent reports: it ended with code 3"),
        ("import os; os.kill(os.getpid(), 9)", "The agent reports: it ended with code -9"),
    ],
)
def test_an_agent_that_does_not_prove_its_key_is_not_enrolled(
    enrolling: Callable[..., Ended],
    kaltim: Province,
    device: Path,
    tmp_path: Path,
    script: str,
    sentence: str,
):
    ended = enrolling(*stand_in(tmp_path, script))
    assert ended.code == 1
    assert sentence in ended.err
    assert ended.err.count("\n") == 1
    assert devices(kaltim) == []
    assert not device.exists()


def test_a_missing_interpreter_is_told(enrolling: Callable[..., Ended]):
    ended = enrolling("--interpreter", "/no/such/python")
    assert ended.code == 1
    assert "There is no interpreter /no/such/python" in ended.err


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("a.b=3", ("a.b", 3)),
        ("a=true", ("a", True)),
        ("a=1.1.1.1", ("a", "1.1.1.1")),
        ('a=["1.1.1.1"]', ("a", ["1.1.1.1"])),
        ("a=", ("a", "")),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_settings_are_read_as_json_or_text(text: str, setting: tuple[str, object]):
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["a", "=3", "a..b=3", ".a=3"])
def test_what_is_no_setting_is_refused(text: str):
    with pytest.raises(EnrolmentError, match="write key=value"):
        parse_setting(text)


@pytest.mark.parametrize("setting", ["slot=6403112002-1", "broker.host.x=3", "state_dir.x=1"])
def test_a_setting_can_not_break_the_configuration(
    enrolling: Callable[..., Ended], kaltim: Province, setting: str
):
    ended = enrolling("--set", setting)
    assert ended.code == 1
    assert "can't be set" in ended.err
    assert devices(kaltim) == []


def test_without_a_passphrase_the_device_is_not_enrolled(kaltim: Province, device: Path):
    def nobody() -> Authority:
        raise PassphraseError("nobody to ask")

    with signing_registry(kaltim) as registry:
        village = registry.village("6403112001")
        assert village is not None
        with pytest.raises(PassphraseError):
            enrol.enrol_here(kaltim, registry, village, 1, device, open_authority=nobody, by="x")
        assert registry.devices() == []
