"""`python -m tests.lab.chip PATH`: the laboratory's faults, met by an agent on ESP32's sockets.

PATH is a MicroPython whose `socket` is ports/esp32/modsocket.c over lwIP on a tap device, with
newlib's error numbers and mbedTLS. It is an instrument beside this project and is not part of it.
It reads PRECONFIGURED_TAPIF, SIM_IP, SIM_MASK, SIM_GW and SIM_DNS for its network, SIM_RAM for the
bytes that lwIP and mbedTLS may have together, SIM_STATS for a file that gets what they use, and
SIM_CABLE for a file that takes the network away while it exists.

The agent is an ESP32's: a release for `esp32-generic` and the device's configuration, in a ROMFS
image. It joins a Wi-Fi network and keeps its journal on LittleFS; it asks the router by SNMP,
checks for a portal and keeps a budget. chip_modules.py stands in for the chip's own modules,
chip_power.py for supply, reset and watchdog. The heap has HEAP bytes beside image and stand-ins.
Exit code 0 if every cause was right and nothing was lost, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from host_tools.broker.revocation import write_crl
from host_tools.devices.boards import load_board
from host_tools.devices.release import build_release
from host_tools.devices.romfs import romfs_image
from host_tools.province.registry import Registry
from tests.lab import isolation
from tests.lab.faults import AGENT, FAULTS, NONE, Fault
from tests.lab.judge import failed, run, settle
from tests.lab.net import Process, call
from tests.lab.world import BROKER_PORT, GATEWAY, Village, World
from tests.support import ROOT

_ADDRESS = "192.168.1.50"
_SETTINGS: Mapping[str, Any] = {
    "link.interface": "wlan0",
    "usage.interface": None,
    "usage.snmp.host": GATEWAY,
    "usage.snmp.interface": "wan0",
    "budget.month_mb": 100,
}
# Once it is enrolled, which is done on this machine.
_CHIP: Mapping[str, Any] = {
    "port": "boards._esp32.board",
    "board.name": "esp32-generic",
    "board.wifi": [{"ssid": "desa", "password": "rahasia1"}],
    "board.watchdog_s": 30,
}
# What needs Linux's own network on the device, or a clock that the instrument does not have.
_NOT_HERE = (
    "cable pulled at the device",
    "DHCP pool dry",
    "clock wrong",
)


class ChipVillage(Village):
    """A village whose device is the instrument: the router's LAN port is its tap."""

    def connect_device(self) -> None:
        self.router.ip("tuntap", "add", "dev", "lan0", "mode", "tap")
        self.router.ip("link", "set", "lan0", "up")
        self.chip = self.router.folder / "chip"
        self.chip.mkdir()
        self.memory = self.chip / "memory"
        self.unplugged = self.chip / "unplugged"

    def agent_process(self, command: Sequence[str]) -> Process:
        world = self.world
        assert isinstance(world, ChipWorld)
        self.configure(_CHIP)
        config = json.loads((self.folder / "config.json").read_text())
        image = self.chip / "agent.romfs"
        image.write_bytes(romfs_image(build_release(load_board("esp32-generic"), [config])))
        environment = {
            "PRECONFIGURED_TAPIF": "lan0",
            "SIM_IP": _ADDRESS,
            "SIM_MASK": "255.255.255.0",
            "SIM_GW": GATEWAY,
            "SIM_DNS": GATEWAY,
            "SIM_RAM": str(world.ram),
            "SIM_STATS": str(self.memory),
            "SIM_CABLE": str(self.unplugged),
            "CHIP": str(self.chip),
            "MICROPYPATH": f"{ROOT}:.frozen",
        }
        start = ROOT / "tests/lab/chip_start.py"
        command_line = [isolation.program("env"), *(f"{n}={v}" for n, v in environment.items())]
        stand_ins = int(call(*command_line, str(world.chip), str(start)))
        # On the chip the image lies in flash; the collector's tables of it are 3 bytes in 128.
        heap = world.heap + (image.stat().st_size + stand_ins) * 131 // 128
        command_line += [sys.executable, "-m", "tests.lab.chip_power", str(self.chip)]
        command_line += [str(world.chip), "-X", f"heapsize={heap}"]
        return Process(self.router, "agent", [*command_line, str(start), str(image), command[-1]])

    def start(self) -> None:
        self.dnsmasq.start()
        folder = self.router.folder
        (folder / "snmpd.conf").write_text("rocommunity public\n")
        snmpd = [isolation.program("snmpd"), "-f", "-Le", "-C", "-c", str(folder / "snmpd.conf")]
        snmpd += ["-I", "-smux", f"--persistentDir={folder}/persistent", f"udp:{GATEWAY}:161"]
        Process(self.router, "snmpd", snmpd).start()

    @property
    def online(self) -> bool:
        return True


class ChipWorld(World):
    """The laboratory with the instrument as its only device."""

    village = ChipVillage

    def __init__(self, folder: Path, chip: Path, heap: int, ram: int) -> None:
        super().__init__(folder, ["micropython"], _SETTINGS)
        self.chip = chip.resolve()
        self.heap = heap
        self.ram = ram

    def lost(self) -> str | None:
        """What of the device's reports the province does not hold, in a sentence."""
        rows = self.query(
            "SELECT max(seq) - count(*), (SELECT count(*) FROM quarantine) "
            "FROM reports GROUP BY stream_id"
        )
        missing, refused = sum(row[0] for row in rows), rows[0][1]
        if missing or refused:
            return f"{missing} reports are missing, {refused} are in quarantine"
        return None


def _unplug(world: World, village: Village) -> None:
    assert isinstance(village, ChipVillage)
    village.unplugged.touch()


def _plug(world: World, village: Village) -> None:
    assert isinstance(village, ChipVillage)
    village.unplugged.unlink()


def _restart_broker(world: World, village: Village) -> None:
    world.broker.stop()
    world.broker.start()


def _nothing(world: World, village: Village) -> None:
    """It has healed already."""


def _freeze_broker(world: World, village: Village) -> None:
    world.broker.freeze()


def _thaw_broker(world: World, village: Village) -> None:
    world.broker.thaw()


def _hang(world: World, village: Village) -> None:
    village.agent.send(signal.SIGUSR1)


_OWN_FAULTS = (
    # It joins again after a pause that grows, of which the time is not ten times as fast.
    Fault("Wi-Fi gone", "interface", _unplug, _plug, tolerance_rounds=30),
    Fault("broker restarted", NONE, _restart_broker, _nothing, shared=True),
    # Its host goes on to answer. The next report waits 30 s for its PUBACK, the attempt after that
    # 30 s for TLS: these times are not ten times as fast here.
    Fault(
        "broker frozen", "broker", _freeze_broker, _thaw_broker, shared=True, hold_s=150,
        tolerance_rounds=120,
    ),
    # Its watchdog bites after 30 s.
    Fault("chip hangs", AGENT, _hang, _nothing, hold_s=32, tolerance_rounds=10),
)  # fmt: skip


# The chip does not see its wire: an unplugged router is one that does not answer.
_SHARED_FAULTS = tuple(
    replace(fault, expected="gateway") if fault.expected == "interface" else fault
    for fault in FAULTS
    if not fault.name.startswith(_NOT_HERE)
)


@dataclass
class Refused:
    """What a revoked device costs. handshakes: that reached the broker."""

    seconds: int
    handshakes: int
    bytes: int
    ok: bool


def _revoked(world: World, seconds: int) -> Refused:
    """Revoke the device's certificate, and count what comes to the broker's port."""
    settle(world)
    village = world.villages[0]
    small = world.small
    with Registry.open(small.province.directory) as registry:
        registry.revoke_certificates(village.slot)
        write_crl(small.province, registry, small.authority)
    host = world.province_host
    host.nft(
        "table ip count {\n"
        " counter passed {}\n counter begun {}\n"
        " chain i { type filter hook input priority 0;\n"
        f"  tcp dport {BROKER_PORT} counter name passed\n"
        # A handshake's first packet from the device: record 22 (handshake), of kind 1.
        f"  tcp dport {BROKER_PORT} @ih,0,8 22 @ih,40,8 1 counter name begun\n }}\n"
        " chain o { type filter hook output priority 0;\n"
        f"  tcp sport {BROKER_PORT} counter name passed\n }}\n}}"
    )
    _restart_broker(world, village)
    time.sleep(seconds)
    counted = {
        entry["counter"]["name"]: entry["counter"]
        for entry in json.loads(host.nft_json("counters"))["nftables"]
        if "counter" in entry
    }
    handshakes = counted["begun"]["packets"]
    return Refused(seconds, handshakes, counted["passed"]["bytes"], handshakes < 60)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.chip",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("chip", type=Path, metavar="PATH", help="the instrument's MicroPython")
    parser.add_argument("--heap", type=int, default=72 * 1024, help="bytes (default: 72 KiB)")
    parser.add_argument("--ram", type=int, default=34000, help="of lwIP and mbedTLS, in bytes")
    parser.add_argument("--minutes", type=int, default=0, help="go round until so many are over")
    parser.add_argument("--revoked-s", type=int, default=600, help="length of the last part")
    parser.add_argument("--only", metavar="TEXT", help="faults whose name contains this")
    return parser.parse_args()


def main() -> int:
    """Run it all; see above."""
    if not isolation.inside():
        why = isolation.obstacle()
        if why:
            print(f"lab: skipped: {why}")
            return 0
        return isolation.enter(sys.argv[1:], "tests.lab.chip")
    arguments = _arguments()
    began = time.monotonic()
    wrong = 0
    rows: list[dict[str, Any]] = []
    faults = [*_OWN_FAULTS, *_SHARED_FAULTS]
    if arguments.only:
        faults = [f for f in faults if arguments.only.lower() in f.name.lower()]

    def say(sentence: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s {sentence}", file=sys.stderr, flush=True)

    folder = ROOT / "build" / f"chip-{arguments.heap}"
    with ChipWorld(folder, arguments.chip, arguments.heap, arguments.ram) as world:
        village = world.villages[0]
        while True:
            for fault in faults:
                try:
                    verdicts = run(world, fault)
                except RuntimeError as error:
                    verdicts = [failed(fault, error)]
                for verdict in verdicts:
                    rows.append(asdict(verdict))
                    wrong += not verdict.ok
                    say(f"{fault.name}: {verdict}")
            if time.monotonic() - began > 60 * arguments.minutes:
                break
        settle(world)
        lost = world.lost()
        wrong += lost is not None
        say(lost or "nothing is lost, nothing is in quarantine")
        assert isinstance(village, ChipVillage)
        memory = village.memory.read_text()
        log = village.agent.log.read_text(errors="replace")
        say(f"MemoryError: {log.count('MemoryError')}, resets: {log.count('chip: ')}")
        say(f"memory: lwIP (now, peak, blocks), mbedTLS (the same), refused: {memory}")
        if arguments.revoked_s:
            refused = _revoked(world, arguments.revoked_s)
            say(str(refused))
            wrong += not refused.ok
            rows.append(asdict(refused))
    (folder / "chip.json").write_text(json.dumps(rows, indent=1) + "\n")
    say(f"{wrong} wrong of {len(rows)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
