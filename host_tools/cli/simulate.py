"""Make a simulated province, with signed reports and the truth about them."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.cli._output import print_json
from host_tools.common.i18n import _, number
from host_tools.common.times import DAY_S, WITA

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.simulate.world import SimulationSettings

_SHOW_EVERY_S = 10


@click.command()
@click.argument("directory", type=PATH, metavar="DIR")
@click.option("--villages", type=int, default=841, show_default=True, help="How many villages.")
@click.option(
    "--days", type=click.IntRange(0, 3660), default=2, show_default=True, help="How many days."
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Another seed is another province."
)
@click.option(
    "--begin",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2026-01-01",
    show_default=True,
    metavar="DATE",
    help="The first day (WITA).",
)
@click.option(
    "--report-every",
    type=click.IntRange(60, 86400),
    default=300,
    show_default=True,
    metavar="S",
    help="Seconds that one report covers; more makes long times cheap.",
)
@click.option(
    "--contracts", is_flag=True, help="With contracts and events, so that its months count."
)
@click.option("--trusted", is_flag=True, help="Store without verifying: faster.")
@click.option(
    "--mqtt", "over_mqtt", is_flag=True, help="Publish to the province's running broker."
)
@click.option(
    "--pace",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    metavar="X",
    help="With --mqtt: simulated seconds in a second.",
)
@click.option(
    "--broker-port", type=int, default=8883, show_default=True, help="TCP port of its broker."
)
@click.option(
    "--compare",
    "only_compare",
    is_flag=True,
    help="Compare what is derived in DIR with the truth.",
)
@click.option("--json", "as_json", is_flag=True, help="With --compare: as JSON.")
@pass_app
def command(
    app: Application,
    directory: Path,
    villages: int,
    days: int,
    seed: int,
    begin: datetime,
    report_every: int,
    contracts: bool,
    trusted: bool,
    over_mqtt: bool,
    pace: float,
    broker_port: int,
    only_compare: bool,
    as_json: bool,
) -> None:
    """Make a simulated province in DIR, with signed reports and the truth about them.

    Nothing in it is real: its name says SIMULATED, and everybody knows its passphrase. The same
    options make the same bytes. With --mqtt, the first call makes the province without reports;
    start its broker and give the same command again.
    """
    from host_tools.simulate.world import SimulationSettings

    if only_compare:
        _compare(directory, as_json)
        return
    if as_json:
        app.abort(_("--json is for --compare; add it."), 2)
    if report_every % 5:
        app.abort(
            _("--report-every {report_every} is not a multiple of 5; give one that is.").format(
                report_every=report_every
            ),
            2,
        )
    first = int(begin.replace(tzinfo=WITA).timestamp())
    settings = SimulationSettings(villages, days, seed, first, report_every)
    if over_mqtt:
        if contracts:
            app.abort(_("--contracts does not go with --mqtt; leave one out."), 2)
        _publish(app, directory, settings, pace, broker_port)
    else:
        _fill(app, directory, settings, trusted, broker_port, contracts)


def _fill(
    app: Application,
    directory: Path,
    settings: SimulationSettings,
    trusted: bool,
    port: int,
    contracts: bool,
) -> None:
    from host_tools.ingest.receipting import PAUSE_S, ProvinceReceipts, close_all, last_midnight
    from host_tools.simulate import truth
    from host_tools.simulate.contracts import add_contracts
    from host_tools.simulate.province import found, places
    from host_tools.simulate.run import run
    from host_tools.simulate.storing import TrustedStore, VerifiedStore, derive_rest
    from host_tools.simulate.world import World
    from host_tools.store import lock, open_database

    its_places = places(settings.villages)
    world = World(settings, its_places)
    villages = [world.village(index) for index in range(len(its_places))]
    province = found(directory, settings, villages, port=port, tell=app.note)
    if contracts:
        add_contracts(directory, settings, villages, world)
    with lock(province.database):
        path = province.database
        store = TrustedStore(path) if trusted else VerifiedStore(path, villages)
        lines = run(settings, its_places, store, progress=_progress(app, settings))
        store.close()
        with open_database(path) as db:
            source = ProvinceReceipts(province)
            first = last_midnight(settings.begin) + DAY_S
            for midnight in range(first, settings.end + 1, DAY_S):
                close_all(db, source, midnight + PAUSE_S, time.time)
            app.note(_("Deriving states, outages and usage from the reports ..."))
            derive_rest(db)
    truth.write(directory / truth.FILE, settings, lines)
    click.echo(
        _(
            "The simulated province with {villages} villages is in {directory}; the truth is in "
            "{file}."
        ).format(villages=settings.villages, directory=directory, file=directory / truth.FILE)
    )
    click.echo(_("Next: 'desalink simulate {directory} --compare'.").format(directory=directory))


def _publish(
    app: Application, directory: Path, settings: SimulationSettings, pace: float, port: int
) -> None:
    from host_tools.simulate import truth
    from host_tools.simulate.mqtt import MqttStore
    from host_tools.simulate.province import found, load_simulated, places
    from host_tools.simulate.run import run
    from host_tools.simulate.world import FILE, World

    its_places = places(settings.villages)
    world = World(settings, its_places)
    villages = [world.village(index) for index in range(len(its_places))]
    if not (directory / FILE).exists():
        found(directory, settings, villages, port=port, tell=app.note)
        click.echo(
            _(
                "The simulated province is in {directory}. Next: 'desalink -C {directory} broker "
                "run' and 'desalink -C {directory} ingest', then this command again."
            ).format(directory=directory)
        )
        return
    province, kept = load_simulated(directory)
    if kept != settings:
        app.abort(
            _("{directory} was made with other options; give those in {file}.").format(
                directory=directory, file=directory / FILE
            )
        )
    store = MqttStore(province, pace, settings.begin)
    store.prepare([village.slot for village in villages if village.devices])
    lines = run(settings, its_places, store, progress=_progress(app, settings))
    store.close()
    truth.write(directory / truth.FILE, settings, lines)
    click.echo(
        _("All is published; the truth is in {directory}.").format(
            directory=directory / truth.FILE
        )
    )


def _progress(app: Application, settings: SimulationSettings) -> Callable[[int, int], None]:
    began = shown = time.monotonic()

    def show(at: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _SHOW_EVERY_S:
            shown = now
            part = 100 * (at - settings.begin) / (settings.end - settings.begin)
            app.note(
                _("{part} %, {messages} messages, {rate}/s").format(
                    part=f"{part:5.1f}", messages=total, rate=number(total / (now - began))
                )
            )

    return show


def _compare(directory: Path, as_json: bool) -> None:
    from host_tools.simulate import truth
    from host_tools.simulate.compare import compare
    from host_tools.simulate.province import load_simulated
    from host_tools.simulate.storing import derive_rest
    from host_tools.store import lock, open_database

    province, _settings = load_simulated(directory)
    with lock(province.database), open_database(province.database) as db:
        derive_rest(db)
        compared = compare(db, directory / truth.FILE)
    if as_json:
        print_json(
            {
                "total": vars(compared.total),
                "wrong_clocks": vars(compared.wrong_clocks),
                "villages": [vars(village) for village in compared.villages],
            }
        )
    else:
        click.echo(compared.text())
