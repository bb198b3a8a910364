"""Build the packages that routers install."""

from __future__ import annotations

from pathlib import Path

import click

from host_tools.cli import PATH


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
    help="Where to put it. [default: here]",
)
@click.option(
    "--interpreter",
    type=click.Choice(["micropython", "python3"]),
    default="micropython",
    show_default=True,
    help="What the package has the router install to run the agent.",
)
def openwrt(directory: Path, interpreter: str) -> None:
    """Build the .ipk of the agent for OpenWrt.

    One package serves routers of every architecture. Built again from the same source it has the
    same bytes.
    """
    import hashlib

    from host_tools.common.files import write_file
    from host_tools.devices.packages.openwrt import build_openwrt

    name, package = build_openwrt(interpreter)
    directory.mkdir(parents=True, exist_ok=True)
    write_file(directory / name, package)
    click.echo(f"{directory / name}: {len(package)} bytes")
    click.echo(f"SHA-256 {hashlib.sha256(package).hexdigest()}")
