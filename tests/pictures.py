"""The pictures of docs/images that show what a technician sees: `python -m tests.pictures`.

Drawn by the product's own code, never by hand.
"""

from __future__ import annotations

import io
from contextlib import nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from host_tools.common.i18n import set_language
from host_tools.demo.picture import draw, recorded
from host_tools.field.labels import Label
from host_tools.field.labels.drawing import svg
from host_tools.field.menu.items import ITEMS
from host_tools.field.menu.menu import Menu
from host_tools.field.menu.screen import MenuScreen
from host_tools.field.menu.trip import Trip
from host_tools.field.provision.batch import result_text
from host_tools.field.provision.flow import STEPS, DeviceResult
from host_tools.field.provision.network import network_error
from host_tools.field.provision.screen import ProvisionScreen
from host_tools.people.kits import Kit, KitDevice, KitSlot
from host_tools.province.records import Village
from tests.support import ROOT

IMAGES = ROOT / "docs" / "images"

LABEL = Label(
    slot="6403112001-1",
    village_name="Bohe Silian",
    district="Maratua",
    regency="Kabupaten Berau",
    kid="3fa291bc0d5e7788",
    unique_id="7c:9e:bd:12:34:56",
    board="esp32-generic",
)

# Port, MAC, village, steps that are over, how far the next one is, seconds; None: it has ended.
_BOARDS = (
    ("ttyUSB0", "7c:9e:bd:12:34:56", "6403112001", "Bohe Silian", len(STEPS), None, 74),
    ("ttyUSB1", "7c:9e:bd:12:34:7a", "6403112002", "Payung-Payung", 2, 0.6, 31),
    ("ttyUSB2", "7c:9e:bd:12:35:02", "6403112003", "Teluk Alulu", 6, None, 58),
    ("ttyACM0", "34:85:18:a1:00:2c", "6403112004", "Teluk Harapan", 4, 0.0, 43),
)


def _batch() -> ProvisionScreen:
    """A hub with four boards: one is ready, one has failed, two are at work."""
    screen = ProvisionScreen()
    for port, mac, code, name, over, share, seconds in _BOARDS:
        row = screen.row(f"/dev/{port}")
        row.mac, row.slot, row.village = mac, f"{code}-1", name
        row.states = {step: "done" for step in STEPS[:over]}
        if over < len(STEPS):
            row.states[STEPS[over]] = "running" if share is not None else "failed"
        if share is not None:
            row.progress(share)
        elif over == len(STEPS):
            done = DeviceResult(row.port, mac, f"{code}-1", name, "esp32-generic", LABEL.kid)
            done.check = LABEL.check
            row.ended = result_text(done, None)
        else:
            error = network_error("no_access_point", "", "localhost", 8883)
            row.ended, row.failed = result_text(DeviceResult(row.port), error), True
        row.seconds = seconds
    return screen


def _menu(folder: Path, *pressed: str) -> str:
    """The menu on a laptop with a kit of four villages, after some keys."""
    (folder / "kit.desakit").touch()
    slots = {
        f"{code}-1": KitSlot(f"{code}-1", Village(code, name, "Maratua", "Berau"), {}, ())
        for _port, _mac, code, name, *_rest in _BOARDS
    }
    done = KitDevice("6403112001-1", bytes.fromhex(LABEL.kid), LABEL.unique_id, LABEL.board)
    values = dict.fromkeys(field.name for field in fields(Kit))
    values |= {"technician": "Ani", "expires": 1_800_000_000, "slots": slots}
    values |= {"enrolled": (done,), "imported": {}, "releases": {}}
    console = Console(
        record=True,
        width=80,
        height=19,
        file=io.StringIO(),
        force_terminal=True,
        legacy_windows=False,
    )
    left = iter(pressed)

    class Pressed:
        def key(self) -> str:
            key = next(left, None)
            if key is None:
                raise EOFError
            console.export_text(clear=True)
            return key

    menu = Menu(MenuScreen(console, lambda: nullcontext(Pressed())), Trip(folder), ITEMS, len)
    menu.trip.kit = Kit(**values)
    with suppress(EOFError):
        menu.show()
    return recorded(console, "desalink menu")


def pictures() -> dict[Path, str]:
    """Each picture's file and content."""
    drawn = {IMAGES / "label.svg": svg(LABEL)}
    for language, name in (("en", "provision.svg"), ("id", "provision-id.svg")):
        set_language(language)
        drawn[IMAGES / name] = draw(_batch().table(), "desalink provision --batch")
        ending = name.removeprefix("provision")
        with TemporaryDirectory() as folder:
            drawn[IMAGES / f"menu{ending}"] = _menu(Path(folder))
            drawn[IMAGES / f"menu-village{ending}"] = _menu(Path(folder), "3")
    set_language(None)
    return drawn


if __name__ == "__main__":
    for path, content in pictures().items():
        path.write_text(content)
