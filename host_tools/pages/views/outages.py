"""Outages: those that last, and those that are over."""

from __future__ import annotations

from host_tools.common.i18n import _
from host_tools.listings.model import CODE, NUMBER, SPAN, TIME, Column
from host_tools.pages.listing import (
    CASE,
    EXPORTED,
    STATE,
    VILLAGE,
    FilterChoice,
    ListPage,
    before_of,
    limit_of,
    of_place,
    page_of,
    provider_choice,
    regency_choice,
    since_choice,
)
from host_tools.pages.serving import PageRoute
from host_tools.pages.visits import PageVisit, with_query
from host_tools.states.words import is_down, state_word
from host_tools.store import queries
from host_tools.wire.vocabulary import STATES

_MOST_READ = 10_000  # for one page
_NUMBERS = {state.name: state.code for state in STATES}


def outages(visit: PageVisit) -> ListPage:
    """Outages that last, then those that ended, the newest first."""
    start, since = since_choice(visit)
    meant, cause, village = of_place(visit), visit.query("cause"), visit.query("village")
    limit, before = limit_of(visit), before_of(visit)
    found: list[queries.Outage] = []
    older = None
    if visit.database is not None and village:
        silent = {slot.slot for slot in visit.snapshot.overview.slots if not slot.fresh}
        its = queries.outages(
            visit.database, village=village, since=start, limit=EXPORTED, silent=silent
        )
        found = [o for o in reversed(its) if meant(o.slot) and cause in ("", o.cause)]
    elif visit.database is not None:
        if before is None:
            lasting = reversed(visit.snapshot.lasting)
            found = [o for o in lasting if cause in ("", o.cause) and meant(o.slot)]
        ended, older = queries.ended_outages(
            visit.database,
            before=2**40 if before is None else before,
            since=int(start),
            limit=limit,
            wanted=meant,
            cause=_NUMBERS.get(cause, -1) if cause else None,
            read=_MOST_READ if limit < EXPORTED else 2**62,
        )
        found += ended
    more = ""
    if older is not None:
        asked = {name: visit.query(name) for name in ("regency", "provider", "cause", "since")}
        more = with_query("/outages", **asked, before=older)
    causes = [(state.name, state_word(state.name)) for state in STATES if is_down(state.name)]
    now = visit.now
    cases = visit.book.cases_of(min((o.begin for o in found), default=now))
    return ListPage(
        "outages",
        _("Outages"),
        [
            Column("village", _("Village"), VILLAGE),
            Column("slot", _("Slot"), CODE),
            Column("cause", _("Cause"), STATE),
            Column("begin", _("Begin (WITA)"), TIME),
            Column("end", _("End (WITA)"), TIME),
            Column("duration_s", _("Length"), SPAN, lambda outage: outage.known_duration(now)),
            Column("flaps", _("Flaps"), NUMBER),
            Column("remark", _("Remark"), of=_remark),
            Column("case", _("Case"), CASE, lambda o: cases.get((o.village, o.begin))),
        ],
        found,
        [
            regency_choice(visit),
            provider_choice(visit),
            FilterChoice("village", _("Village (code)"), (), village),
            FilterChoice("cause", _("Cause"), [("", _("all")), *causes], cause),
            since,
        ],
        more,
    )


def _remark(outage: queries.Outage) -> str:
    if outage.known_until is not None:
        return _("no report since; it may have ended")
    if outage.end is None:
        return _("lasts")
    return _("its end was not reported") if outage.interrupted else ""


ROUTES = [PageRoute("/outages", page_of(outages))]
