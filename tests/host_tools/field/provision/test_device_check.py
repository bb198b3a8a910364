"""`desalink device check` on emulated boards: what it finds, and what it keeps to itself."""

from __future__ import annotations

import json
import shutil

import pytest

from host_tools.field.device_check import figures, run
from tests.host_tools.field.provision.rig import Board, Hub
from tests.host_tools.field.provision.world import VILLAGES, World
from tests.support import ROOT

_ESP32 = """\
from tests.boards.fakes.{0} import *
"""
_AIR = """
air.append(AccessPoint("desa rahasia", "rahasia1", -67))
"""


def like_an_esp32(board: Board) -> None:
    """Give the board the modules of an ESP32's firmware."""
    fakes = board.files / "tests" / "boards" / "fakes"
    shutil.copytree(ROOT / "tests/boards/fakes", fakes, ignore=lambda *_: ["__pycache__"])
    for folder in (fakes.parent.parent, fakes.parent):
        (folder / "__init__.py").touch()
    for name in ("network", "esp32"):
        text = _ESP32.format(name) + (_AIR if name == "network" else "")
        (board.files / f"{name}.py").write_text(text)


def test_a_provisioned_board_is_measured_and_starts_again(world: World, a_hub: Hub) -> None:
    board = a_hub.board()
    done = world.provision(board.plug())
    assert done.returncode == 0, done.stderr
    like_an_esp32(board)
    before = (board.files / "device" / "config.json").read_bytes()
    out = world.place / "report"
    out.mkdir()
    done = world.desalink("device", "check", board.port, "--out", out)
    assert "The report is written" in done.stderr
    page, report = sorted(out.iterdir(), key=lambda path: path.suffix, reverse=True)
    parts = json.loads(report.read_text())["parts"]
    assert [part["error"] for part in parts.values() if "error" in part] == []
    assert parts["memory"]["heap_most"] > 72 * 1024
    assert parts["memory"]["idf_free_radio"] == [100_000, 99_000]
    assert parts["clock"]["year"] >= 2026 and abs(parts["clock"]["permille"]) < 100
    assert parts["flash"]["/"]["same"]
    assert parts["radio"]["networks"] == [[-67, 6]]
    assert parts["signature"]["proof_ms"] >= 0
    assert parts["sockets"]["open"]["send"] == 1
    assert parts["network"]["1.1.1.1"]
    assert "16 KiB written to /" in page.read_text()
    # As before, without what the check wrote.
    assert (board.files / "device" / "config.json").read_bytes() == before
    assert not list(board.files.rglob("*.part"))
    # Nothing secret leaves the board.
    said = page.read_text() + report.read_text() + done.stdout + done.stderr
    key = (board.files / "device" / "device.key").read_bytes()[:32]
    for secret in ("rahasia", board.mac, key.hex(), VILLAGES[0], "PRIVATE"):
        assert secret not in said


def test_a_part_that_ends_the_interpreter_leaves_the_others_and_so_does_a_missing_agent(
    world: World, a_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = a_hub.board()
    assert world.provision(board.plug()).returncode == 0
    parts = [(name, scripts) for name, scripts in run.PARTS if name in ("clock", "flash")]
    monkeypatch.setattr(run, "PARTS", [("board", ("sys.exit()",)), *parts])
    monkeypatch.setattr(run, "PART_S", 25.0)
    found = run.check_board(str(board.port))
    assert list(found["board"]) == ["error"]
    assert "error" not in found["clock"], found
    assert found["clock"]["year"] >= 2026
    assert found["flash"]["/"]["same"]

    for name in ("agent", "boards", "device"):
        shutil.rmtree(board.files / name)
    (board.files / "main.py").unlink()
    done = world.desalink("device", "check", board.port, "--json")
    names = [figure["name"] for figure in json.loads(done.stdout)["figures"]]
    assert "16 KiB written to /" in names
    assert "network and broker" not in names


def test_an_unplugged_board_ends_with_a_sentence(world: World) -> None:
    done = world.desalink("device", "check", world.place / "nothing")
    assert done.returncode == 1
    assert "check that the board is plugged in" in done.stderr
    done = world.desalink("device", "check", "any", "--out", world.place / "nowhere")
    assert "There is no folder" in done.stderr


_LWIP = {
    "open": {"connect": "E119", "poll out": 4, "connect again": "E127", "send nothing": "E11",
             "recv": "E11", "send": 1},
    "closed": {"connect": "E119", "poll out": 4, "connect again": "E128", "send nothing": "E11",
               "recv": "E104", "send": "E104"},
    "raw ping": [28, 69, 0],
    "sockets": [11, "E23"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("part", "key", "value", "wrong"),
    [
        ("memory", "heap_most", 60_000, "heap"),
        ("memory", "idf_free_radio", [40_000, 20_000], "TLS"),
        ("clock", "permille", 30, "clock"),
        ("clock", "rtc_kept", 0, "RTC"),
        ("flash", "/", {"error": 28}, "written to /"),
        ("radio", "networks", [], "Wi-Fi"),
        ("signature", "proof_ms", 5000, "signature"),
        ("sockets", "sockets", [17, "E23"], "too many"),
        ("sockets", "error", "it restarted", "sockets"),
        ("network", "result", "no_tls", "broker"),
        ("network", "gateway", [[None, 1]] * 3, "gateway"),
    ],
)
def test_what_differs_from_what_the_agent_expects_is_named(
    part: str, key: str, value: object, wrong: str
) -> None:
    parts = {
        "board": {"platform": "esp32"},
        "memory": {"heap_free": 60_000, "heap_used": 4000, "heap_most": 110_000,
                   "idf_free_radio": [90_000, 60_000]},
        "clock": {"permille": 1, "rtc_kept": 24},
        "flash": {"/": {"write_ms": 300, "read_ms": 9, "same": True}, "/other": {"error": 2}},
        "radio": {"scan_ms": 2500, "networks": [[-60, 6]]},
        "signature": {"proof_ms": 400},
        "sockets": _LWIP,
        "network": {"result": "ok", "ms": 4000, "gateway": [[12, 0]] * 3},
    }  # fmt: skip
    assert all(figure.ok for figure in figures(parts))
    changed = {**parts, part: {**parts[part], key: value}}
    differing = [figure.name for figure in figures(changed) if not figure.ok]
    assert len(differing) == 1 and wrong in differing[0]
