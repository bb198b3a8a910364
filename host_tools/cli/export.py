"""Export how villages are now, for another system."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import Where, provider_option, where_options
from host_tools.cli._store import scope
from host_tools.common.files import write_file
from host_tools.common.i18n import _

_FORMATS = ("netjson", "senml")


@click.command()
@click.argument("form", metavar="netjson|senml", type=click.Choice(_FORMATS))
@where_options(provider_option)
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Else it is printed."
)
@pass_app
def command(
    app: Application,
    form: str,
    where: Where,
    output: Path | None,
) -> None:
    """Export how villages are now, for another system.

    The format is NetJSON (a NetworkCollection of DeviceMonitoring) or SenML (RFC 8428).

    Figures for payment are not in there: these come from 'desalink report' and its evidence.
    """
    from host_tools.exports import netjson, senml
    from host_tools.store.queries import status

    now = int(time.time())
    with scope(app, where) as its:
        villages = {v.code: v for v in its.registry.villages()}
        known = status(its.database, now) if its.database else []
        rows = [row for row in known if its.covers(row.slot)]
    found = netjson.collection(rows, villages, now) if form == "netjson" else senml.pack(rows, now)
    text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        write_file(output, text.encode())
        app.note(_("{slots} slots are in {file}.").format(slots=len(rows), file=output))
