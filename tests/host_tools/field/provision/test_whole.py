"""From a bare board to a stored report, with the messages to the technician."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import serial
from serial.tools.list_ports_common import ListPortInfo

from host_tools.broker.config import write_config
from host_tools.derive.samples import samples
from host_tools.devices import romfs
from host_tools.devices.release import Release
from host_tools.field.provision import ports
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.network import network_error
from host_tools.field.provision.repl import Repl
from host_tools.field.provision.serial_device import refuse_without_psram
from host_tools.office.founding import found_province
from host_tools.store import open_database
from tests.boards.images import APP, firmware
from tests.host_tools.conftest import PASSPHRASE, running_broker
from tests.host_tools.field.provision import launch
from tests.host_tools.field.provision.rig import FLASH_2MB, Board, Cut, Hub
from tests.host_tools.field.provision.world import VILLAGES, World
from tests.support import PATIENCE_S
from tests.world.plant import Part


def _wait_for(condition: Callable[[], object], timeout: float = PATIENCE_S) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def _stored(world: World, slot: str) -> list[tuple[bytes, int]]:
    try:
        uri = world.province.database.as_uri() + "?mode=ro"
        with sqlite3.connect(uri, uri=True, timeout=10) as db:
            return db.execute(
                "SELECT stream, seq FROM reports JOIN streams ON streams.id = stream_id "
                "JOIN slots ON slots.id = slot_id WHERE slot = ?",
                (slot,),
            ).fetchall()
    except sqlite3.OperationalError:
        return []  # not there yet


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[World], None]]:
    """Starts a province's broker and its ingest."""
    with ExitStack() as started:

        def start(world: World) -> None:
            write_config(world.province)
            started.enter_context(running_broker(world.province))
            run = "from host_tools.cli import main; main()"
            command = [sys.executable, "-c", run, "-C", str(world.province.directory), "ingest"]
            part = Part("ingest", command, tmp_path / "ingest.log")
            started.callback(part.clear_away)
            part.start()

        yield start


def test_bare_board_becomes_a_device_whose_reports_are_stored(
    tmp_path: Path, a_hub: Hub, broker: Callable[[World], None]
) -> None:
    world = World(tmp_path / "own", chips=["esp32"], villages=VILLAGES[:2])
    slot = f"{VILLAGES[0]}-1"
    broker(world)
    board = a_hub.board()
    done = world.provision(board.plug(), offline=False)
    assert done.returncode == 0, done.stderr
    assert "network: done" in done.stdout
    world.check_done(board)

    # Offline so far: the province learns of the device by the technician's log.
    export = tmp_path / "trip.desaenrol"
    done = world.desalink("enrolments", "export", "-o", export)
    assert done.returncode == 0, done.stderr
    assert not _stored(world, slot)
    directory = world.province.directory
    for _again in range(2):
        done = world.desalink(
            "-C", directory, "enrolments", "import", export, DESALINK_PASSPHRASE=PASSPHRASE
        )
        assert done.returncode == 0, done.stderr

    # The agent runs now; its first report is the one that the laptop read.
    first = next(e for e in _journal(world, board) if e["step"] == "report")
    assert first["seq"] == 1
    # It was made before the device knew the time, and must have a place in time for ever.
    assert abs(first["start"] - time.time()) < 300
    wanted = bytes.fromhex(first["stream"])
    _wait_for(lambda: {1, 2} <= {seq for stream, seq in _stored(world, slot) if stream == wanted})
    # With the laptop's time it has its place, and no finding "unplaced" stays for ever.
    with open_database(world.province.database, readonly=True) as database:
        _wait_for(lambda: (wanted, 1) in {(s.stream, s.seq) for s in samples(database, slot)})
    listed = world.desalink("-C", directory, "quarantine", "list", "--all", "--json")
    assert listed.returncode == 0 and "unplaced" not in listed.stdout


def _journal(world: World, board: Board) -> list[dict[str, Any]]:
    path = world.devices / board.mac.replace(":", "") / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_done_is_not_done_again_and_only_what_differs_is_sent(
    world: World, a_hub: Hub, tmp_path: Path
) -> None:
    board = a_hub.board("esp32s3")
    port = board.plug()
    arguments = tmp_path / "arguments"
    noted = {launch.ARGUMENTS: str(arguments)}
    runs = [world.provision(port, die="key", **noted), world.provision(port, **noted)]
    assert runs[1].returncode == 0
    seed = world.check_done(board)
    sent = len(board.incoming)
    runs.append(again := world.provision(port, **noted))
    assert again.returncode == 0, again.stderr
    assert world.check_done(board) == seed
    for step in ("firmware", "agent", "settings", "key", "enrolment"):
        assert f"{step}: was done already" in again.stdout
    assert len(board.incoming) - sent < 0.25 * sent
    _assert_secrets_stay_where_they_belong(world, board, seed, runs, arguments.read_bytes())

    (board.files / "agent" / "supervise.mpy").write_bytes(b"rot")
    # A source beside the compiled module would be imported in its place.
    (board.files / "agent" / "supervise.py").write_text("raise SystemExit")
    again = world.provision(port)
    assert again.returncode == 0, again.stderr
    world.check_done(board)
    assert not (board.files / "agent" / "supervise.py").exists()
    entry = [e for e in _journal(world, board) if e["step"] == "install"][-1]
    assert entry["files"] == 2


def _assert_secrets_stay_where_they_belong(
    world: World,
    board: Board,
    seed: bytes,
    runs: list[subprocess.CompletedProcess[str]],
    arguments: bytes,
) -> None:
    """The device's key is on the device alone, and the kit's are in the kit alone."""
    places = {
        "serial line, in": bytes(board.incoming),
        "serial line, out": bytes(board.outgoing),
        "output": "".join(run.stdout + run.stderr for run in runs).encode(),
        "arguments": arguments,
    }
    assert len(places["serial line, in"]) > 100_000 and b"chip" in arguments
    for path in (*world.place.rglob("*"), *world.folder.rglob("*")):
        if path.is_file() and not path.is_relative_to(board.files):
            places[str(path)] = path.read_bytes()
    assert any(name.endswith("journal.jsonl") for name in places)
    for name, content in places.items():
        for form in _forms(seed):
            assert form not in content, f"the device's key is in {name}"
    kit_key = world.kit.slot(f"{VILLAGES[0]}-1").key_pem
    role = world.kit.technician_key.private_bytes_raw()
    for path in world.laptop.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert kit_key not in content and role not in content, path
    assert world.laptop.stat().st_mode & 0o077 == 0


def test_new_firmware_keeps_the_key(tmp_path: Path, a_hub: Hub) -> None:
    world = World(tmp_path / "own", ["esp32"], villages=VILLAGES[:1])
    board = a_hub.board()
    port = board.plug()
    assert world.provision(port).returncode == 0
    seed = world.check_done(board)
    newer = firmware(size=120_000, seed=2)
    world.firmware = {"rig-esp32": ("newer.bin", newer)}
    world.kit = world.make_kit()
    done = world.provision(port)
    assert done.returncode == 0, done.stderr
    assert "firmware: done" in done.stdout and "key: was done already" in done.stdout
    assert bytes(board.flash.data[APP:]).rstrip(b"\xff") == newer[0xF000:]
    assert (board.files / "device" / "device.key").read_bytes()[:32] == seed


def test_firmware_with_romfs_gets_the_agent_as_one_image(tmp_path: Path, a_hub: Hub) -> None:
    world = World(tmp_path / "own", ["esp32"], villages=VILLAGES[:1])
    data = firmware(size=120_000, romfs=True)
    world.firmware = {"rig-esp32": ("romfs.bin", data)}
    world.kit = world.make_kit()
    place = romfs.partition(data, 0x1000)
    assert place is not None

    def in_flash() -> bytes:
        return bytes(board.flash.data[place.offset : place.offset + place.size])

    def image() -> bytes:
        return romfs.half(romfs.romfs_image(world.kit.releases["rig-esp32"]))

    board = a_hub.board()
    port = board.plug()
    done = world.provision(port)
    assert done.returncode == 0, done.stderr
    assert in_flash() == image().ljust(place.size, b"\xff")
    assert not (board.files / "agent").exists()
    seed = (board.files / "device" / "device.key").read_bytes()[:32]
    assert world.log.records()[0].firmware_hash == hashlib.sha256(data[APP - 0x1000 :]).digest()
    again = world.provision(port)
    for step in ("firmware", "agent", "settings", "key", "enrolment"):
        assert f"{step}: was done already" in again.stdout
    assert world.provision(port, VILLAGES[0], "--settings-only").returncode == 0

    # An update may have put a newer image into half B: the kit's is used nevertheless.
    newer = romfs.half(romfs.romfs_image(Release("2", "", {"/agent/x.py": b""})), 9)
    middle = place.offset + place.size // 2
    board.flash.data[middle : middle + len(newer)] = newer
    (release,) = world.releases
    files = {**release.files, "/agent/device/note": b"a newer release"}
    world.releases = [replace(release, files=files)]
    world.kit = world.make_kit()
    done = world.provision(port)
    assert done.returncode == 0, done.stderr
    assert "firmware: done" in done.stdout and "key: was done already" in done.stdout
    assert in_flash().startswith(image().ljust(place.size // 2 + 0x1000, b"\xff"))
    assert (board.files / "device" / "device.key").read_bytes()[:32] == seed


def test_a_laptop_without_posix_does_it_all(world: World, a_hub: Hub, tmp_path: Path) -> None:
    # Nor does its code page have a tick or an arrow.
    windows = {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "USERNAME": "ani"}
    hidden = {launch.HIDE: "1", **windows}
    laptop = tmp_path / "Tanjung Isuy – Ñ"
    done = world.desalink("kit", "open", laptop / "no.desakit", "--lang", "id", **hidden)
    assert done.returncode == 1 and "no.desakit tidak ada" in done.stderr
    done = world.desalink("kit", "open", world.kit_file, "--to", laptop, **hidden)
    assert done.returncode == 0, done.stderr
    hidden["DESALINK_KIT"] = str(laptop)
    world.laptop = laptop
    done = world.desalink("doctor", **hidden)
    assert "defect" not in done.stderr + done.stdout, done.stderr
    board = a_hub.board()
    done = world.provision(board.plug(), **hidden)
    assert done.returncode == 0, done.stderr
    world.check_done(board)
    export = tmp_path / "trip.desaenrol"
    for arguments in (("enrolments", "export", "-o", export), ("kit", "verify")):
        done = world.desalink(*arguments, **hidden)
        assert done.returncode == 0, done.stderr
    assert export.stat().st_size > 0


# ---- several at once -------------------------------------------------------------------------


def _summary(world: World) -> list[dict[str, str]]:
    (path,) = world.laptop.glob("summary-*.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_three_chips_side_by_side(world: World, a_hub: Hub) -> None:
    boards = [a_hub.board(chip) for chip in ("esp32", "esp32s3", "esp32c3")]
    for board in boards:
        board.plug()
    done = world.desalink(
        "provision", "--batch", "--port", a_hub.pattern, "--count", 3, "--offline"
    )
    assert done.returncode == 0, done.stderr
    rows = _summary(world)
    assert {row["mac"] for row in rows} == {board.mac for board in boards}
    assert {row["slot"] for row in rows} == {f"{code}-1" for code in sorted(VILLAGES)[:3]}
    by_mac = {row["mac"]: row for row in rows}
    seeds = {world.check_done(b, by_mac[b.mac]["slot"][:10]) for b in boards}
    assert len(seeds) == 3
    assert len(world.log.records()) == 3


def test_batch_takes_boards_as_they_come(world: World, a_hub: Hub) -> None:
    codes = f"{VILLAGES[5]},{VILLAGES[2]}"
    good, loose, small = a_hub.board(), a_hub.board(), a_hub.board(flash_id=FLASH_2MB)
    loose.cut = Cut("app", 30_000)
    command = world.command(
        *("provision", "--batch", "--port", a_hub.pattern, "--villages", codes),
        *("--count", 4, "--offline"),
    )
    process = subprocess.Popen(
        command,
        cwd=world.place,
        env=world.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        loose.plug()
        loose.wait_unplugged()
        small.plug()
        _wait_for(lambda: "flash_small" in "".join(p.read_text() for p in _summaries(world)))
        good.plug()
        loose.plug()
        out, err = process.communicate(timeout=180)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1, err
    assert "1 board is not done" in err
    # Without a table there is a first line too.
    assert out.startswith("0 of 4 boards done.\n") and "\n2 of 4 boards done.\n" in out
    rows = _summary(world)
    assert sorted((row["mac"], row["state"], row["class"]) for row in rows) == [
        (good.mac, "done", ""),
        (loose.mac, "done", ""),
        (loose.mac, "failed", "cable"),
        (small.mac, "failed", "flash_small"),
    ]
    failed = next(row for row in rows if row["class"] == "flash_small")
    assert "2 MB" in failed["next"] and "take a board with more" in failed["next"]
    # The unplugged board kept its village; the other board got the next.
    slots = {row["mac"]: row["slot"] for row in rows if row["state"] == "done"}
    assert slots[loose.mac] == f"{VILLAGES[5]}-1"
    for board in (good, loose):
        world.check_done(board, slots[board.mac][:10])


def test_count_counts_only_boards_that_were_not_ready(world: World, a_hub: Hub) -> None:
    ready = a_hub.board()
    assert world.provision(ready.plug(), VILLAGES[7]).returncode == 0
    bare = [a_hub.board(), a_hub.board()]
    for board in bare:
        board.plug()
    done = world.desalink(
        "provision", "--batch", "--port", a_hub.pattern, "--count", 1, "--offline"
    )
    assert done.returncode == 0, done.stderr
    assert len(world.log.records()) == 2
    left = next(b for b in bare if b.mac not in {r.unique_id for r in world.log.records()})
    assert f"Not taken, because of --count: {left.port}" in done.stdout


def test_villages_chosen_by_the_technician(world: World, a_hub: Hub) -> None:
    board = a_hub.board()
    board.plug()
    done = world.desalink(
        *("provision", "--batch", "--ask", "--port", a_hub.pattern, "--count", 1, "--offline"),
        said=f"nowhere\n{VILLAGES[3]}\n",
    )
    assert done.returncode == 0, done.stderr
    assert "not in the kit" in done.stderr and board.mac in done.stderr
    world.check_done(board, VILLAGES[3])


def _summaries(world: World) -> list[Path]:
    return list(world.laptop.glob("summary-*.csv"))


def test_only_ports_that_a_board_can_be_on_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def port(device: str, vid: int | None) -> ListPortInfo:
        info = ListPortInfo(device)
        info.vid = vid
        return info

    found = [
        port("/dev/ttyS0", None),
        port("/dev/ttyUSB1", 0x10C4),
        port("/dev/ttyUSB0", 0x1A86),
        port("/dev/ttyUSB2", 0x12D1),  # a 4G modem, which must not be spoken to
        port("/dev/ttyACM0", 0x303A),
    ]
    monkeypatch.setattr(ports, "comports", lambda: found)
    assert ports.list_ports() == ["/dev/ttyACM0", "/dev/ttyUSB0", "/dev/ttyUSB1"]
    with pytest.raises(ProvisionError, match="--port"):
        ports.one_port()
    del found[1:3]
    assert ports.one_port() == "/dev/ttyACM0"
    del found[2:]
    with pytest.raises(ProvisionError, match="desalink doctor"):
        ports.one_port()


# ---- refusals --------------------------------------------------------------------------------


def _refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 1, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0], lines[0]


def test_board_that_belongs_elsewhere_keeps_its_key(world: World, a_hub: Hub) -> None:
    board = a_hub.board()
    port = board.plug()
    assert world.provision(port).returncode == 0
    before = world.check_done(board)
    _refused(world.provision(port, VILLAGES[1]), board.mac, f"{VILLAGES[0]}-1", "devices revoke")
    assert world.check_done(board) == before
    # Two boards with USB of their own that start at once may get each other's names.
    own, board.mac = board.mac, "24:0a:c4:00:00:99"
    board.running_mac = own
    _refused(world.provision(port, VILLAGES[1]), board.mac, own, "plugged in")
    board.mac = own
    assert world.check_done(board) == before


def test_slot_that_is_filled_and_its_replacement(world: World, a_hub: Hub) -> None:
    old, new = a_hub.board(), a_hub.board()
    assert world.provision(old.plug()).returncode == 0
    port = new.plug()
    _refused(world.provision(port), f"{VILLAGES[0]}-1", "--replace")
    assert not (new.files / "device").exists()
    done = world.provision(port, VILLAGES[0], "--replace")
    assert done.returncode == 0, done.stderr
    first, second = world.log.records()
    assert second.replaces == first.device and second.unique_id == new.mac
    assert second.certificate_serial != first.certificate_serial
    # The new one needs --replace only once, and the old one may not come back.
    assert world.provision(port).returncode == 0
    _refused(world.provision(old.port), "--replace")
    # With it, it comes back as a new device: its former key was given up for good.
    done = world.provision(old.port, VILLAGES[0], "--replace")
    assert done.returncode == 0, done.stderr
    third = world.log.records()[2]
    assert third.replaces == second.device and third.unique_id == old.mac
    assert third.device != first.device


def test_board_begun_for_another_village_forgets_it(world: World, a_hub: Hub) -> None:
    board = a_hub.board()
    port = board.plug()
    # The laptop died after the first report, before the enrolment.
    world.provision(port, VILLAGES[3], die="report")
    seed = (board.files / "device" / "device.key").read_bytes()[:32]
    done = world.provision(port, VILLAGES[0])
    assert done.returncode == 0, done.stderr
    assert world.check_done(board) != seed


NETWORK = {
    "wrong_password": ("password", "new kit"),
    "no_access_point": ("does not see its Wi-Fi", "--offline"),
    "no_carrier": ("cable", "--offline"),
    "no_address": ("DHCP", "--offline"),
    "no_broker": ("can't connect to", "connection refused", "--offline"),
}


@pytest.mark.parametrize("result", NETWORK)
def test_each_result_of_the_network_test_has_its_sentence(result: str) -> None:
    sentence = str(network_error(result, "connection refused", "localhost", 1883))
    assert all(part in sentence for part in NETWORK[result])


def test_network_test_reports_what_is_missing(world: World, a_hub: Hub) -> None:
    board = a_hub.board()
    port = board.plug()
    _refused(world.provision(port, offline=False), *NETWORK["no_broker"])
    assert not world.log.records()
    # A password that is wrong here is wrong in the village too.
    board.network = "wrong_password"
    _refused(world.provision(port), *NETWORK["wrong_password"])
    board.network = "no_carrier"
    offline = world.provision(port)
    assert offline.returncode == 0, offline.stderr


def test_strange_broker_and_revoked_kit(
    tmp_path: Path, a_hub: Hub, broker: Callable[[World], None]
) -> None:
    world = World(tmp_path / "own", ["esp32"], villages=VILLAGES[:1])
    port = a_hub.board().plug()
    stranger, _count = found_province(
        tmp_path / "stranger",
        "64",
        PASSPHRASE,
        port=world.province.broker.port,
        bind="127.0.0.1",
        only_villages=VILLAGES[:1],
    )
    with running_broker(stranger):
        for offline in (False, True):
            _refused(world.provision(port, offline=offline), "is not the province's broker")
    done = world.desalink(
        *("-C", world.province.directory, "kit", "revoke", world.kit.id.hex()),
        DESALINK_PASSPHRASE=PASSPHRASE,
    )
    assert done.returncode == 0, done.stderr
    broker(world)
    _refused(world.provision(port, offline=False), "refuses the certificate", "new kit")
    assert not world.log.records()


def test_board_that_is_no_use(world: World, a_hub: Hub) -> None:
    port = a_hub.board(flash_id=FLASH_2MB).plug()
    _refused(world.provision(port), "2 MB", "rig-esp32 needs 4 MB")
    indonesian = world.provision(port, VILLAGES[0], "--lang", "id")
    _refused(indonesian, "2 MB")
    assert not re.search(r"\b(the|take|board)\b", indonesian.stderr), indonesian.stderr
    wrong = a_hub.board("esp32c3")
    port = wrong.plug()
    _refused(world.provision(port, VILLAGES[0], "--board", "rig-esp32"), "esp32c3", "rig-esp32")
    _refused(world.provision(port, "6401012001"), "6401012001-1", "kit show")
    _refused(world.provision(port, VILLAGES[0], "--board", "nothing"), "nothing")
    assert wrong.flash.data.count(0xFF) == len(wrong.flash.data)
    with serial.Serial(str(port.resolve()), exclusive=True):
        _refused(world.provision(port), "in use", "serial monitors")
    _refused(world.provision(a_hub.ports / "nothing"), "no port")
    _refused(world.provision(a_hub.pattern), "--batch", "--port")


@pytest.mark.parametrize(
    ("memory", "refused"), [("320000", True), ("4500000", False), ("", False)]
)
def test_board_whose_settings_promise_psram_must_have_it(memory: str, refused: bool) -> None:
    class Interpreter:
        def run(self, script: str) -> str:
            assert "idf_heap_info" in script
            return memory + "\n"

    with pytest.raises(ProvisionError, match="psram") if refused else ExitStack():
        refuse_without_psram(cast(Repl, Interpreter()), "24:0a:c4:00:00:01")


def test_kit_that_is_no_use(world: World, tmp_path: Path, a_hub: Hub) -> None:
    port = a_hub.board().plug()
    _refused(world.provision(port, VILLAGES[0], "--kit", tmp_path / "none"), "kit open")
    _refused(world.provision(port, VILLAGES[0], "--kit", world.kit_file), "kit open")
    _refused(world.provision(port, DESALINK_KIT_PASSPHRASE="wrong"), "passphrase")
    old = World(tmp_path / "old", [], now=time.time() - 40 * 86400, villages=VILLAGES[:1])
    _refused(old.provision(port), "expired", "new kit")


# ---- the device's key ------------------------------------------------------------------------


def _forms(seed: bytes) -> Iterator[bytes]:
    """All that a text or a file could hold of it."""
    yield seed
    yield seed[:16]
    yield seed[16:]
    yield seed.hex().encode()
    yield seed.hex().upper().encode()
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # Without the ends, which depend on what stands beside it.
            yield alphabet(bytes(shift) + seed)[4:-4]
    yield repr(seed)[2:-1].encode()
    yield ", ".join(str(byte) for byte in seed).encode()


def test_search_for_the_key_would_find_it() -> None:
    seed = bytes(range(100, 132))
    for text in (
        seed,
        seed.hex().encode(),
        base64.b64encode(b"abc" + seed + b"d"),
        base64.b64encode(b"ab" + seed + b"d"),
        json.dumps(list(seed)).encode(),
        repr(b"key: " + seed).encode(),
    ):
        assert any(form in text for form in _forms(seed)), text
