"""Publish what figures are proved by, export it, and check it."""

from __future__ import annotations

import click

from host_tools.cli._evidence_chain import begin, check, commit, lost, receipts, renew_keys
from host_tools.cli._evidence_file import export, verify


@click.group()
def command() -> None:
    """Publish what figures are proved by, export it, and check it."""


for verb in (begin, receipts, commit, check, lost, renew_keys, export, verify):
    command.add_command(verb)
