"""List the boards of the agent, or check their files."""

from __future__ import annotations

from dataclasses import asdict
from operator import itemgetter
from typing import Any

import click

from host_tools.cli import Application, pass_app
from host_tools.cli._options import form_option, json_option
from host_tools.cli._output import print_json, show
from host_tools.common.i18n import _
from host_tools.listings.model import CODE, Column, Listing, keyed_columns


@click.group(invoke_without_command=True)
@form_option
@click.pass_context
def command(ctx: click.Context, form: str | None) -> None:
    """List the boards of the agent, or check their files."""
    if ctx.invoked_subcommand is not None:
        return
    from host_tools.devices.boards import all_boards

    boards = [
        {key: value for key, value in asdict(board).items() if key != "directory"}
        for board in all_boards()
    ]
    columns = [
        *keyed_columns(boards),
        Column("", _("board"), CODE, itemgetter("name")),
        Column("", _("what"), of=itemgetter("title")),
        Column("", _("chip"), of=itemgetter("chip")),
        Column("", _("flash"), of=_flash, right=True),
        Column("", _("transport"), of=itemgetter("transport")),
        Column("", _("firmware"), of=_firmware),
        Column("", _("such as"), of=lambda board: ", ".join(board["also_for"])),
    ]
    app = ctx.find_object(Application)
    assert app is not None
    show(app, Listing("boards", columns, boards), form)


def _flash(board: dict[str, Any]) -> str:
    return f"{board['flash_size'] >> 20} MB" if board["flash_size"] else ""


def _firmware(board: dict[str, Any]) -> str:
    return f"MicroPython {board['firmware']['version']}" if board["firmware"] else ""


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@pass_app
def check(app: Application, names: tuple[str, ...], as_json: bool) -> None:
    """Check each board's board.toml and release.

    All boards, or the named ones. The check compiles the agent for each board.
    """
    from host_tools.devices.boards import board_names

    checked = [_check(name) for name in names or board_names()]
    if as_json:
        print_json(checked)
    else:
        _tell(app, checked)
    wrong = sum(board["error"] is not None for board in checked)
    if wrong:
        app.abort(
            _("{wrong} of {count} boards are wrong; see above.").format(
                wrong=wrong, count=len(checked)
            )
        )


def _check(name: str) -> dict[str, Any]:
    """What a board's release is like; error: why there is none."""
    from host_tools.devices.boards import BoardError, load_board
    from host_tools.devices.release import ReleaseError, build_release

    try:
        board = load_board(name)
        release = build_release(board)
    except (BoardError, ReleaseError) as error:
        return {"name": name, "error": str(error)}
    firmware = board.firmware
    return {
        "name": name,
        "error": None,
        "files": len(release.files),
        "bytes": sum(map(len, release.files.values())),
        "firmware": firmware and firmware.file,
        "pinned": firmware and bool(firmware.sha256),
    }


def _tell(app: Application, checked: list[dict[str, Any]]) -> None:
    for board in checked:
        if board["error"] is not None:
            app.note(board["error"])
            continue
        click.echo(
            _("{name}: {count} files, {size} KB").format(
                name=board["name"], count=board["files"], size=board["bytes"] // 1024
            )
        )
        if board["pinned"] is False:
            click.echo(
                _(
                    "{name}: firmware {file} is not pinned here; a province pins its own with "
                    "'desalink firmware add FILE --pin'."
                ).format(name=board["name"], file=board["firmware"])
            )
