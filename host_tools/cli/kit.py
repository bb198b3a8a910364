"""Pack, open, show, verify and revoke technicians' kits."""

from __future__ import annotations

import click

from host_tools.cli._kit_laptop import open_, show, verify
from host_tools.cli._kit_office import create, list_, revoke


@click.group()
def command() -> None:
    """Pack, open, show, verify and revoke technicians' kits.

    A kit is one encrypted file with all that a technician needs on a trip: certificates and
    settings of the villages' devices, firmware, the agent, and the key that countersigns
    enrolments. It has its own passphrase; send it separately from the kit.
    """


for _verb in (create, list_, revoke, open_, show, verify):
    command.add_command(_verb)
