"""The opened kit and the measuring of a site: options and texts of several verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli import PATH
from host_tools.common.i18n import _

if TYPE_CHECKING:
    from host_tools.field.enrolments import MeasuredSite
    from host_tools.people.kits import Kit, KitDirectory

measure_option = click.option(
    "--measure",
    "seconds",
    type=click.IntRange(1, 3600),
    metavar="SECONDS",
    default=120,
    show_default=True,
    help="How long the site is measured.",
)
photo_option = click.option(
    "--photo",
    "photos",
    type=PATH,
    metavar="FILE",
    multiple=True,
    help="A photograph for the acceptance sheet; up to three.",
)


def opened_kit(given: Path | None, passphrase_file: Path | None) -> tuple[KitDirectory, Kit]:
    """The opened kit and its directory.

    Raises:
        KitError: there is none, it is not open, or it expired.
    """
    from host_tools.people.kits import KitDirectory, find_directory, passphrase
    from host_tools.people.kits.model import KitError
    from host_tools.people.kits.opened import refuse_expired

    path = find_directory(given)
    if path.is_file():
        raise KitError(
            _(
                "{path} is a kit that is not open yet; open it with 'desalink kit open {path}', "
                "then run the same command without --kit."
            ).format(path=path)
        )
    directory = KitDirectory(path)
    # Do not ask for the passphrase of an expired kit.
    refuse_expired(directory.header().expires, path)
    return directory, directory.open(passphrase.existing(passphrase_file))


def show_site(site: MeasuredSite, sheet: Path) -> None:
    """Print what was measured, what to look at, and where the sheet is."""
    from host_tools.field.enrolments.site import named
    from host_tools.field.talk.about import figure_lines
    from host_tools.field.talk.advice import advice
    from host_tools.states.words import state_sentence
    from host_tools.wire.vocabulary import state_name

    state = state_name(site.state)
    click.echo(
        _("Site: {state}; {up} of {rounds} rounds reached the internet.").format(
            state=state_sentence(state), up=site.up, rounds=site.rounds
        )
    )
    for line in figure_lines(named(site.figures)):
        click.echo(f"  {line}")
    for name, answers in site.usage.items():
        text = _("{source} answers") if answers else _("{source} does not answer")
        click.echo("  " + text.format(source=name))
    what_next = advice(state, site.province)
    if what_next:
        click.echo(what_next)
    click.echo(
        _("Print the acceptance sheet and have the village's officer sign it: {path}").format(
            path=sheet
        )
    )
