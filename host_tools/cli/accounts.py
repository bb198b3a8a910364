"""Add, list and disable the accounts of the pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import form_option, user
from host_tools.cli._output import show
from host_tools.common.i18n import _
from host_tools.listings.model import NESTED, UNIX, Column, Listing

if TYPE_CHECKING:
    from host_tools.pages.records import Account, PagesBook


@click.group()
def command() -> None:
    """Add, list and disable the accounts of the pages ('desalink serve')."""


@contextmanager
def _book(app: Application) -> Iterator[PagesBook]:
    from host_tools.pages.records import PagesBook

    with PagesBook.open(app.province.pages_database) as book:
        yield book


def _log(book: PagesBook, action: str, name: str) -> None:

    who = f"{user()} (desalink)"
    book.log(who, f"account.{action}", name, address="", at=int(time.time()))


def _account(app: Application, book: PagesBook, name: str) -> Account:
    found = book.account(name)
    if found is None:
        app.abort(
            _("There is no account '{name}'; 'desalink accounts list' shows them.").format(
                name=name
            )
        )
    return found


def _show(name: str, password: str) -> None:
    text = _("Account {name}, first password: {password}")
    click.echo(text.format(name=name, password=password))
    click.echo(_("It must be changed at the first log-in, and is not shown again."))


@command.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "administrator"]),
    default="viewer",
    show_default=True,
    help="What the account may do.",
)
@click.option(
    "--regency",
    "regencies",
    multiple=True,
    metavar="CODE|NAME",
    help="Where an operator may change something; several times for several.",
)
@pass_app
def add(app: Application, name: str, role: str, regencies: tuple[str, ...]) -> None:
    """Make an account, and show its first password."""
    from host_tools.pages import access
    from host_tools.province.registry import Registry
    from host_tools.province.villages import find_regency

    with Registry.open(app.province.directory, readonly=True) as registry:
        codes = tuple(find_regency(registry, text) for text in regencies)
    with _book(app) as book:
        password = access.add_account(book, name, role, codes, int(time.time()))
        _log(book, "add", name)
    _show(name, password)


@command.command("list")
@form_option
@pass_app
def list_(app: Application, form: str | None) -> None:
    """List the accounts."""

    with _book(app) as book:
        accounts = book.accounts()
    columns = [
        Column("name", _("name")),
        Column("role", _("role")),
        Column(
            "regencies",
            _("regencies"),
            NESTED,
            lambda account: list(account.regencies),
            shown=lambda account: " ".join(account.regencies),
        ),
        Column(
            "codes",
            _("codes"),
            of=lambda account: account.totp is not None,
            shown=lambda account: _("asked for") if account.totp else _("none"),
        ),
        Column("created_at", _("created"), UNIX),
        Column(
            "disabled_at",
            _("state"),
            shown=lambda account: _("disabled") if account.disabled_at else _("active"),
        ),
    ]
    nothing = _("There is no account; add one with 'desalink accounts add NAME'.")
    show(app, Listing("accounts", columns, accounts), form, nothing)


@command.command()
@click.argument("name", metavar="NAME")
@pass_app
def password(app: Application, name: str) -> None:
    """Give an account a new first password.

    Its codes, sessions and tokens end.
    """
    from host_tools.pages import access

    with _book(app) as book:
        its = _account(app, book, name)
        new = access.reset_password(book, its, int(time.time()))
        _log(book, "reset", its.name)
    _show(its.name, new)


@command.command()
@click.argument("name", metavar="NAME")
@click.option("--undo", is_flag=True, help="Enable the account again.")
@pass_app
def disable(app: Application, name: str, undo: bool) -> None:
    """Disable an account; its sessions end at once."""
    with _book(app) as book, book.transaction():
        its = _account(app, book, name)
        book.set_disabled(its.id, None if undo else int(time.time()))
        book.end_sessions(its.id)
        _log(book, "enable" if undo else "disable", its.name)
    text = (
        _("Account {name} may log in again.")
        if undo
        else _("Account {name} can't log in any more.")
    )
    click.echo(text.format(name=its.name))
