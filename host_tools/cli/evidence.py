"""Export the evidence of a month's figures, and check such a file."""

from __future__ import annotations

import click

from host_tools.cli._evidence_file import export, verify


@click.group()
def command() -> None:
    """Export the evidence of a month's figures, and check such a file."""


command.add_command(export)
command.add_command(verify)
