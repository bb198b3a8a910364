"""Closed months: their figures, verified against their digest; and the public page."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from threading import Lock
from typing import Any

from starlette.responses import Response

from host_tools.common.i18n import _
from host_tools.contracts.months import MonthError
from host_tools.contracts.rules import DOWN, UNKNOWN
from host_tools.listings.model import NUMBER, SHARE, SPAN, TIME, Column
from host_tools.pages.listing import LINK, VILLAGE, FilterChoice, ListPage, page_of, regency_choice
from host_tools.pages.serving import PageRoute
from host_tools.pages.snapshot import Snapshot
from host_tools.pages.visits import NotFound, PageVisit
from host_tools.province.contract_records import ClosedMonth

_read: dict[bytes, list[dict[str, Any]]] = {}
_MOST_READ = 36
_lock = Lock()


def _slots(closed: ClosedMonth) -> list[dict[str, Any]]:
    """The figures of a closed month by slot, read once.

    Raises:
        MonthError: they are not what was closed.
    """
    with _lock:
        found = _read.get(closed.digest)
    if found is None:
        if not verified(closed):
            raise MonthError(
                _("The figures of {month} are not what was closed: their digest is wrong.").format(
                    month=closed.month
                )
            )
        slots: list[dict[str, Any]] = json.loads(closed.figures)["slots"]
        found = slots
        with _lock:
            if len(_read) >= _MOST_READ:
                _read.pop(next(iter(_read)))
            _read[closed.digest] = found
    return found


def verified(closed: ClosedMonth) -> bool:
    """Whether the figures have the digest that was noted when the month was closed."""
    return hashlib.sha256(closed.figures).digest() == closed.digest


def _share(value: list[int] | None) -> float | None:
    return None if value is None else value[0] / value[1]


@dataclass(frozen=True)
class VillageMonth:
    """A village's slot in a closed month; price and restitution in rupiah."""

    month: str
    edition: int
    slot: str
    availability: float | None
    worst: float | None
    best: float | None
    down_s: int
    unknown_s: int
    price: int
    restitution: int


def _rows(closed: ClosedMonth, place: str = "") -> list[VillageMonth]:
    return [
        VillageMonth(
            closed.month,
            closed.edition,
            slot["slot"],
            _share(piece["availability"]),
            _share(piece["worst"]),
            _share(piece["best"]),
            piece["seconds"].get(DOWN, 0),
            piece["seconds"].get(UNKNOWN, 0),
            piece["price"],
            piece["restitution"],
        )
        for slot in _slots(closed)
        if slot["slot"].startswith(place)
        for piece in slot["pieces"]
    ]


def _holding(snapshot: Snapshot) -> list[ClosedMonth]:
    """The edition that holds of each closed month, the newest first."""
    return [its for its in reversed(snapshot.closed) if its.opened_at is None]


def village_months(snapshot: Snapshot, code: str) -> list[VillageMonth]:
    """The last twelve closed months of a village."""
    return [row for closed in _holding(snapshot)[:12] for row in _rows(closed, code)]


def months(visit: PageVisit) -> ListPage:
    """Every closed month, with its digest."""
    return ListPage(
        "months",
        _("Months"),
        [
            Column(
                "month",
                _("Month"),
                LINK,
                lambda its: (f"/months/{its.month}/{its.edition}", its.month),
            ),
            Column("edition", _("Edition"), NUMBER),
            Column("rules", _("Rules"), NUMBER),
            Column("closed", _("Closed (WITA)"), TIME, lambda its: its.closed_at),
            Column("closed_by", _("By")),
            Column("digest", "SHA-256", of=lambda its: its.digest.hex()),
            Column(
                "verified",
                _("Digest"),
                of=lambda its: _("verified") if verified(its) else _("damaged"),
            ),
            Column("opened", _("Opened again (WITA)"), TIME, lambda its: its.opened_at),
            Column("why", _("Why"), of=lambda its: its.opened_why or ""),
        ],
        visit.snapshot.closed[::-1],
        note=_("'desalink month close' closes a month; 'desalink report' writes its pages."),
        downloads=[("/months/files", _("Reports and evidence files"))],
    )


def _path(closed: ClosedMonth) -> str:
    return f"/months/{closed.month}/{closed.edition}"


def _edition(visit: PageVisit) -> ClosedMonth:
    month, edition = visit.path("month"), visit.path("edition")
    for its in visit.snapshot.closed:
        if its.month == month and str(its.edition) == edition:
            return its
    raise NotFound(_("There is no such closed month."))


def month(visit: PageVisit) -> ListPage:
    """The figures of a closed month."""
    closed = _edition(visit)
    return ListPage(
        f"figures-{closed.month}",
        _("Month {month}, edition {edition}").format(month=closed.month, edition=closed.edition),
        [
            *_columns(),
            Column("price", _("Price (Rp)"), NUMBER),
            Column("restitution", _("Restitution (Rp)"), NUMBER),
        ],
        _rows(closed, visit.query("regency")),
        [regency_choice(visit)],
        note=_verified_note(closed),
        downloads=[(f"{_path(closed)}/figures.json", _("Figures as closed"))],
    )


def _verified_note(closed: ClosedMonth) -> str:
    return _("SHA-256 of the figures, verified now: {digest}").format(digest=closed.digest.hex())


def _columns() -> list[Column]:
    return [
        Column("village", _("Village"), VILLAGE, lambda its: its.slot[:10]),
        Column("availability", _("Availability"), SHARE),
        Column("worst", _("at worst"), SHARE),
        Column("best", _("at best"), SHARE),
        Column("down_s", _("Down by the provider"), SPAN),
        Column("unknown_s", _("Not known"), SPAN),
    ]


def figures(visit: PageVisit) -> Response:
    """The closed figures, byte for byte."""
    closed = _edition(visit)
    named = f'attachment; filename="figures-{closed.month}-{closed.edition}.json"'
    return Response(
        closed.figures,
        headers={"content-disposition": named, "x-desalink-sha256": closed.digest.hex()},
        media_type="application/json",
    )


def public(visit: PageVisit) -> ListPage:
    """For everybody: availability by village of a closed month. No counts of people."""
    holding = _holding(visit.snapshot)
    chosen = visit.query("month") or (holding[0].month if holding else "")
    closed = next((its for its in holding if its.month == chosen), None)
    if visit.query("month") and closed is None:
        raise NotFound(_("There is no such closed month."))
    return ListPage(
        f"availability-{chosen or 'none'}",
        _("Availability by village, {month}").format(month=chosen or "–"),
        _columns(),
        _rows(closed) if closed else [],
        [FilterChoice("month", _("Month"), [(its.month, its.month) for its in holding], chosen)],
        note=_verified_note(closed) if closed else "",
    )


ROUTES = [
    PageRoute("/months", page_of(months)),
    PageRoute("/months/{month}/{edition}", page_of(month)),
    PageRoute("/months/{month}/{edition}/figures.json", figures),
    PageRoute("/public", page_of(public), None),
]
