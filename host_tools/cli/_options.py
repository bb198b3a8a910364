"""The options that several verbs have."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import click

from host_tools.cli import PATH

Command = Callable[..., Any]


def user() -> str:
    """Who is logged in on this machine; "?" for an account without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "?"


by_option = click.option(
    "--by",
    metavar="NAME",
    callback=lambda _context, _option, name: name or user(),
    help="Who does it. [default: the user of this machine]",
)
why_option = click.option("--why", required=True, metavar="TEXT", help="Why; kept on record.")
yes_option = click.option("--yes", is_flag=True, help="Do it without asking.")

# ---- which villages, which time ----------------------------------------------------------

village_option = click.option(
    "--village", metavar="CODE|NAME", help="Only this village, e.g. 6403112001."
)
regency_option = click.option(
    "--regency", metavar="CODE|NAME", help="Only this regency, e.g. 6403 or Berau."
)
provider_option = click.option(
    "--provider", metavar="NAME", help="Only villages of this provider ('desalink villages')."
)
contract_option = click.option("--provider", metavar="NAME", help="Only of this provider.")


class Where(NamedTuple):
    """Which villages a person means; all of it None: every village."""

    village: str | None
    regency: str | None
    provider: str | None


def where_options(provider: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """--village, --regency and --provider as one parameter `where`.

    Args:
        provider: its option: by villages, or by contracts.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def packed(
            *args: Any,
            village: str | None,
            regency: str | None,
            provider: str | None,
            **others: Any,
        ) -> Any:
            return command(*args, where=Where(village, regency, provider), **others)

        return village_option(regency_option(provider(packed)))

    return decorate


since_option = click.option(
    "--since", metavar="TIME", help="Since then: 24h, 7d, 2026-11-24 or '2026-11-24 15:00' (WITA)."
)
until_option = click.option("--until", metavar="TIME", help="Until then; as --since.")
month_option = click.option(
    "--month", required=True, metavar="MONTH", help="The month, e.g. 2026-10."
)

# ---- how it is shown ---------------------------------------------------------------------

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")
csv_option = click.option("--csv", "as_csv", is_flag=True, help="As CSV, without a limit.")


def form_option(verb: Command) -> Command:
    """How a listing is shown: `form` is the name of a file's format, None: a table for eyes."""
    as_json = click.option("--json", "form", flag_value="json", default=None, help="As JSON.")
    as_csv = click.option("--csv", "form", flag_value="csv", help="As CSV, without a limit.")
    return as_csv(as_json(verb))


limit_option = click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many."
)
# ---- on a technician's laptop ------------------------------------------------------------

kit_option = click.option(
    "--kit",
    "kit_path",
    type=PATH,
    metavar="DIR",
    help="The opened kit. [default: DESALINK_KIT, else ~/.local/share/desalink/kit]",
)
kit_passphrase_option = click.option(
    "--kit-passphrase-file",
    type=PATH,
    metavar="FILE",
    help="Read the kit's passphrase from the first line of FILE (else DESALINK_KIT_PASSPHRASE, "
    "else asked).",
)
slot_number_option = click.option(
    "--slot-number",
    "number",
    type=click.IntRange(1, 999),
    default=1,
    show_default=True,
    help="Which access point of the village.",
)
