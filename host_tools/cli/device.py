"""Check a board, or ask an installed device."""

from __future__ import annotations

import click

from host_tools.cli._device_check import check
from host_tools.cli._device_talk import accept, talk, watch


@click.group()
def command() -> None:
    """Check a board, or ask an installed device."""


for _verb in (check, talk, watch, accept):
    command.add_command(_verb)
