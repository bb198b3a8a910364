"""What an import of a table says of its bad rows, and when it refuses them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.cli._output import counted
from host_tools.common.i18n import _

if TYPE_CHECKING:
    from host_tools.cli import Application

_MAX_SHOWN = 20


def check_rows(
    app: Application, file: Path, encoding: str, problems: list[str], good: int, skip_bad: bool
) -> str:
    """Print the bad rows; returns the end of the import's own sentence, empty without them.

    Args:
        good: how many rows can be imported.

    Raises:
        DesalinkError: there are bad rows and no --skip-bad, or there is no good row.
    """
    if encoding == "Windows-1252":
        text = _(
            "{file} is not UTF-8; it was read as Windows-1252. Check names with letters such as é."
        )
        app.note(text.format(file=file))
    for problem in problems[:_MAX_SHOWN]:
        app.note(problem)
    if len(problems) > _MAX_SHOWN:
        app.note(_("... and {count} more bad lines").format(count=len(problems) - _MAX_SHOWN))
    bad = counted(len(problems), "bad line")
    if problems and not skip_bad:
        text = _(
            "{file}: {lines} of {count}, nothing was imported; correct them, or import the good "
            "ones with --skip-bad."
        )
        app.abort(text.format(file=file, lines=bad, count=len(problems) + good))
    if not good:
        text = _("{file} holds no row that can be imported; nothing was changed.")
        app.abort(text.format(file=file))
    return _(", {lines} skipped").format(lines=bad) if problems else ""
