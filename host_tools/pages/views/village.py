"""A village's page: its state and why, what to do, its past, its device, contracts and notes."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _, number
from host_tools.common.sizes import size
from host_tools.common.times import DAY_S, wita
from host_tools.contracts.table import OPEN_END
from host_tools.derive.samples import thinned
from host_tools.pages import photographs, texts
from host_tools.pages.drawing import axis, bars, line, strip
from host_tools.pages.records import OPERATOR
from host_tools.pages.serving import PageRoute
from host_tools.pages.views.months import village_months
from host_tools.pages.visits import NotFound, PageVisit
from host_tools.states.words import next_step
from host_tools.store import Database, queries
from host_tools.wire.vocabulary import METRICS, PROBE_RESULTS

RANGES = {"24h": DAY_S, "7d": 7 * DAY_S, "30d": 30 * DAY_S, "year": 365 * DAY_S}
_MOST_OUTAGES = 50
_MOST_EVENTS = 20
# So many reports a drawing reads: those of a day, or some of a longer time.
_OF_A_DAY, _OF_MORE = 320, 160
MEASURED = {
    name: number
    for number, name, *_rest in METRICS
    if name in ("rtt_mean", "loss", "voltage", "temperature", "signal")
}
_WIDE = 480
_PROBES = {term.code: term.name for term in PROBE_RESULTS}
NOTE_KINDS = ("note", "contact")
_MOST_CAPTION = 200


def range_of(visit: PageVisit) -> str:
    """Which of the ranges the address asks for."""
    asked = visit.query("range")
    return asked if asked in RANGES else "24h"


def village(visit: PageVisit) -> Response:
    """The page."""
    its, snapshot = visit.village(), visit.snapshot
    name = range_of(visit)
    end = visit.now
    begin = end - RANGES[name]
    provider = snapshot.provider_of(its.code)
    slots: list[dict[str, Any]] = []
    for slot in snapshot.slots_of(its.code):
        age = None if slot.since is None else max(0.0, snapshot.at - slot.since)
        maintenance = snapshot.maintenance_of(slot.slot)
        drawn: dict[str, Any] = {}
        if visit.database is not None and slot.slot != its.code:
            drawn = _drawn(visit, visit.database, slot.slot, begin, end, name)
        slots.append(
            {
                "status": slot,
                "lost": snapshot.overview.lost.get(slot.slot),
                "step": next_step(
                    *(slot.state, age, provider, snapshot.down_with(slot)),
                    wita(maintenance.end) if maintenance else "",
                ),
                "events": snapshot.events_of(slot.slot)[:_MOST_EVENTS],
                "drawn": drawn,
            }
            | _device(visit, slot.slot)
        )
    outages: list[queries.Outage] = []
    if visit.database is not None:
        silent = {s["status"].slot for s in slots if not s["status"].fresh}
        outages = queries.outages(
            visit.database, village=its.code, since=begin, limit=_MOST_OUTAGES, silent=silent
        )
    known = {case.began: case for case in visit.book.cases(place=its.code, closed=True)}
    return visit.page(
        "village.html",
        village=its,
        snapshot=snapshot,
        provider=provider,
        range=name,
        ranges=list(RANGES),
        slots=slots,
        outages=outages[::-1],
        most=_MOST_OUTAGES,
        now=end,
        case_of=known,
        cases=visit.book.cases(place=its.code, closed=True, limit=20),
        contracts=snapshot.contracts.get(its.code, []),
        open_end=OPEN_END,
        has_files=bool(visit.site.settings.files),
        months=village_months(snapshot, its.code),
        notes=visit.book.village_notes(its.code),
        photographs=visit.book.photographs(its.code),
        may_act=visit.who.may_act(its.code),
        case_states=texts.case_states(),
        event_kinds=texts.event_kinds(),
        probe=lambda result: _PROBES.get(result, str(result)),
    )


def _drawn(
    visit: PageVisit, database: Database, slot: str, begin: int, end: int, name: str
) -> dict[str, Any]:
    """Strip, usage, users, round-trip time and loss of a time."""
    spans = [
        (i.begin, i.end, i.state) for i in queries.intervals(database, slot, begin=begin, end=end)
    ]
    hourly = name in ("24h", "7d")
    used = [
        u
        for u in queries.usage(
            database, by="hour" if hourly else "day", village=slot[:10], since=begin
        )
        if u.slot == slot
    ]
    step = 3600 if hourly else DAY_S
    total = [
        (u.begin, float((u.bytes_down or 0) + (u.bytes_up or 0)))
        for u in used
        if u.bytes_down is not None or u.bytes_up is not None
    ]
    users = [(u.begin, float(u.clients_peak)) for u in used if u.clients_peak is not None]
    found: dict[str, Any] = {
        "strip": Markup('<div class="wide">{}</div>').format(strip(spans, begin, end, _WIDE)),
        "axis": axis(begin, end),
        "usage": bars(
            *(total, begin, end, step, _("Most in an hour") if hourly else _("Most in a day")),
            size(int(max((v for _t, v in total), default=0))),
        ),
        "users": bars(
            *(users, begin, end, step, _("Most users at a time")),
            number(max((v for _t, v in users), default=0)),
        ),
    }
    archived = bool(visit.query("archive"))
    return found | _measured(database, slot, begin, end, archived)


def _measured(
    database: Database, slot: str, begin: int, end: int, archived: bool
) -> dict[str, Any]:
    """Round-trip time and loss, over a longer time of some reports only; the last values of others
    if they are of the last day."""
    most = _OF_A_DAY if end - begin <= DAY_S else _OF_MORE
    every, figures = thinned(database, slot, begin, end, MEASURED, most, archived=archived)

    def drawn(name: str, title: str, unit: str) -> Markup:
        title = _("{what}, highest").format(what=title)
        if every > 1:
            title = _("{what} (one report in {count})").format(what=title, count=every)
        return line([(t, its[name]) for t, its in figures], begin, end, title, unit)

    last = {
        name: next((its[name] for _t, its in reversed(figures) if its[name] is not None), None)
        for name in ("voltage", "temperature", "signal")
        if every == 1
    }
    return {
        "rtt": drawn("rtt_mean", _("Round-trip time"), "ms"),
        "loss": drawn("loss", _("Loss"), "%"),
        "last": {name: value for name, value in last.items() if value is not None},
    }


def _device(visit: PageVisit, slot: str) -> dict[str, Any]:
    software = queries.software(visit.database, slot) if visit.database is not None else []
    return {
        "devices": visit.registry.keys_for_slot(slot)[::-1],
        "software": software[0] if software else None,
        "certificates": [
            (certificate, visit.registry.kit_of_certificate(certificate.serial))
            for certificate in visit.registry.certificates(slot)[::-1][:5]
        ],
    }


def add_note(visit: PageVisit) -> Response:
    """Keep a note, or whom to call."""
    its = visit.village()
    visit.may_act(its.code)
    kind, text = visit.text("kind"), visit.text("text")
    if kind not in NOTE_KINDS:
        raise DesalinkError(_("A note is a note or a contact."))
    visit.book.add_village_note(its.code, kind, text, who=visit.who.name, at=visit.now)
    visit.log(f"{kind}.add", its.code, text)
    return visit.to(f"/village/{its.code}#notes")


def withdraw_note(visit: PageVisit) -> Response:
    """Show a note no more."""
    its = visit.village()
    visit.may_act(its.code)
    number_ = visit.text("number")
    if number_.isdecimal() and visit.book.withdraw_village_note(
        its.code, int(number_[:9]), visit.now
    ):
        visit.log("note.withdraw", its.code, number_)
    return visit.to(f"/village/{its.code}#notes")


def add_photograph(visit: PageVisit) -> Response:
    """Keep a photograph of the site."""
    its = visit.village()
    visit.may_act(its.code)
    if not visit.file:
        raise DesalinkError(_("Choose a photograph first; go back and try again."))
    text = visit.text("text", most=_MOST_CAPTION, needed=False)
    picture = photographs.picture_of(visit.file)
    number_ = visit.book.add_photograph(
        its.code,
        picture.content,
        picture.width,
        picture.height,
        text,
        who=visit.who.name,
        at=visit.now,
        most=photographs.MOST_OF_VILLAGE,
        most_bytes=photographs.MOST_IN_ALL,
    )
    if number_ is None:
        raise DesalinkError(
            _(
                "There is no room for another photograph: a village has at most {most}. Remove "
                "one first."
            ).format(most=photographs.MOST_OF_VILLAGE)
        )
    visit.log("photograph.add", its.code, f"{number_}: {text}")
    return visit.to(f"/village/{its.code}#photographs")


def remove_photograph(visit: PageVisit) -> Response:
    """Delete a photograph."""
    its = visit.village()
    visit.may_act(its.code)
    number_ = visit.text("number")
    if number_.isdecimal() and visit.book.remove_photograph(its.code, int(number_[:9]), visit.now):
        visit.log("photograph.remove", its.code, number_)
    return visit.to(f"/village/{its.code}#photographs")


def photograph(visit: PageVisit) -> Response:
    """A picture."""
    number_ = visit.path("number")
    found = visit.book.picture(int(number_)) if re.fullmatch(r"[0-9]{1,9}", number_) else None
    if found is None:
        raise NotFound(_("There is no such photograph."))
    return Response(found, media_type=photographs.KIND)


ROUTES = [
    PageRoute("/village/{code}", village),
    PageRoute("/photographs/{number}", photograph),
    PageRoute(
        "/village/{code}/photograph", add_photograph, OPERATOR, "POST", file=photographs.MOST_BYTES
    ),
    PageRoute("/village/{code}/photograph/remove", remove_photograph, OPERATOR, "POST"),
    PageRoute("/village/{code}/note", add_note, OPERATOR, "POST"),
    PageRoute("/village/{code}/note/withdraw", withdraw_note, OPERATOR, "POST"),
]
