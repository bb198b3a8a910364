"""Publish, export and check the evidence behind the figures."""

from __future__ import annotations

import click

from host_tools.cli._evidence_chain import begin, check, commit, lost, receipts, renew_keys
from host_tools.cli._evidence_file import export, verify


@click.group()
def command() -> None:
    """Publish, export and check the evidence behind the figures."""


for verb in (begin, receipts, commit, check, lost, renew_keys, export, verify):
    command.add_command(verb)
