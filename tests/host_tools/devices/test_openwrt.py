"""The agent on OpenWrt: UCI's settings, the start script, the port, and a report from it all."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.openwrt import board, uci
from host_tools.devices.packages.openwrt import build_openwrt
from host_tools.devices.packages.uci import UciError, to_uci
from host_tools.devices.proof import verify_proof
from host_tools.keys.ca import Authority
from host_tools.wire.envelope import hash8
from host_tools.wire.payload import parse_report
from host_tools.wire.verifier import Key, Verifier
from tests import support
from tests.world.journals import Accepted
from tests.world.router import SHELLS, Router, shell_name

SLOT = "6403112001-1"


# Each shell with one interpreter, and each interpreter with one shell.
PAIRS = list(zip(SHELLS, ("micropython", "python3"), strict=False))
if len(SHELLS) == 1:
    PAIRS.append((SHELLS[0], "python3"))


@cache
def package(interpreter: str) -> bytes:
    """As `desalink package openwrt` makes it."""
    return build_openwrt(interpreter)[1]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{shell_name(pair[0])} {pair[1]}")
def pair(request: pytest.FixtureRequest) -> tuple[list[str], str]:
    shell, interpreter = request.param
    return list(shell), str(interpreter)


@pytest.fixture
def shell(pair: tuple[list[str], str]) -> list[str]:
    return pair[0]


@pytest.fixture
def interpreter(pair: tuple[list[str], str]) -> str:
    return pair[1]


@pytest.fixture
def router(tmp_path: Path, shell: list[str], interpreter: str) -> Iterator[Router]:
    """With the package on it, as it comes from `desalink package openwrt`."""
    router = Router(tmp_path / "router", shell, interpreter)
    router.install(package(interpreter))
    try:
        yield router
    finally:
        router.close()


def configuration(router: Router, **sections: dict) -> dict:
    """A configuration without a broker: reports stay in the journal."""
    own = router.root / "etc/desalink"
    config = {
        "slot": SLOT,
        "port": "boards.openwrt.board",
        "state_dir": str(own / "state"),
        "broker": {
            "host": "127.0.0.1",
            "port": support.free_port(),
            "ca": str(own / "ca.pem"),
            "cert": str(own / "client.pem"),
            "key": str(own / "client.key"),
        },
        "cadence": {"round_s": 1, "sample_s": 1, "report_samples": 1},
        "link": {"gateway": "off", "dns": "off", "targets": ["127.0.0.1:1"]},
        "usage": {"interface": "lo", "arp": "/proc/net/arp"},
        "journal": {"capacity": 65536, "segment": 16384},
    }
    return {**config, **sections}


def converted(router: Router) -> dict:
    text = (router.root / "var/run/desalink/config.json").read_text()
    result = json.loads(text)
    assert isinstance(result, dict)
    return result


# --- settings


def test_settings_come_back_from_uci_as_they_were(router: Router) -> None:
    config = configuration(
        router,
        clock={"source": "auto", "ntp": ["10.0.0.1", "10.0.0.2:1123"]},
        usage={
            "interface": "wan",
            "lan_interface": "br-lan",
            # A community of digits only is a text, a port is a number: the agent's tables say so.
            "snmp": {"host": "192.168.1.1", "port": 161, "community": "0123"},
            "ubus": {"command": "ubus", "wifi": ["phy0-ap0"]},
            "mikrotik": {"url": "https://10.1.1.1", "password": 'it\'s "1" $HOME `x` \\ # 2'},
        },
        board={"led": "green", "pin": 4},
    )
    router.settings.write_text(to_uci(config, enabled=True))
    assert router.service("start") == 0, router.said
    assert converted(router) == config
    # Only root may read the passwords, and they are not on the flash.
    assert (router.root / "var/run/desalink/config.json").stat().st_mode & 0o077 == 0


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(value=TEXT, items=st.lists(TEXT.filter(lambda t: t and not t.split()[1:]), min_size=2))
@settings(max_examples=60)
def test_any_text_survives_uci_show(value: str, items: list[str]) -> None:
    def quoted(text: str) -> str:  # as uci's own uci_print_value
        return "'" + text.replace("'", "'\\''") + "'"

    shown = (
        "desalink.usage=usage\n"
        f"desalink.usage.interface={quoted(value)}\n"
        "desalink.link=link\n"
        f"desalink.link.targets={' '.join(map(quoted, items))}\n"
    )
    assert uci.convert(shown) == {"usage": {"interface": value}, "link": {"targets": items}}


def test_a_list_may_be_written_as_one_option(router: Router) -> None:
    config = configuration(router)
    text = to_uci(config, enabled=True)
    text = text.replace("list targets '127.0.0.1:1'", "option targets '1.1.1.1 8.8.8.8'")
    router.settings.write_text(text)
    assert router.service("start") == 0
    assert converted(router)["link"]["targets"] == ["1.1.1.1", "8.8.8.8"]


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("option slot '6403112001-1'", "", ["slot is missing"]),
        ("option round_s '1'", "option round_s 'soon'", ["cadence.round_s", "integer", "soon"]),
        ("option gateway 'off'", "list gateway 'a'\n\tlist gateway 'b'", ["link.gateway", "list"]),
        ("option gateway 'off'", "option gatway 'off'", ["link.gatway", "no such key"]),
    ],
)
def test_a_mistake_in_the_settings_is_named_and_nothing_starts(
    router: Router, old: str, new: str, parts: list[str]
) -> None:
    text = to_uci(configuration(router), enabled=True)
    assert old in text
    router.settings.write_text(text.replace(old, new))
    assert router.service("start") != 0
    said = router.said.splitlines()
    assert len(said) == 1 and "/etc/config/desalink" in said[0], said
    for part in parts:
        assert part in said[0]
    assert router.parameter("command") == []


def test_what_uci_can_not_hold_is_refused() -> None:
    with pytest.raises(UciError, match=r"link\.targets"):
        to_uci({"link": {"targets": [1, 2]}}, enabled=True)
    with pytest.raises(UciError, match="no name"):
        to_uci({"link": {"a-b": "x"}}, enabled=True)
    with pytest.raises(UciError, match=r"link\.deep"):
        to_uci({"link": {"deep": {"x": 1}}}, enabled=True)


# --- the service


def test_the_packaged_settings_start_nothing(router: Router) -> None:
    assert router.service("start") == 0
    assert router.parameter("command") == []
    assert "not enabled" in router.said
    # Enabled as they are, the first thing that is missing is named.
    text = router.settings.read_text().replace("enabled '0'", "enabled '1'")
    router.settings.write_text(text)
    assert router.service("start") != 0
    assert "slot is missing" in router.said


def test_procd_keeps_the_agent_running(router: Router, interpreter: str) -> None:
    router.settings.write_text(to_uci(configuration(router), enabled=True))
    assert router.service("start") == 0
    program, *arguments = router.parameter("command")
    assert Path(program).name == interpreter
    assert arguments == ["-m", "agent", str(router.root / "var/run/desalink/config.json")]
    threshold, timeout, retries = map(int, router.parameter("respawn"))
    assert retries == 0, "0 is for ever; procd gives up after any other number of tries"
    assert timeout >= 12, "stop_service waits so long for the last report"
    assert router.parameter("stdout") == router.parameter("stderr") == ["1"]
    assert (router.root.parent / "procd/triggers").read_text().split() == ["desalink"]


def test_without_an_interpreter_it_says_what_to_install(tmp_path: Path, shell: list[str]) -> None:
    router = Router(tmp_path / "router", shell)
    router.install(package("micropython"))
    text = to_uci(configuration(router), enabled=True, interpreter="no-such-python")
    router.settings.write_text(text)
    assert router.service("start") != 0
    assert "install micropython-mbedtls" in router.said


def test_the_packaged_agent_reports_and_ends_in_order(
    router: Router, authority: Authority, tmp_path: Path, interpreter: str
) -> None:
    own = router.root / "etc/desalink"
    issued = authority.issue_client(SLOT)
    (own / "client.pem").write_bytes(issued.certificate_pem)
    (own / "client.key").write_bytes(issued.key_pem)
    (own / "ca.pem").write_bytes(issued.certificate_pem)
    router.settings.write_text(to_uci(configuration(router), enabled=True))
    assert router.service("start") == 0, router.said

    # As provisioning does: the device makes its key with the configuration that UCI gave.
    program, *_, config = router.parameter("command")
    variables = dict(line.split("=", 1) for line in router.parameter("env"))
    asked = subprocess.run(
        [program, "-m", "agent", "--enrol", config],
        cwd="/",
        env=router.environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert asked.returncode == 0, asked.stderr
    enrolment = verify_proof(base64.b64decode(asked.stdout), SLOT)
    assert enrolment.board == "openwrt"
    assert (own / "state/device.key").stat().st_mode & 0o077 == 0

    process = router.spawn(tmp_path / "logread")
    journal = Accepted(own / "state/journal")
    end = time.monotonic() + 60
    while not journal.reports:
        assert process.poll() is None, (tmp_path / "logread").read_text()
        assert time.monotonic() < end, (tmp_path / "logread").read_text()
        time.sleep(0.05)
        journal.look()
    kid = hash8(enrolment.public_key)
    verifier = Verifier({kid: Key(enrolment.public_key, SLOT, True)})
    for (_, seq), message in journal.reports.items():
        signed = verifier.verify(f"desa/1/{SLOT[:4]}/{SLOT}/report", message)
        assert parse_report(signed.payload).seq == seq

    # After a mistake the running agent continues.
    good = router.settings.read_text()
    router.settings.write_text(good.replace("round_s '1'", "round_s '0'"))
    assert router.service("reload") != 0
    assert "cadence.round_s" in router.said and process.poll() is None

    # procd's SIGTERM would cost MicroPython its last report: the script asks with SIGINT first.
    router.settings.write_text(good.replace("report_samples '1'", "report_samples '2'"))
    assert router.service("reload") == 0
    assert process.wait(60) == 0, (tmp_path / "logread").read_text()
    assert converted(router)["cadence"]["report_samples"] == 2
    leftover = [p for p in router.root.rglob("*") if p.name == "__pycache__"]
    assert leftover == [], "bytecode on the flash"


# --- the port


class Elsewhere(board.Board):
    """The port on a router whose files lie in a folder."""

    def __init__(self, root: Path) -> None:
        for name in ("state", "net", "pstore"):
            (root / name).mkdir(exist_ok=True)
        super().__init__(str(root / "state"))
        self.sys_class_net = str(root / "net")
        self.pstore = str(root / "pstore")
        self.clock_file = str(root / "clock")

    def interface(self, name: str, address: str) -> None:
        folder = Path(self.sys_class_net) / name
        folder.mkdir()
        (folder / "address").write_text(address + "\n")


def test_a_router_is_known_by_its_own_hardware_address(tmp_path: Path) -> None:
    router = Elsewhere(tmp_path)
    assert router.unique_id() is None
    router.interface("lo", "00:00:00:00:00:00")
    assert router.unique_id() is None
    router.interface("docker0", "02:42:AC:11:00:02")  # made up by software: better than nothing
    assert router.unique_id() == "02:42:ac:11:00:02"
    router.interface("wan", "A4:2B:B0:00:00:02")
    assert router.unique_id() == "a4:2b:b0:00:00:02"
    router.interface("br-lan", "A4:2B:B0:00:00:01")
    assert router.unique_id() == "a4:2b:b0:00:00:01"


def test_a_kernel_panic_counts_once(tmp_path: Path) -> None:
    from agent.wire import ids

    (tmp_path / "pstore").mkdir()
    (tmp_path / "pstore/dmesg-ramoops-0").write_text("Oops")
    assert Elsewhere(tmp_path).reset_cause() == ids.RESET_PANIC
    # The next boot: the same text is still there.
    (tmp_path / "state/boot_id").write_text("another boot")
    assert Elsewhere(tmp_path).reset_cause() == ids.RESET_UNKNOWN
    assert Elsewhere(tmp_path).reset_cause() == ids.RESET_AGENT


@pytest.mark.parametrize(
    ("action", "stratum", "synchronised"),
    [
        ("step", "16", False),
        ("stratum", "3", True),
        ("periodic", "3", True),
        ("stratum", "16", False),
        ("unsync", "3", False),
    ],
)
def test_what_ntpd_says_of_the_clock_reaches_the_agent(
    tmp_path: Path, shell: list[str], action: str, stratum: str, synchronised: bool
) -> None:
    router = Elsewhere(tmp_path)
    assert router.clock_synchronised() is None
    text = (support.ROOT / "boards/openwrt/ntp.sh").read_text()
    assert board.Board.clock_file in text
    script = tmp_path / "60-desalink"
    script.write_text(text.replace(board.Board.clock_file, router.clock_file))
    subprocess.run(
        [*shell, "-c", f". '{script}'"],
        env={"PATH": os.defpath, "ACTION": action, "stratum": stratum},
        check=True,
    )
    assert router.clock_synchronised() is synchronised


def test_the_port_is_micropython_s_too(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    script = (
        "import sys\n"
        "from boards.openwrt.board import Board\n"
        "port = Board(sys.argv[1])\n"
        "port.write_secret(sys.argv[1] + '/secret', b'x')\n"
        "port.alive_save(b'alive')\n"
        "print(port.board, port.reset_cause(), port.clock_synchronised(), port.alive_load())\n"
    )
    done = support.run_micropython(script, tmp_path / "state", check=True)
    assert done.stdout.split()[0] == "openwrt" and "alive" in done.stdout
    assert (tmp_path / "state/secret").stat().st_mode & 0o777 == 0o600
