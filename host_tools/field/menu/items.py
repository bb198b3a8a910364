"""The list of the menu. A new item is a new line in ITEMS; it needs a verb of its own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.devices.boards import board_names, load_board
from host_tools.field.menu.keys import TAB
from host_tools.field.menu.menu import STICK_VARIABLE, Menu, MenuItem
from host_tools.field.menu.screen import Choice
from host_tools.field.menu.trip import Stop, map_order
from host_tools.people.kits import Kit


def _open(menu: Menu) -> list[str] | None:
    stick = os.environ.get(STICK_VARIABLE)
    folders = [Path(stick)] if stick else []
    folders += [Path.cwd(), Path.home(), Path.home() / "Downloads"]
    found = {file.resolve(): file for folder in folders for file in folder.glob("*.desakit")}
    files = list(found.values())
    title = _("Which kit?")
    choices = [Choice(file.name, str(file.parent)) for file in files]
    number = menu.screen.choose(title, [*choices, Choice(_("Another file"))])
    if not isinstance(number, int):
        return None
    if number < len(files):
        file = files[number]
    else:
        name = menu.screen.ask(
            title, _("Path of the kit, such as {path}").format(path="D:\\ani.desakit")
        )
        if not name:
            return None
        file = Path(name).expanduser()
    menu.trip.forget()
    return ["kit", "open", str(file)] if menu.unlock(file) else None


def _provision(menu: Menu) -> list[str] | None:
    kit = menu.kit()
    if kit is None:
        return None
    while (stop := _village(menu)) is not None:
        where = _board(menu, remote=bool(_of_transport(kit, "ssh")))
        arguments = _options(menu, kit, stop, where) if where is not None else None
        if arguments is not None:
            return arguments
    return None


def _village(menu: Menu) -> Stop | None:
    stops = menu.trip.stops()
    orders = [stops, map_order(stops)]
    others = [_("Tab order of the map"), _("Tab order of the kit")]
    has_map = orders[0] != orders[1]
    while True:
        number = menu.screen.choose(
            _("Which village?"),
            [_line(stop) for stop in orders[0]],
            at=next((n for n, stop in enumerate(orders[0]) if not stop.filled), 0),
            note=_("✓ has its device   … was begun on this laptop"),
            filtered=True,
            more=others[0] if has_map else "",
            hotkeys=TAB if has_map else "",
        )
        if isinstance(number, int):
            return orders[0][number]
        if number is None:
            return None
        orders.reverse()
        others.reverse()


def _line(stop: Stop) -> Choice:
    village = stop.slot.village
    title = f"{village.name} …" if stop.begun and not stop.filled else village.name
    return Choice(title, f"{village.district}  {_short(stop)}", stop.filled)


def _short(stop: Stop) -> str:
    """As `--village` takes it: the village's code, where the slot is its first."""
    return stop.slot.slot.removesuffix("-1")


def _of_transport(kit: Kit, transport: str) -> list[str]:
    known = set(board_names())
    return [n for n in kit.releases if n in known and load_board(n).transport == transport]


def _board(menu: Menu, *, remote: bool) -> list[str] | None:
    """Where the device is, as arguments of the verb.

    Args:
        remote: it may be a device that is reached over SSH.
    """
    from host_tools.field.provision.ports import list_ports

    title = _("Where is the board?")
    while True:
        ports = list_ports(menu.ports)
        if len(ports) == 1 and not remote:
            return ["--port", ports[0]]
        if not ports and not remote:
            text = _(
                "No board was found on any USB port. Connect it with a cable that carries data, "
                "then press Enter."
            )
            if not menu.screen.say(title, text):
                return None
            continue
        choices = [Choice(port.rsplit("/", 1)[-1], "--port") for port in ports]
        if remote:
            choices.append(Choice(_("A router or Raspberry Pi in the network"), "--ssh"))
        choices.append(Choice(_("Search again")))
        number = menu.screen.choose(title, choices)
        if not isinstance(number, int):
            return None
        if number < len(ports):
            return ["--port", ports[number]]
        if remote and number == len(ports):
            question = _("User and address, such as {example}").format(example="root@192.168.1.1")
            if target := menu.screen.ask(title, question):
                return ["--ssh", target]


def _options(menu: Menu, kit: Kit, stop: Stop, where: Sequence[str]) -> list[str] | None:
    """The whole command, after the technician has changed what differs."""
    offline, wifi, kind, site = True, "", "", False
    kinds = _of_transport(kit, "ssh" if "--ssh" in where else "serial")
    at = 0
    while True:
        arguments = ["provision", "--village", _short(stop), *where]
        arguments += ["--offline"] if offline else []
        arguments += ["--site"] if site else []
        arguments += ["--wifi", wifi] if wifi else []
        arguments += ["--board", kind] if kind else []
        arguments += ["--replace"] if stop.filled else []
        network = (
            _("The device's network is elsewhere")
            if offline
            else _("The device's network is here")
        )
        choices = {
            "start": Choice(_("Start")),
            "offline": Choice(network, "--offline"),
            "site": Choice(
                _("The site is measured too") if site else _("The site is not measured"), "--site"
            ),
            "wifi": Choice(
                _("Wi-Fi: {name}").format(name=wifi) if wifi else _("Wi-Fi: as in the kit"),
                "--wifi",
            ),
            "board": Choice(
                _("Kind of board: {name}").format(name=kind)
                if kind
                else _("Kind of board: found by its chip"),
                "--board",
            ),
        }
        if len(kinds) < 2:
            del choices["board"]
        if "--ssh" in where:
            del choices["wifi"]
        if offline:
            del choices["site"]
        note = _command(arguments)
        if stop.filled:
            note = _("This village has a device already; the new one replaces it.") + "\n" + note
        number = menu.screen.choose(
            stop.slot.village.name, list(choices.values()), at=at, note=note
        )
        if not isinstance(number, int):
            return None
        at = number
        name = list(choices)[number]
        if name == "start":
            return arguments
        if name == "offline":
            offline, site = not offline, False
        elif name == "site":
            site = not site
        elif name == "wifi":
            wifi = menu.screen.ask(
                _("Another Wi-Fi"),
                _("Name of the network. Its password is asked for when the work starts."),
                default=wifi,
            )
        else:
            which = menu.screen.choose(
                _("Which kind of board?"),
                [Choice(_("found by its chip")), *(Choice(n, load_board(n).title) for n in kinds)],
            )
            if isinstance(which, int):
                kind = kinds[which - 1] if which else ""


def _command(arguments: Sequence[str]) -> str:
    return _("The command: {command}").format(command=shlex.join(["desalink", *arguments]))


def _batch(menu: Menu) -> list[str] | None:
    if menu.kit() is None:
        return None
    left = [stop for stop in menu.trip.stops() if not stop.filled]
    by_map = map_order(left)
    codes = ",".join(map(_short, by_map))
    orders = [
        (_("Villages: in the order of the kit"), []),
        (_("Villages: in the order of the map"), ["--villages", codes]),
        (_("Villages: asked for at each board"), ["--ask"]),
    ]
    if by_map == left:
        del orders[1]
    offline, order, at = True, 0, 0
    while True:
        arguments = ["provision", "--batch", *(["--port", menu.ports] if menu.ports else [])]
        arguments += [*(["--offline"] if offline else []), *orders[order][1]]
        network = (
            _("The device's network is elsewhere")
            if offline
            else _("The device's network is here")
        )
        number = menu.screen.choose(
            _("Many devices"),
            [
                Choice(_("Start")),
                Choice(network, "--offline"),
                Choice(orders[order][0], "--villages, --ask"),
            ],
            at=at,
            note=_(
                "Connect the boards to a hub with its own power. Each gets the next village. "
                "Ctrl-C ends the work."
            )
            + "\n"
            + _command(arguments),
        )
        if not isinstance(number, int):
            return None
        at = number
        if number == 0:
            return arguments
        if number == 1:
            offline = not offline
        else:
            order = (order + 1) % len(orders)


def _file(menu: Menu, title: str, question: str, name: str) -> str:
    folder = Path(os.environ.get(STICK_VARIABLE) or Path.home())
    return menu.screen.ask(title, question, default=str(folder / name))


def _labels(menu: Menu) -> list[str] | None:
    if menu.kit() is None:
        return None
    file = _file(menu, _("Labels"), _("Where to write the sheet (PDF)?"), _("labels.pdf"))
    return ["labels", "--trip", "-o", file] if file else None


def _export(menu: Menu) -> list[str] | None:
    name = _("enrolments-{day}.desalog").format(day=f"{datetime.now():%Y%m%d}")
    question = _("Where to write the file for the office? Nothing in it is secret.")
    file = _file(menu, _("Enrolments"), question, name)
    return ["enrolments", "export", "-o", file] if file else None


def _left(menu: Menu) -> list[str] | None:
    return ["kit", "show", "--left"] if menu.kit() is not None else None


def _visit(verb: str) -> Callable[[Menu], list[str] | None]:
    """What asks where an installed device is, for `desalink device VERB`."""

    def ask(menu: Menu) -> list[str] | None:
        where = _board(menu, remote=True)
        return ["device", verb, where[-1]] if where is not None else None

    return ask


def _accept(menu: Menu) -> list[str] | None:
    return _visit("accept")(menu) if menu.kit() is not None else None


ITEMS = (
    MenuItem(lambda: _("Open the kit"), "kit open", _open),
    MenuItem(lambda: _("Check this laptop"), "doctor", lambda menu: ["doctor"]),
    MenuItem(lambda: _("Set up one device"), "provision --village", _provision),
    MenuItem(lambda: _("Set up many devices"), "provision --batch", _batch),
    MenuItem(lambda: _("What is left to do"), "kit show --left", _left),
    MenuItem(lambda: _("Print the labels of this trip"), "labels --trip", _labels),
    MenuItem(lambda: _("Hand the enrolments over"), "enrolments export", _export),
    MenuItem(lambda: _("Look at an installed device"), "device talk", _visit("talk")),
    MenuItem(lambda: _("Point the antenna"), "device watch", _visit("watch")),
    MenuItem(lambda: _("Measure the site"), "device accept", _accept),
)
