"""Make the folder with which a technician's laptop starts without network."""

from __future__ import annotations

from pathlib import Path

import click

from host_tools.cli import PATH, Application, pass_app
from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _


@click.group()
def command() -> None:
    """Make the folder with which a technician's laptop starts without network.

    It goes onto a USB stick. On the laptop a double click on Mulai.cmd (Windows) or 'sh mulai.sh'
    (Linux, macOS) is all that is needed.
    """


@command.command()
@click.argument("directory", type=PATH, metavar="DIR")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="NAME",
    help="windows-x64, linux-x64 or macos-arm64; may be repeated. [default: windows-x64]",
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="VERSION",
    help="Versions of Python that the laptops have; may be repeated. [default: 3.11 3.12 3.13]",
)
@click.option("--kit", type=PATH, metavar="FILE", help="The kit that goes along, still encrypted.")
@click.option(
    "--wheel", type=PATH, metavar="FILE", help="desalink's own wheel. [default: built here]"
)
@pass_app
def create(
    app: Application,
    directory: Path,
    platforms: tuple[str, ...],
    pythons: tuple[str, ...],
    kit: Path | None,
    wheel: Path | None,
) -> None:
    """Make a stick, or renew one.

    The packages are fetched by pip from the index that this machine is set up with, in the
    versions that are installed here. The stick records the hash of each, and the laptop checks it.
    """
    from host_tools.field.stick.create import PYTHONS, create_stick
    from host_tools.field.stick.interpreter import Interpreters
    from host_tools.field.stick.platforms import platform_named

    chosen = [platform_named(name) for name in dict.fromkeys(platforms or ("windows-x64",))]
    try:
        interpreters = Interpreters(app.province.directory / "python")
    except ProvinceError:
        interpreters = None
    create_stick(
        directory,
        chosen,
        pythons or PYTHONS,
        kit=kit,
        interpreters=interpreters,
        wheel=wheel,
        progress=app.note,
    )
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    click.echo(
        _("The stick is in {place} ({size} MB).").format(place=directory, size=size // 1_000_000)
    )
    for platform in chosen:
        if interpreters is None or interpreters.archive(platform) is None:
            app.note(
                _(
                    "It has no Python for {platform}: laptops need their own. 'desalink stick "
                    "python FILE' adds one."
                ).format(platform=platform.name)
            )


@command.command()
@click.argument("file", type=PATH, metavar="FILE.tar.gz")
@click.option("--sha256", metavar="HASH", help="The file's hash, as you know it from elsewhere.")
@click.option("--pin", is_flag=True, help="Trust this very file: its hash counts from now on.")
@pass_app
def python(app: Application, file: Path, sha256: str | None, pin: bool) -> None:
    """Keep a Python in the province, for laptops that have none.

    desalink downloads none: fetch a build "install_only" of python-build-standalone for the
    laptops' system, and keep its name.
    """
    from host_tools.field.stick.interpreter import Interpreters

    digest = Interpreters(app.province.directory / "python").add(file, sha256=sha256, pin=pin)
    click.echo(f"{file.name}: SHA-256 {digest}")
