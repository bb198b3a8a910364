"""Linux devices over SSH: a real sshd, the real OpenSSH client, the real agent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from host_tools.broker.config import write_config
from host_tools.field.enrolments import EnrolmentLog
from host_tools.field.provision import linux, linux_agent
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.flow import STEPS, DeviceResult, Plan, Provisioning
from host_tools.field.provision.linux import LinuxDevice, over_ssh
from host_tools.field.provision.linux_agent import board_of, identify
from host_tools.field.provision.ssh import HOST_KEY_FILE, SshConnection, Target, fingerprint
from host_tools.field.talk import over_ssh as visits
from tests.host_tools.conftest import running_broker
from tests.host_tools.field.provision.sshd import Device, OpenWrtDevice
from tests.host_tools.field.provision.tree import other_tree
from tests.host_tools.field.provision.world import World
from tests.world.kits import KIT_PASSPHRASE

SLOT, OTHER = "6403112001-1", "6403112002-1"
KINDS = {"raspberry-pi": Device, "openwrt": OpenWrtDevice}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A province with its broker, and a kit of two slots."""
    folder = tmp_path_factory.mktemp("ssh")
    with other_tree():
        office = World(folder, [], villages=(SLOT[:10], OTHER[:10]), others=tuple(KINDS))
    write_config(office.province)
    with running_broker(office.province):
        yield office


@pytest.fixture(autouse=True)
def soon_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """These devices are fast."""
    monkeypatch.setattr(linux_agent, "SETTLE_S", 0.1)


@dataclass
class Laptop:
    """A technician's laptop, and what was said on it."""

    office: World
    work: Path
    messages: list[str] = field(default_factory=list)
    steps: list[tuple[str, str]] = field(default_factory=list)
    on: Callable[[str, str], None] | None = None

    @property
    def log(self) -> EnrolmentLog:
        return EnrolmentLog(self.work / "enrolments")

    def step(self, name: str, state: str) -> None:
        self.steps.append((name, state))
        if self.on is not None:
            self.on(name, state)

    def progress(self, share: float) -> None:
        if self.on is not None:
            self.on("progress", f"{share:.2f}")

    def known(self, mac: str, slot: object) -> None: ...

    def provision(self, device: Device, slot: str = SLOT, replace: bool = False) -> DeviceResult:
        plan = Plan(self.office.kit, self.work, self.log, device.board, replace=replace)
        where = Target.parse(device.target)
        connect = partial(over_ssh, where, self.messages.append, device.keys, str(device.root))
        return Provisioning(plan, str(where), connect, lambda unique_id: slot, self).run()

    def folder(self) -> Path:
        (folder,) = (self.work / "devices").iterdir()
        return folder


@pytest.fixture
def laptop(office: World, tmp_path: Path) -> Laptop:
    return Laptop(office, tmp_path / "laptop")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with Device(tmp_path / "device") as device:
        yield device


# --- all steps

MODES = {
    "etc/desalink": 0o700,
    "etc/desalink/client.key": 0o640,
    "etc/desalink/config.json": 0o640,
    "var/lib/desalink": 0o700,
    "var/lib/desalink/device.key": 0o600,
    "opt/desalink/agent/supervise.py": 0o644,
}


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_bare_device_to_one_that_reports(kind: str, laptop: Laptop, tmp_path: Path) -> None:
    with KINDS[kind](tmp_path / "device") as device:
        outcome = laptop.provision(device)
        assert [step for step, state in laptop.steps if state == "done"] == [
            step for step in STEPS if step not in ("flash", "site")
        ]
        assert outcome.label is not None and outcome.label.exists()
        (record,) = laptop.log.records()
        assert (record.slot, record.device.hex(), record.board) == (SLOT, outcome.kid, kind)
        assert laptop.messages == [
            f"First connection to {device.target}: its host key is "
            f"{fingerprint((device.folder / 'host.pub').read_text())}."
        ]
        device.wait_for_reports()
        assert_secrets_stay_where_they_belong(laptop, device)
        if kind == "raspberry-pi":
            for name, mode in MODES.items():
                assert (device.root / name).stat().st_mode & 0o777 == mode, name
            config = json.loads((device.root / "etc/desalink/config.json").read_text())
            assert config["port"] == "boards.raspberry_pi.board"
            assert config["cadence"]["round_s"] == 1

        # Again: everything is checked, nothing is written.
        before = device.files()
        laptop.steps.clear()
        again = laptop.provision(device)
        assert again.kid == outcome.kid and len(laptop.log.records()) == 1
        states = dict(laptop.steps)
        changing = ("install", "configure", "key", "enrol")
        assert [states[step] for step in changing] == ["already"] * len(changing)
        assert device.files() == before
        assert len(laptop.messages) == 1


def assert_secrets_stay_where_they_belong(laptop: Laptop, device: Device) -> None:
    """The device's key is on neither the laptop nor the province's computer."""
    seed = (device.root / device.state / "device.key").read_bytes()[:32]
    shapes = [seed, seed.hex().encode(), base64.b64encode(seed)[:42], seed[:16], seed[16:]]
    for folder in (laptop.work, laptop.office.province.directory):
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not [shape for shape in shapes if shape in content], path


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_over_ssh(
    kind: str,
    laptop: Laptop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A device is provisioned, and visited afterwards."""
    from host_tools.cli import main
    from host_tools.people.kits import KitDirectory

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        said = capsys.readouterr()
        assert ended.value.code == code, said.err
        assert "Traceback" not in said.err
        return said.out, said.err

    KitDirectory(laptop.work).put(laptop.office.kit_file, KIT_PASSPHRASE)
    monkeypatch.setenv("DESALINK_KIT", str(laptop.work))
    monkeypatch.setenv("DESALINK_KIT_PASSPHRASE", KIT_PASSPHRASE)
    monkeypatch.setenv("DESALINK_LANG", "en")
    with KINDS[kind](tmp_path / "device") as device:
        # The device is a folder, and the laptop's user has no key for it.
        here = {"keys": device.keys, "prefix": str(device.root)}
        monkeypatch.setattr(linux, "over_ssh", partial(over_ssh, **here))
        monkeypatch.setattr(visits, "visit_ssh", partial(visits.visit_ssh, **here))
        provision = ("provision", "--village", SLOT[:10])
        board = ("--board", device.board) if device.board else ()
        out, err = run(*provision, *board, "--ssh", device.target)
        assert "First connection" in err and ".svg" in out
        (first,) = laptop.log.records()
        assert (first.slot, first.site) == (SLOT, None)
        assert "no SSH address" in run(*provision, "--ssh", "root@nowhere@else", code=1)[1]
        device.wait_for_reports()
        said = json.loads(run("device", "talk", device.target, "--json")[0])
        assert (said["slot"], said["state"]) == (SLOT, "up")
        assert said["province"]["result"] == "ok" and said["advice"] is None
        assert said["last_report"]["device"] == first.device.hex()
        run("device", "accept", device.target, "--measure", "1")
        second = laptop.log.records()[1]
        assert second.site is not None
        assert second.site.province == "ok" and second.site.usage["Interface"]
        device.wait_for_reports()


def test_a_device_of_another_village_begins_anew(laptop: Laptop, device: Device) -> None:
    first = laptop.provision(device)
    # Another laptop, whose log knows nothing of it.
    other = Laptop(laptop.office, laptop.work.with_name("other"))
    second = other.provision(device, OTHER)
    assert second.kid != first.kid
    device.wait_for_reports()
    # And the first laptop refuses to enrol for two villages what it has enrolled for one.
    with pytest.raises(ProvisionError, match=SLOT) as refused:
        laptop.provision(device, OTHER)
    assert refused.value.kind == "other_village"


# --- the host key


def test_another_host_key_is_refused_before_anything_is_sent(
    laptop: Laptop, device: Device
) -> None:
    laptop.provision(device)
    before = device.files()
    old = (laptop.folder() / HOST_KEY_FILE).read_text()
    device.new_host_key()
    with pytest.raises(ProvisionError) as refused:
        laptop.provision(device)
    assert refused.value.kind == "host_key"
    sentence = str(refused.value)
    for shown in (fingerprint(old), fingerprint((device.folder / "host.pub").read_text())):
        assert shown in sentence
    assert str(laptop.folder() / HOST_KEY_FILE) in sentence and "\n" not in sentence
    assert device.files() == before
    # As the sentence says: who knows why it is another one forgets the old one.
    (laptop.folder() / HOST_KEY_FILE).unlink()
    laptop.provision(device)


# --- interruptions


def assert_whole(laptop: Laptop, device: Device, outcome: DeviceResult) -> None:
    """One key, one enrolment, one label, the whole agent, and it reports."""
    (record,) = laptop.log.records()
    assert record.device.hex() == outcome.kid
    assert len(list(laptop.folder().glob("*.svg"))) == 1
    assert not list(device.root.rglob(".new")), "what was sent in vain is gone"
    for path, content in laptop.office.kit.releases["raspberry-pi"].files.items():
        assert (device.root / "opt/desalink" / path.lstrip("/")).read_bytes() == content
    device.wait_for_reports()


def test_a_cut_before_any_step_costs_nothing(laptop: Laptop, device: Device) -> None:
    """Each time the next run gets farther."""
    key = device.root / device.state / "device.key"
    made = set()
    for where in ("install", "key", "label"):

        def cut(name: str, state: str, where: str = where) -> None:
            if name == where:
                laptop.on = None
                device.stop()

        laptop.on = cut
        with pytest.raises(ProvisionError) as lost:
            laptop.provision(device)
        assert lost.value.kind == "cable", lost.value
        assert "run the same command" in str(lost.value)
        made |= {key.read_bytes()} if key.exists() else set()
        device.start()
    outcome = laptop.provision(device)
    assert made == {key.read_bytes()}, "one key, however often"
    assert_whole(laptop, device, outcome)


def test_a_cut_in_the_middle_of_a_transfer_costs_nothing(laptop: Laptop, device: Device) -> None:
    # The device's tar takes a part of the third transfer, then the session's process is killed.
    device.program(
        "tar",
        f"echo x >> '{device.folder}/tars'\n"
        f"[ $(wc -l < '{device.folder}/tars') -eq 3 ] || exec /bin/tar \"$@\"\n"
        "head -c 20000 > /dev/null\n"
        "p=$PPID\n"
        "until grep -q sshd /proc/$p/comm; do p=$(sed -n 's/^PPid:\t//p' /proc/$p/status); done\n"
        "kill -9 $p\n"
        "exit 1",
    )
    with pytest.raises(ProvisionError) as lost:
        laptop.provision(device)
    assert lost.value.kind == "cable", lost.value
    arrived = list((device.root / "opt/desalink").rglob("*.py"))
    assert 0 < len(arrived) < len(laptop.office.kit.releases["raspberry-pi"].files)
    assert_whole(laptop, device, laptop.provision(device))


# --- the agent's files


@contextmanager
def opened(laptop: Laptop, device: Device) -> Iterator[LinuxDevice]:
    """The device on a connection, without the other steps."""
    with SshConnection(Target.parse(device.target), device.keys) as connection:
        identity = identify(connection, str(device.root))
        board = board_of(identity, device.board)
        kit = laptop.office.kit
        yield LinuxDevice(connection, identity, board, kit, kit.slot(SLOT), str(device.root))


def test_a_stray_or_damaged_file_of_the_agent_is_put_right(laptop: Laptop, device: Device) -> None:
    files = laptop.office.kit.releases["raspberry-pi"].files
    home = device.root / "opt/desalink"
    shares: list[float] = []
    with opened(laptop, device) as linux_device:
        assert linux_device.install(files, shares.append) >= len(files)
        assert shares == sorted(shares) and shares[-1] == 1
        whole = device.files()
        (home / "agent/supervise.py").write_text("torn")
        (home / "agent/sources/old.py").write_text("an older release had it")
        assert linux_device.install(files, shares.append) == 2
        assert device.files() == whole
        assert linux_device.install(files, shares.append) == 0


@pytest.mark.parametrize(
    ("tar", "sentence"),
    [
        ('/bin/tar "$@" && echo >> "$4/0"', r"supervise\.py arrived damaged"),
        ("echo 'tar: No space left on device' >&2; exit 1", "No space left on device"),
    ],
    ids=["damaged", "no room"],
)
def test_what_does_not_arrive_takes_no_name(
    laptop: Laptop, device: Device, tar: str, sentence: str
) -> None:
    files = laptop.office.kit.releases["raspberry-pi"].files
    with opened(laptop, device) as linux_device:
        linux_device.install(files, lambda share: None)
        whole = device.files()
        device.program("tar", tar)
        with pytest.raises(ProvisionError, match=sentence) as refused:
            linux_device.install({**files, "/agent/supervise.py": b"new"}, lambda share: None)
        assert refused.value.kind == "device"
        assert device.files() == whole


# --- what can be wrong


def _unnamed(device: Device) -> None:
    device.board = None


@pytest.mark.parametrize(
    ("spoil", "kind", "sentence"),
    [
        (lambda device: device.stop(), "unreachable", "can't be reached"),
        (
            lambda device: (device.folder / "authorized").write_text(""),
            "access",
            "ssh-copy-id -p {port} ",
        ),
        (lambda device: device.program("python3", "exit 1"), "device", "install python3"),
        (_unnamed, "board", "--board raspberry-pi"),
    ],
    ids=["nobody answers", "login refused", "no python", "no known kind"],
)
def test_a_device_that_can_not_be_used_is_named_with_the_remedy(
    laptop: Laptop, device: Device, spoil: Callable[[Device], object], kind: str, sentence: str
) -> None:
    spoil(device)
    with pytest.raises(ProvisionError, match=sentence.format(port=device.port)) as refused:
        laptop.provision(device)
    assert refused.value.kind == kind
    assert not laptop.log.records()


def test_service_that_does_not_start_fails_the_step_start(laptop: Laptop, device: Device) -> None:
    device.program("systemctl", '[ "$1" != is-active ]')
    with pytest.raises(ProvisionError, match="'journalctl -u desalink' shows why"):
        laptop.provision(device)
    states = dict(laptop.steps)
    assert (states["label"], states["start"]) == ("done", "failed")


def test_a_user_who_is_not_root_works_through_sudo(laptop: Laptop, device: Device) -> None:
    device.program("id", "echo 1000")
    used = device.folder / "sudo"
    device.program("sudo", f'echo "$1 $2" >> \'{used}\'\nshift\nexec "$@"')
    files = laptop.office.kit.releases["raspberry-pi"].files
    with opened(laptop, device) as linux_device:
        linux_device.install(files, lambda share: None)
    assert set(used.read_text().splitlines()) == {"-n sh"}
    device.program("sudo", "echo 'sudo: a password is required' >&2\nexit 1")
    with pytest.raises(ProvisionError, match="sudoers") as refused, opened(laptop, device):
        pass
    assert refused.value.kind == "access"


@pytest.mark.parametrize("id", ["../../home", "/etc", "..", "a/b", "\x1b[2J", "a" * 65])
def test_a_device_can_not_choose_a_folder_on_the_laptop(id: str) -> None:
    class Lying(SshConnection):
        def __init__(self) -> None:
            self.target = Target("pi")

        def run(self, script: str, data: bytes = b"", timeout: float = 60) -> bytes:
            return f"system=openwrt\nid={id}\n".encode()

    with pytest.raises(ProvisionError, match="serial number .* is not valid"):
        identify(Lying())


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("root@192.168.1.1", "root", "192.168.1.1", None),
        ("pi.local", None, "pi.local", None),
        ("pi@pi:2222", "pi", "pi", 2222),
        ("root@[fe80::1]:22", "root", "fe80::1", 22),
    ],
)
def test_addresses(text: str, user: str | None, host: str, port: int | None) -> None:
    assert Target.parse(text) == Target(host, user, port)


@pytest.mark.parametrize("text", ["", "-oProxyCommand=x", "a@-b", "a b@c", "root@host:0", "a@b;c"])
def test_what_is_no_address_never_reaches_ssh(text: str) -> None:
    with pytest.raises(ProvisionError, match="no SSH address"):
        Target.parse(text)


def test_the_users_own_ssh_settings_count(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    user, _at, _address = device.target.partition("@")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text(
        f"Host router\n HostName 127.0.0.1\n Port {device.port}\n User {user}\n"
        f" IdentityFile {device.keys[0]}\n"
    )
    with SshConnection(Target.parse("router")) as connection:
        assert connection.fingerprint == fingerprint((device.folder / "host.pub").read_text())


def test_jump_hosts_of_the_users_own_ssh_settings_are_used(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    user = device.target.partition("@")[0]
    with Device(tmp_path / "first") as first, Device(tmp_path / "second") as second:
        hosts = {"router": device, "first": first, "second": second}
        settings = "".join(
            f"Host {name}\n HostName 127.0.0.1\n Port {host.port}\n User {user}\n"
            f" IdentityFile {host.keys[0]}\n"
            for name, host in hosts.items()
        )
        (tmp_path / ".ssh").mkdir()
        config, known = tmp_path / ".ssh/config", tmp_path / ".ssh/known_hosts"
        config.write_text(f"Host router\n ProxyJump first,second\n{settings}")
        # A jump host that nobody has seen could be anybody.
        with pytest.raises(ProvisionError, match="jump host first .* not found in known_hosts"):
            SshConnection(Target.parse("router"))
        known.write_text(
            "".join(
                f"[127.0.0.1]:{host.port} {(host.folder / 'host.pub').read_text()}"
                for host in (first, second)
            )
        )
        with SshConnection(Target.parse("router")) as connection:
            assert connection.run("echo here") == b"here\n"
            # Only by what the second jump host has opened.
            second.cut()
            with pytest.raises(ProvisionError, match="connection to router was lost"):
                connection.run("echo here")
        # As an office writes it: for all hosts, and so for the jump host, too.
        config.write_text(f"{settings}Host *\n ProxyJump second\n")
        with SshConnection(Target.parse("router")) as connection:
            second.cut()
            with pytest.raises(ProvisionError, match="connection to router was lost"):
                connection.run("echo here")
    with pytest.raises(ProvisionError, match="jump host second .*refused"):
        SshConnection(Target.parse("router"))
    config.write_text(f"{settings}Host *\n ProxyCommand nc %h %p\n")
    with pytest.raises(ProvisionError, match="ProxyCommand for 127.0.0.1"):
        SshConnection(Target.parse("router"))


def test_identity_is_what_the_agent_will_sign(device: Device, tmp_path: Path) -> None:
    from boards.raspberry_pi.board import Board

    with SshConnection(Target.parse(device.target), device.keys) as connection:
        assert identify(connection).unique_id == Board(str(tmp_path)).unique_id()
