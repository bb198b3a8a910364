"""Build the packages that routers install."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from host_tools.cli import PATH
from host_tools.common.files import write_file
from host_tools.common.i18n import _


@click.group()
def command() -> None:
    """Build the packages that routers install."""


@command.command()
@click.option(
    "-o",
    "--output",
    "directory",
    type=PATH,
    default=Path("."),
    metavar="DIR",
    help="Folder for it. [default: here]",
)
@click.option(
    "--interpreter",
    type=click.Choice(["micropython", "python3"]),
    default="micropython",
    show_default=True,
    help="The interpreter that runs the agent; a dependency of the package.",
)
def openwrt(directory: Path, interpreter: str) -> None:
    """Build the .ipk of the agent for OpenWrt.

    One package is for routers of every architecture. The same source gives the same bytes.
    """
    from host_tools.devices.packages.openwrt import build_openwrt

    name, package = build_openwrt(interpreter)
    directory.mkdir(parents=True, exist_ok=True)
    write_file(directory / name, package)
    click.echo(
        _("{directory}: {count} bytes").format(directory=directory / name, count=len(package))
    )
    click.echo(f"SHA-256 {hashlib.sha256(package).hexdigest()}")
