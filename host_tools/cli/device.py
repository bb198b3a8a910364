"""Look at an installed device: what it says, its link, its site."""

from __future__ import annotations

import click

from host_tools.cli._device_talk import accept, talk, watch


@click.group()
def command() -> None:
    """Look at an installed device: what it says, its link, its site."""


for _verb in (talk, watch, accept):
    command.add_command(_verb)
