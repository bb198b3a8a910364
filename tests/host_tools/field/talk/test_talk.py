"""A technician looks at an installed board: what it says, its link, its site."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from host_tools.field.provision.errors import ProvisionError
from host_tools.field.talk.advice import advice
from host_tools.field.talk.over_ssh import scanned
from host_tools.field.talk.rounds import one_round
from host_tools.field.talk.visitor import HeardNetwork
from tests.host_tools.field.provision.rig import Board, Hub
from tests.host_tools.field.provision.world import VILLAGES, World
from tests.support import PATIENCE_S
from tests.world.journals import Accepted

_SECRET = "rahasia sekali"
_DEAD = '["127.0.0.1:1"]'  # nobody listens there


def _installed(world: World, hub: Hub, *more: object) -> Board:
    board = hub.board()
    done = world.provision(
        *(board.plug(), VILLAGES[0], "--wifi", "Balai", *more), DESALINK_WIFI_PASSWORD=_SECRET
    )
    assert done.returncode == 0, done.stderr
    return board


def _reports(board: Board) -> Accepted:
    journal = Accepted(board.files / "device/journal")
    journal.look()
    return journal


def _wait_for_more(board: Board, journal: Accepted, timeout: float = PATIENCE_S) -> None:
    before, end = len(journal.reports), time.monotonic() + timeout
    while len(journal.reports) <= before:
        assert time.monotonic() < end, "its agent does not report"
        time.sleep(0.1)
        journal.look()


def test_what_an_installed_board_says(world: World, a_hub: Hub) -> None:
    board = _installed(world, a_hub)
    journal = _reports(board)
    _wait_for_more(board, journal)
    done = world.desalink("device", "talk", board.port, "--json")
    assert done.returncode == 0, done.stderr
    assert "interrupted" in done.stderr
    said = json.loads(done.stdout)
    assert (said["slot"], said["unique_id"], said["state"]) == (
        f"{VILLAGES[0]}-1",
        board.mac,
        "up",
    )
    assert said["agent"] and said["board"] == "rig-esp32" and abs(said["clock_ahead"]) < 60
    assert said["certificate_end"] > time.time() and said["storage_free"] > 0
    assert said["waiting"] >= 2 and said["stored"] == []
    assert said["last_report"]["device"] == world.log.records()[0].device.hex()
    assert said["figures"]["loss"] == 0 and said["figures"]["rtt_mean"] >= 0
    assert said["wifi"][0] == {"name": "KANTOR DESA", "signal": -61, "channel": 6}
    # The broker is not there, as the office's is somewhere else.
    assert said["province"]["result"] == "no_broker"
    seed = (board.files / "device/device.key").read_bytes()[:32].hex()
    assert not [s for s in (_SECRET, seed, "PRIVATE KEY") if s in done.stdout + done.stderr]
    _wait_for_more(board, _reports(board))  # its agent runs again

    shown = world.desalink("device", "talk", board.port, DESALINK_LANG="id")
    assert shown.returncode == 0, shown.stderr
    for text in (VILLAGES[0], "-61 dBm", "KANTOR DESA", "tersambung", "hubungi kantor"):
        assert text in shown.stdout, shown.stdout


def test_a_dead_uplink_comes_with_what_to_look_at(world: World, a_hub: Hub) -> None:
    board = _installed(world, a_hub, "--set", "link.targets", _DEAD)
    for language, sentence in {
        "en": "point it with 'desalink device watch'",
        "id": "hubungi penyedia",
    }.items():
        done = world.desalink("device", "talk", board.port, DESALINK_LANG=language)
        assert done.returncode == 0, done.stderr
        assert sentence in done.stdout


def test_rounds_are_shown_live_and_the_agent_runs_afterwards(world: World, a_hub: Hub) -> None:
    board = _installed(world, a_hub)
    done = world.desalink("device", "watch", board.port, "--count", 3, "--json")
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["state"] for one in rounds] == ["up"] * 3
    assert all(one["loss"] == 0 and one["rtt_mean"] >= 0 for one in rounds)
    _wait_for_more(board, _reports(board))

    # So it does after an interrupt.
    with subprocess.Popen(
        world.command("device", "watch", board.port),
        cwd=world.place,
        env=world.environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert "connected" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _out, said = watching.communicate(timeout=2 * PATIENCE_S)
    assert watching.returncode == 130 and "Traceback" not in said, said
    _wait_for_more(board, _reports(board))

    # And after a visit that it does not understand.
    (board.files / "agent/visit.mpy").unlink()
    done = world.desalink("device", "talk", board.port)
    assert done.returncode == 1 and "earlier version" in done.stderr
    _wait_for_more(board, _reports(board))


def test_a_port_that_is_not_there_is_named(world: World, tmp_path: Path) -> None:
    done = world.desalink("device", "talk", "/dev/desalink-none")
    assert done.returncode == 1 and "/dev/desalink-none" in done.stderr


IW = """\
BSS aa:bb:cc:00:00:01(on wlan0)
	freq: 2437
	signal: -71.00 dBm
	SSID: Kantor Desa
	DS Parameter set: channel 6
BSS aa:bb:cc:00:00:02(on wlan0)
	signal: -60.00 dBm
	SSID:
"""
IWINFO = """\
Cell 01 - Address: AA:BB:CC:00:00:01
          ESSID: "Kantor Desa"
          Mode: Master  Channel: 6
          Signal: -71 dBm  Quality: 39/70
Cell 02 - Address: AA:BB:CC:00:00:02
          ESSID: unknown
          Signal: -60 dBm  Quality: 50/70
"""


@pytest.mark.parametrize("said", [IW, IWINFO], ids=["iw", "iwinfo"])
def test_networks_of_linux_are_read_without_addresses(said: str) -> None:
    assert scanned(said) == [HeardNetwork("Kantor Desa", -71, 6)]


class Liar:
    """A device that answers whatever a test wants."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def ask(self, call: str, timeout: float = 60) -> object:
        return self._answer

    def networks(self) -> None: ...

    def figures(self, row: dict[int, int]) -> dict[int, int]:
        return row

    def log(self) -> str:
        return ""


@pytest.mark.parametrize(
    "answer", [None, [], [1], ["up", [], {}], [1, [[1]], {}], [1, [], {"x": 1}]]
)
def test_an_answer_in_another_form_is_an_error_in_words(answer: object) -> None:
    with pytest.raises(ProvisionError, match="unknown form"):
        one_round(Liar(answer))


@pytest.mark.parametrize(
    ("state", "network", "words"),
    [
        ("interface", "no_access_point", "antenna"),
        ("interface", "wrong_password", "--settings-only"),
        ("interface", "no_carrier", "both ends"),
        ("interface", "ok", "cable"),
        ("gateway", "no_name", "Restart"),
        ("provider", "no_name", "provider"),
        ("dns", "no_name", "name server"),
        ("portal", "no_tls", "login"),
        ("up", "no_broker", "call the office"),
        ("up", "certificate", "clock"),
    ],
)
def test_each_cause_has_its_advice(state: str, network: str, words: str) -> None:
    assert words in (advice(state, network) or "")
    assert advice("up", "ok") is None
