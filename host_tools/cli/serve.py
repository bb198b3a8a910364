"""Serve the province's pages to browsers."""

from __future__ import annotations

from dataclasses import replace

import click

from host_tools.cli import Application, pass_app
from host_tools.common.i18n import _


@click.command()
@click.option("--bind", metavar="ADDRESS", help="Listen there. [default: of province.toml]")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="TCP port. [default: of province.toml]"
)
@pass_app
def command(app: Application, bind: str | None, port: int | None) -> None:
    """Serve the province's pages to browsers.

    Settings are in [pages] of province.toml (docs/pages.md). Accounts come from 'desalink accounts
    add'. The pages only read the evidence; what people write there is in pages.db.
    """
    try:
        from host_tools.pages.serving import run
        from host_tools.pages.site import PagesSite
    except ModuleNotFoundError as error:
        app.abort(
            _(
                "The package {name} is missing; install the pages' packages with 'pip install "
                "desalink[pages]'."
            ).format(name=error.name)
        )
    its = app.province.pages
    settings = replace(its, bind=bind or its.bind, port=port or its.port)
    province = replace(app.province, pages=settings)
    scheme = "https" if settings.certificate else "http"
    address = f"{scheme}://{settings.bind}:{settings.port}"
    text = _("The pages are at {address}; end with Ctrl-C.").format(address=address)
    run(PagesSite(province), lambda: app.note(text))
