"""Add MicroPython firmware to the province's cache, or list it."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._options import form_option
from host_tools.cli._output import show
from host_tools.common.i18n import _, marked
from host_tools.listings.model import CODE, Column, Listing


@click.group()
def command() -> None:
    """Add MicroPython firmware to the province's cache, or list it.

    desalink never downloads firmware: fetch the file shown by 'firmware list', then add it.
    """


def _directory(app: Application) -> Path:
    return app.province.directory / "firmware"


@command.command()
@click.argument("file", type=PATH, metavar="FILE.bin")
@click.option("--sha256", metavar="HASH", help="The file's hash, from another source.")
@click.option("--pin", is_flag=True, help="Trust this file: record its hash.")
@click.option("--board", metavar="BOARD", help="The board, if the file's name does not show it.")
@pass_app
def add(app: Application, file: Path, sha256: str | None, pin: bool, board: str | None) -> None:
    """Check a firmware's hash and image, and store it in the province.

    The hash must be known: from board.toml, from an earlier add, from --sha256, or --pin.
    """
    from host_tools.devices.firmware import FirmwareCache

    firmware = FirmwareCache(_directory(app)).add(file, sha256=sha256, pin=pin, board=board)
    click.echo(
        _("{file}: MicroPython {version}, SHA-256 {sha256}").format(
            file=firmware.file, version=firmware.version, sha256=firmware.sha256
        )
    )


@command.command("list")
@form_option
@pass_app
def list_(app: Application, form: str | None) -> None:
    """List each board's firmware and its state."""
    from host_tools.devices.boards import all_boards
    from host_tools.devices.firmware import FirmwareCache, FirmwareError

    cache = FirmwareCache(_directory(app))
    rows = []
    for board in all_boards():
        firmware = cache.firmware(board)
        if firmware is None:
            continue
        try:
            cache.path(board)
            state = marked("here")
        except FirmwareError:
            there = (cache.directory / firmware.file).exists()
            state = marked("changed") if there else marked("missing")
        rows.append((board.name, firmware.version, state, firmware.file, firmware.url))
    columns = [
        Column("board", _("board"), CODE, itemgetter(0)),
        Column("version", _("version"), of=itemgetter(1)),
        Column("state", _("state"), CODE, itemgetter(2), shown=lambda row: _(row[2])),
        Column("file", _("file"), of=itemgetter(3)),
        Column("url", _("url"), of=itemgetter(4)),
    ]
    show(app, Listing("firmware", columns, rows), form)
