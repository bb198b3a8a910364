"""A province with a technician's kit, and what a technician does with it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.demo.small_province import SmallProvince
from host_tools.devices.boards import load_board
from host_tools.field.enrolments import EnrolmentLog
from host_tools.field.labels import check_of
from host_tools.keys.ca import Authority
from host_tools.people.kits import Kit, KitDirectory
from host_tools.people.kits.create import Cargo
from host_tools.wire import hash8
from tests import support
from tests.boards.images import APP, FLASH_OFFSET, firmware
from tests.host_tools.conftest import PASSPHRASE
from tests.host_tools.field.provision import launch, tree
from tests.host_tools.field.provision.rig import Board
from tests.world.evidencing import signing_registry
from tests.world.kits import KIT_PASSPHRASE, make_kit, sealed

VILLAGES = (
    "6403112001", "6403112002", "6403112003", "6403112004",
    "6403012001", "6403012002", "6403012003", "6403012004",
)  # fmt: skip

# Everything on this machine, a report a second once the agent runs.
SETTINGS: Mapping[str, Any] = {
    "broker": {"backoff_max_s": 1},
    "cadence": {"round_s": 1, "sample_s": 1, "report_samples": 1},
    "clock": {"source": "system"},
    "link": {"gateway": "off", "targets": ["127.0.0.1"], "timeout_ms": 10_000, "dns": "off"},
}


class World:
    """A province, its kit opened on a laptop, and the laptop's work directory.

    Attributes:
        kit: opened, as the product opens it; for emulated boards with the chips and for others.
        laptop: the opened kit's directory, which is the work directory too.
    """

    def __init__(
        self,
        folder: Path,
        chips: Sequence[str] = tuple(FLASH_OFFSET),
        firmware_bytes: int = 120_000,
        now: float | None = None,
        villages: Sequence[str] = VILLAGES,
        others: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.tree = tree.the_tree()
        tree.use_tree(self.tree)
        self.province = SmallProvince(
            folder, villages, port=support.free_port(), passphrase=PASSPHRASE
        ).province
        self.laptop = folder / "laptop"
        self.place = folder
        boards = [load_board(tree.board_name(chip)) for chip in chips]
        self.firmware: dict[str, tuple[str, bytes]] = {
            board.name: (f"{board.name}.bin", firmware(board.chip or "", size=firmware_bytes))
            for board in boards
        }
        names = [*(board.name for board in boards), *others]
        self.releases = [tree.release(name) for name in names]
        self.kit = self.make_kit(now)

    def with_laptop(self, place: Path) -> World:
        """The same province with a technician's new laptop, on which its kit is opened."""
        world = copy(self)
        world.place = place
        world.laptop = place / "laptop"
        KitDirectory(world.laptop).put(self.kit_file, KIT_PASSPHRASE)
        tree.use_tree(self.tree)
        return world

    @property
    def log(self) -> EnrolmentLog:
        return EnrolmentLog(KitDirectory(self.laptop).enrolments)

    @property
    def devices(self) -> Path:
        return self.laptop / "devices"

    def make_kit(self, now: float | None = None) -> Kit:
        """Have the province pack a kit for all its villages, and open it on the laptop."""
        province = self.province
        authority = Authority.load(province.ca_key, province.ca_certificate, PASSPHRASE)
        cargo = Cargo(dict(SETTINGS), firmware=self.firmware, releases=self.releases)
        with signing_registry(province) as registry:
            slots = [f"{village.code}-1" for village in registry.villages()]
            kit, root = make_kit(province, registry, authority, slots=slots, cargo=cargo, now=now)
        self.kit_file = sealed(kit, root, self.folder / f"{kit.id.hex()}.desakit")
        return KitDirectory(self.laptop).put(self.kit_file, KIT_PASSPHRASE, now=now)

    def command(self, *arguments: object) -> list[str]:
        """`desalink` with the emulated boards."""
        return [
            sys.executable,
            "-m",
            "tests.host_tools.field.provision.launch",
            *map(str, arguments),
        ]

    def environment(self, **more: str) -> dict[str, str]:
        """What a technician's shell has."""
        return {
            **os.environ,
            tree.VARIABLE: str(self.tree),
            "DESALINK_KIT": str(self.laptop),
            "DESALINK_KIT_PASSPHRASE": KIT_PASSPHRASE,
            "DESALINK_LANG": "en",
            "PYTHONPATH": str(support.ROOT),
            **more,
        }

    def desalink(
        self,
        *arguments: object,
        die: str = "",
        said: str = "",
        timeout: float = 180,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run `desalink` on the laptop.

        Args:
            die: where it is to be killed, see `launch.py`.
            said: what the technician types.
        """
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.place,
            env=self.environment(**{launch.DIE: die}, **variables),
            input=said,
            capture_output=True,
            text=True,
            errors="replace",  # where it writes another encoding
            timeout=timeout,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def provision(
        self,
        port: Path | str,
        village: str = VILLAGES[0],
        *more: object,
        offline: bool = True,
        die: str = "",
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Provision one board."""
        options = ["--village", village, "--port", port, *more]
        if offline:
            options.append("--offline")
        return self.desalink("provision", *options, die=die, **variables)

    # ---- what must be so at the end ----------------------------------------------------------

    def check_done(self, board: Board, village: str = VILLAGES[0]) -> bytes:
        """All that a provisioned board, its laptop and its label must have in common.

        Returns:
            The seed of the device's key, which only the device has.
        """
        slot = f"{village}-1"
        device = board.files / "device"
        assert {p.name for p in device.glob("*.key*")} == {"client.key", "device.key"}
        seed = (device / "device.key").read_bytes()[:32]
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        kid = hash8(public)
        mine = [r for r in self.log.records() if r.slot == slot or r.unique_id == board.mac]
        assert [(r.slot, r.unique_id, r.device) for r in mine] == [(slot, board.mac, kid)]
        record = mine[0]
        assert record.enrolment().public_key == public
        app = bytes(board.flash.data[APP:]).rstrip(b"\xff")
        assert record.firmware_hash == record.enrolment().firmware
        assert record.firmware_hash == hashlib.sha256(app).digest()
        kit_slot = self.kit.slot(slot)
        assert record.certificate_serial == kit_slot.serial
        assert (device / "client.pem").read_bytes() == kit_slot.certificate_pem
        name = tree.board_name(board.chip)
        for path, content in self.kit.releases[name].files.items():
            assert (board.files / path[1:]).read_bytes() == content, path
        left = [p for p in board.files.rglob("*") if p.name.endswith((".part", "provisioning"))]
        assert not left
        config = json.loads((device / "config.json").read_text())
        assert config["slot"] == slot and config["board"]["name"] == name
        folder = self.devices / board.mac.replace(":", "")
        stem = f"{slot}_{check_of(slot, kid.hex())}"
        assert {p.name for p in folder.glob("*_*")} == {f"{stem}.svg", f"{stem}.png"}
        return seed
