"""Check a board, or ask an installed device."""

from __future__ import annotations

import click

from host_tools.cli._device_check import check


@click.group()
def command() -> None:
    """Check a board, or ask an installed device."""


command.add_command(check)
