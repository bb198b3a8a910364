"""Begin, check and publish what figures are proved by."""

from __future__ import annotations

import click

from host_tools.cli._evidence_chain import begin, check, commit, receipts


@click.group()
def command() -> None:
    """Begin, check and publish what figures are proved by."""


for verb in (begin, receipts, commit, check):
    command.add_command(verb)
