"""A full-screen guide for technicians: from the kit to the last enrolment."""

from __future__ import annotations

import sys

import click

from host_tools.cli import Application, pass_app, run
from host_tools.common.i18n import _


@click.command()
@click.option(
    "--port",
    metavar="PORT",
    help="Serial port of the boards, or a pattern such as '/dev/ttyUSB*'. [default: found]",
)
@pass_app
def command(app: Application, port: str | None) -> None:
    """A full-screen guide for technicians: from the kit to the last enrolment.

    It asks only what is needed. All that it does is a verb of desalink, which it shows. The
    keyboard alone is enough: arrows, Enter and Esc.
    """
    from rich.console import Console

    from host_tools.field.menu.items import ITEMS
    from host_tools.field.menu.keys import keyboard
    from host_tools.field.menu.menu import Menu
    from host_tools.field.menu.screen import MenuScreen
    from host_tools.field.menu.trip import Trip
    from host_tools.people.kits import find_directory

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        app.abort(_("The menu needs a terminal; without one, use the verbs ('desalink --help')."))
    screen = MenuScreen(Console(), keyboard)
    try:
        Menu(screen, Trip(find_directory()), ITEMS, run, port).show()
    except EOFError:
        pass  # the terminal was closed
