"""A month's figures for eyes and for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from host_tools.common.i18n import local
from host_tools.common.times import day
from host_tools.contracts.accounting import ContractTime
from host_tools.contracts.months import SlotMonth, rounded
from host_tools.contracts.rules import KINDS
from host_tools.listings.model import Listing, positional_columns

_COLUMNS = (
    "slot,village,district,regency,provider,product,medium,mbps,target_percent,from,to,"
    "availability_percent,worst_percent,best_percent,"
    + ",".join(f"{kind}_s" for kind in KINDS)
    + ",charged_outages,price_rupiah,restitution_rupiah"
).split(",")


def percent(share: Fraction | None, digits: int = 3) -> str:
    """A share of 1 as `99.123 %`, rounded half up; `-`: not known."""
    return "-" if share is None else f"{local(decimal(share, digits))} %"


def decimal(share: Fraction, digits: int = 3) -> str:
    """A share of 1 in per cent, rounded half up."""
    whole = rounded(share * 100 * 10**digits)
    return f"{whole // 10**digits}.{whole % 10**digits:0{digits}d}"


def rupiah(amount: Fraction | int) -> str:
    """`Rp 1.150.000`."""
    return "Rp " + f"{rounded(Fraction(amount)):,}".replace(",", ".")


def minutes(seconds: int) -> str:
    """Seconds as minutes, rounded half up."""
    return local(f"{rounded(Fraction(seconds, 60)):,}")


def _row(one: SlotMonth, piece: ContractTime) -> list[str | int]:
    """A piece of a slot's month, as `_COLUMNS` name it."""
    contract = piece.contract
    its: list[str | int] = [""] * 5
    if contract is not None:
        target = decimal(contract.target, 4)
        its = [contract.provider, contract.product, contract.medium, contract.mbps, target]
    shares = (piece.availability, piece.worst, piece.best)
    return [
        one.slot,
        one.village.name,
        one.village.district,
        one.village.regency,
        *its,
        day(piece.begin),
        day(piece.end - 1),
        *("" if share is None else decimal(share) for share in shares),
        *(piece.seconds[kind] for kind in KINDS),
        len(piece.charged),
        rounded(piece.price),
        rounded(piece.restitution),
    ]


def figures_table(slots: Iterable[SlotMonth]) -> Listing:
    """The figures of a month for spreadsheets: a row for each piece of a slot's month."""
    rows = [_row(one, piece) for one in slots for piece in one.pieces]
    return Listing("figures", positional_columns(_COLUMNS), rows)
