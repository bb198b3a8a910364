"""Asking before something that takes more along than was named."""

from __future__ import annotations

import sys

import click

from host_tools.cli import Application
from host_tools.common.i18n import _


def confirm(app: Application, consequence: str | None, yes: bool) -> None:
    """Say what else happens, and ask; where nobody can be asked, --yes is needed.

    Args:
        consequence: a sentence; None: nothing else happens.
    """
    if consequence is None:
        return
    app.note(consequence)
    if yes:
        return
    if not sys.stdin.isatty():
        app.abort(_("Nothing was changed. Give --yes to do it all the same."))
    if not click.confirm(_("Do it?"), err=True):
        app.abort(_("Nothing was changed."))
