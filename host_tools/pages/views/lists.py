"""Lists: villages, providers, usage, quarantine, the audit log."""

from __future__ import annotations

from typing import NamedTuple

from host_tools.common.i18n import _
from host_tools.common.times import DAY_S
from host_tools.listings.model import CODE, NUMBER, SHARE, SIZE, SPAN, TIME, Column
from host_tools.pages import wall
from host_tools.pages.listing import (
    FORMATS,
    LINK,
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
from host_tools.pages.records import ADMINISTRATOR
from host_tools.pages.serving import PageRoute
from host_tools.pages.views.province import matches
from host_tools.pages.visits import PageVisit, with_query
from host_tools.states.words import state_word
from host_tools.store import queries
from host_tools.store.quarantine import Quarantine

_MOST_DAYS = 31  # of usage, on a page


def villages(visit: PageVisit) -> ListPage:
    """Every slot as it is now."""
    snapshot = visit.snapshot
    states = [("", _("all")), ("down", _("down"))]
    states += [(one.state, state_word(one.state)) for one in wall.counts(snapshot)]
    return ListPage(
        "villages",
        _("Villages"),
        [
            Column("village", _("Village"), VILLAGE),
            Column("slot", _("Slot"), CODE),
            Column("state", _("State"), STATE),
            Column("since", _("Since (WITA)"), TIME),
            Column("provider", _("Provider"), of=lambda slot: snapshot.provider_of(slot.village)),
            Column("rtt_ms", _("Round-trip time (ms)"), NUMBER),
            Column("loss_percent", _("Loss (%)"), NUMBER),
            Column("clients", _("Users"), NUMBER),
            Column("bytes_today", _("Today"), SIZE),
            Column("last_report", _("Last report (WITA)"), TIME),
            Column(
                "session_lost",
                _("Session lost (WITA)"),
                TIME,
                lambda slot: snapshot.overview.lost.get(slot.slot),
            ),
        ],
        [slot for slot in snapshot.overview.slots if matches(visit, slot)],
        [
            regency_choice(visit),
            provider_choice(visit),
            FilterChoice("state", _("State"), states, visit.query("state")),
        ],
    )


def providers(visit: PageVisit) -> ListPage:
    """Providers side by side, now and over the last 24 hours."""

    def link(one: wall.ProviderNow) -> tuple[str, str]:
        return with_query("/villages", provider=one.name), one.name or _("not known")

    return ListPage(
        "providers",
        _("Providers"),
        [
            Column(
                "provider",
                _("Provider"),
                LINK,
                lambda one: (
                    with_query("/villages", provider=one.name),
                    one.name or _("not known"),
                ),
            ),
            Column("slots", _("Slots"), NUMBER),
            Column("up", _("Up"), NUMBER),
            Column("slow", _("Slow"), NUMBER),
            Column("down", _("Down by the provider"), NUMBER),
            Column("no_data", _("No data"), NUMBER),
            Column("available_24h", _("Available in 24 h"), SHARE, lambda one: one.share),
        ],
        wall.providers(visit.snapshot),
        note=_(
            "Available: the time up or slow, of the time up, slow or down by the provider. What a "
            "provider is paid by is in the months."
        ),
    )


class QuarantineRow(NamedTuple):
    """A refused message, or a finding (its number begins with F)."""

    number: str
    slot: str
    reason: str
    at: int
    times: int | None
    detail: str


def quarantine(visit: PageVisit) -> ListPage:
    """What was refused, and what is wrong with what is stored."""
    rows: list[QuarantineRow] = []
    limit, reason = limit_of(visit), visit.query("reason")
    total, cut = 0, False
    if visit.database is not None:
        messages, total = Quarantine(visit.database).newest(limit, reason=reason or None)
        kinds = [reason] if reason else []
        found = queries.findings(visit.database, kinds=kinds, limit=limit)
        cut = limit in (len(messages), len(found))
        rows = [
            QuarantineRow(str(its.id), its.slot, its.reason, its.last_at, its.times, its.detail)
            for its in reversed(messages)
        ]
        rows += [
            QuarantineRow(
                *(f"F{its.id}", its.slot, its.kind, its.found_at, its.missing or None),
                f"{its.first_seq}–{its.last_seq}",
            )
            for its in reversed(found)
        ]
    text = _(
        "{total} messages are in quarantine. Rows with F are findings in what is stored. "
        "'desalink quarantine' shows what to do, tries again and dismisses."
    )
    return ListPage(
        "quarantine",
        _("Quarantine"),
        [
            Column("number", _("Number")),
            Column("village", _("Village"), VILLAGE, lambda row: row.slot[:10]),
            Column("slot", _("Slot"), CODE),
            Column("reason", _("Reason")),
            Column("at", _("When (WITA)"), TIME),
            Column("times", _("How often, or missing"), NUMBER),
            Column("detail", _("Detail")),
        ],
        rows,
        [FilterChoice("reason", _("Reason"), (), reason)],
        note=text.format(total=total),
        cut=cut,
    )


def usage(visit: PageVisit) -> ListPage:
    """What went through each village, over days."""
    start, since = since_choice(visit)
    if visit.query("format") not in FORMATS:
        start = max(start, visit.now - _MOST_DAYS * DAY_S)
    meant = of_place(visit)
    found: dict[str, queries.Usage] = {}
    if visit.database is not None:
        place = visit.query("regency") or visit.site.province.code
        sums = queries.usage_sums(visit.database, since=start, place=place)
        found = {its.slot: its for its in sums if meant(its.slot)}
    for slot in visit.snapshot.overview.slots:
        if slot.slot not in found and meant(slot.slot):
            nothing = queries.Usage(slot.slot, slot.village, int(start), 0, None, None, None, None)
            found[slot.slot] = nothing
    order = visit.query("order")
    return ListPage(
        "usage",
        _("Usage"),
        [
            Column("village", _("Village"), VILLAGE),
            Column("slot", _("Slot"), CODE),
            Column("bytes_down", _("Down"), SIZE),
            Column("bytes_up", _("Up"), SIZE),
            Column("clients_peak", _("Most users at a time"), NUMBER),
            Column("clients_day", _("Most users in a day"), NUMBER),
            Column("measured_s", _("Measured"), SPAN),
        ],
        sorted(
            found.values(),
            key=lambda its: (its.bytes_down or 0) + (its.bytes_up or 0),
            reverse=order != "least",
        ),
        [
            regency_choice(visit),
            provider_choice(visit),
            FilterChoice(
                "order",
                _("Order"),
                [("", _("the most used first")), ("least", _("the least used first"))],
                order,
            ),
            since,
        ],
        note=_("A page shows at most {days} days; the files show all.").format(days=_MOST_DAYS),
    )


def audit(visit: PageVisit) -> ListPage:
    """Who did what."""
    limit = limit_of(visit)
    found = visit.book.audit(before=before_of(visit), limit=limit)
    return ListPage(
        "audit",
        _("Audit log"),
        [
            Column("number", _("Number"), of=lambda entry: str(entry.id)),
            Column("at", _("When (WITA)"), TIME),
            Column("who", _("Who")),
            Column("action", _("Action")),
            Column("object", _("What")),
            Column("detail", _("Detail")),
            Column("address", _("Address")),
        ],
        found,
        more=with_query("/audit", before=found[-1].id) if len(found) == limit else "",
    )


ROUTES = [
    PageRoute("/villages", page_of(villages), kept=True),
    PageRoute("/providers", page_of(providers), kept=True),
    PageRoute("/quarantine", page_of(quarantine), kept=True),
    PageRoute("/usage", page_of(usage), kept=True),
    PageRoute("/audit", page_of(audit), ADMINISTRATOR),
]
