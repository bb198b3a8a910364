"""Lists: villages, outages, cases, providers, devices, quarantine, usage, the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _, number
from host_tools.common.times import DAY_S
from host_tools.derive.findings import Kind
from host_tools.pages import wall
from host_tools.pages.listing import (
    CASE,
    EXPORTED,
    FORMATS,
    LINK,
    NUMBER,
    SHARE,
    SIZE,
    SPAN,
    STATE,
    TIME,
    VILLAGE,
    Column,
    FilterChoice,
    Listing,
    limit_of,
    regency_choice,
    show,
    since_choice,
)
from host_tools.pages.records import ADMINISTRATOR, CASE_STATES
from host_tools.pages.serving import PageRoute
from host_tools.pages.views.province import matches
from host_tools.pages.visits import PageVisit, with_query
from host_tools.pages.words import is_down, state_word
from host_tools.store import queries
from host_tools.store.quarantine import Quarantine
from host_tools.wire.vocabulary import STATES

# Of the filters of devices. A lead battery of 12 V is empty below the voltage.
_DEVICE_SOON_S = 90 * DAY_S
_LOW_V, _FILLED = 11.5, 70
_MOST_READ = 10_000  # outages, for one page
_MOST_DAYS = 31  # of usage, on a page


def _provider(visit: PageVisit) -> FilterChoice:
    names = sorted({name for its in visit.snapshot.providers.values() for name in its})
    values = [("", _("all")), *((name, name) for name in names)]
    return FilterChoice("provider", _("Provider"), values, visit.query("provider"))


def _of_place(visit: PageVisit) -> Callable[[str], bool]:
    """Whether a slot lies in the regency and has the provider that the address asks for."""
    regency, provider, known = (
        *(visit.query("regency"), visit.query("provider")),
        visit.snapshot.providers,
    )
    return lambda slot: (
        slot.startswith(regency) and (not provider or provider in known.get(slot[:10], ()))
    )


def villages(visit: PageVisit) -> Listing:
    """Every slot as it is now."""
    its = visit.snapshot.overview
    states = [("", _("all")), ("down", _("down"))]
    states += [(one.state, state_word(one.state)) for one in wall.counts(visit.snapshot)]
    return Listing(
        "villages",
        _("Villages"),
        [
            Column("village", _("Village"), VILLAGE),
            Column("slot", _("Slot")),
            Column("state", _("State"), STATE),
            Column("since", _("Since (WITA)"), TIME),
            Column("provider", _("Provider")),
            Column("rtt_ms", _("Round-trip time (ms)"), NUMBER),
            Column("loss_percent", _("Loss (%)"), NUMBER),
            Column("clients", _("Users"), NUMBER),
            Column("bytes_today", _("Today"), SIZE),
            Column("last_report", _("Last report (WITA)"), TIME),
            Column("session_lost", _("Session lost (WITA)"), TIME),
        ],
        [
            {
                "village": slot.village,
                "slot": slot.slot,
                "state": slot.state,
                "since": slot.since,
                "provider": visit.snapshot.provider_of(slot.village),
                "rtt_ms": slot.rtt_ms,
                "loss_percent": slot.loss_percent,
                "clients": slot.clients,
                "bytes_today": slot.bytes_today,
                "last_report": slot.last_report,
                "session_lost": its.lost.get(slot.slot),
            }
            for slot in its.slots
            if matches(visit, slot)
        ],
        [
            regency_choice(visit),
            _provider(visit),
            FilterChoice("state", _("State"), states, visit.query("state")),
        ],
    )


def outages(visit: PageVisit) -> Listing:
    """Outages that last, then those that ended, the newest first."""
    start, since = since_choice(visit)
    meant, cause = _of_place(visit), visit.query("cause")
    limit, before = limit_of(visit), visit.query("before")
    found: list[queries.Outage] = []
    if not before:
        found = [
            o for o in reversed(visit.snapshot.lasting) if meant(o.slot) and cause in ("", o.cause)
        ]
    ended: list[queries.Outage] = []
    older = None
    if visit.database is not None:
        ended, older = queries.ended_outages(
            visit.database,
            before=int(before) if before.isdecimal() and len(before) < 12 else 2**40,
            since=int(start),
            limit=limit,
            wanted=lambda slot, its: meant(slot) and cause in ("", its),
            read=_MOST_READ if limit < EXPORTED else 2**62,
        )
    more = ""
    if older is not None:
        asked = {name: visit.query(name) for name in ("regency", "provider", "cause", "since")}
        more = with_query("/outages", **asked, before=older)
    causes = [(state.name, state_word(state.name)) for state in STATES if is_down(state.name)]
    return Listing(
        "outages",
        _("Outages"),
        [
            Column("village", _("Village"), VILLAGE),
            Column("slot", _("Slot")),
            Column("cause", _("Cause"), STATE),
            Column("begin", _("Begin (WITA)"), TIME),
            Column("end", _("End (WITA)"), TIME),
            Column("duration_s", _("Length"), SPAN),
            Column("flaps", _("Flaps"), NUMBER),
            Column("remark", _("Remark")),
        ],
        [
            {
                "village": o.village,
                "slot": o.slot,
                "cause": o.cause,
                "begin": o.begin,
                "end": o.end,
                "duration_s": o.duration(visit.now),
                "flaps": o.flaps,
                "remark": _remark(o),
            }
            for o in [*found, *ended]
        ],
        [
            regency_choice(visit),
            _provider(visit),
            FilterChoice("cause", _("Cause"), [("", _("all")), *causes], cause),
            since,
        ],
        more,
    )


def _remark(outage: queries.Outage) -> str:
    if outage.known_until is not None:
        return _("silent since: nobody knows whether it lasts")
    if outage.end is None:
        return _("lasts")
    return _("its end was not reported") if outage.interrupted else ""


def cases(visit: PageVisit) -> Listing:
    """Cases that are open; with `state`, closed ones too."""
    state, regency = visit.query("state"), visit.query("regency")
    found = visit.book.cases(closed=state in ("all", "closed"), limit=limit_of(visit))
    words = {"open": _("open"), "acknowledged": _("acknowledged"), "closed": _("closed")}
    return Listing(
        "cases",
        _("Cases"),
        [
            Column("case", _("Case"), CASE),
            Column("village", _("Village"), VILLAGE),
            Column("subject", _("Subject")),
            Column("state", _("State")),
            Column("assigned", _("Assigned to")),
            Column("opened", _("Opened (WITA)"), TIME),
            Column("opened_by", _("By")),
            Column("closed", _("Closed (WITA)"), TIME),
            Column("cause", _("Cause")),
        ],
        [
            {
                "case": its.id,
                "village": its.village,
                "subject": its.subject,
                "state": words[its.state],
                "assigned": its.assigned,
                "opened": its.opened_at,
                "opened_by": its.opened_by,
                "closed": its.closed_at,
                "cause": its.cause,
            }
            for its in found
            if its.village.startswith(regency) and state in ("", "all", its.state)
        ],
        [
            regency_choice(visit),
            FilterChoice(
                "state",
                _("State"),
                [
                    ("", _("not closed")),
                    ("all", _("all")),
                    *((name, words[name]) for name in CASE_STATES),
                ],
                state,
            ),
        ],
    )


def providers(visit: PageVisit) -> Listing:
    """Providers side by side, now and over the last 24 hours."""
    return Listing(
        "providers",
        _("Providers"),
        [
            Column("provider", _("Provider"), LINK),
            Column("slots", _("Slots"), NUMBER),
            Column("up", _("Up"), NUMBER),
            Column("slow", _("Slow"), NUMBER),
            Column("down", _("Down by the provider"), NUMBER),
            Column("no_data", _("No data"), NUMBER),
            Column("available_24h", _("Available in 24 h"), SHARE),
        ],
        [
            {
                "provider": (
                    with_query("/villages", provider=one.name),
                    one.name or _("not known"),
                ),
                "slots": one.slots,
                "up": one.up,
                "slow": one.slow,
                "down": one.down,
                "no_data": one.no_data,
                "available_24h": one.share,
            }
            for one in wall.providers(visit.snapshot)
        ],
        note=_(
            "Available: the time up or slow, of the time up, slow or down by the provider. What a "
            "provider is paid by is in the months."
        ),
    )


def devices(visit: PageVisit) -> Listing:
    """Devices that fill slots."""
    meant = _of_place(visit)
    software, clocks = {}, dict[str, set[str]]()
    if visit.database is not None:
        software = {its.slot: its for its in queries.software(visit.database)}
        clocks = queries.open_kinds(visit.database, [Kind.FUTURE_CLOCK, Kind.UNPLACED])
    voltages = visit.site.voltages(visit.database)
    status = {slot.slot: slot for slot in visit.snapshot.overview.slots}
    ends = visit.registry.certificates_in_use()
    rows: list[dict[str, Any]] = []
    asked = {name: visit.query(name) for name in ("board", "agent", "firmware")}
    trouble = visit.query("trouble")
    known: dict[str, set[str]] = {name: set() for name in asked}
    for device in visit.registry.active_devices():
        if not meant(device.slot):
            continue
        its, now, end = (
            software.get(device.slot),
            status.get(device.slot),
            ends.get(device.slot),
        )
        row: dict[str, Any] = {
            "village": device.slot[:10],
            "slot": device.slot,
            "device": device.kid.hex(),
            "board": its.board if its else device.board,
            "agent": its.agent if its else "",
            "firmware": device.firmware,
            "interpreter": its.interpreter if its else "",
            "started": its.received_at if its else None,
            "last_report": now.last_report if now else None,
            "clock": _clock(clocks.get(device.slot, set())) if now and now.last_report else None,
            "voltage": voltages.get(device.slot),
            "journal_fill": now.journal_fill if now else None,
            "backlog": now.backlog if now else None,
            "gaps": now.gaps if now else None,
            "certificate_end": end.not_after if end else None,
            "enrolled": device.enrolled_at,
            "enrolled_by": device.enrolled_by,
        }
        for name in asked:
            known[name].add(row[name])
        if all(asked[name] in ("", row[name]) for name in asked) and (
            not trouble or _has_trouble(trouble, row, device.slot in clocks, visit.now)
        ):
            rows.append(row)
    return Listing(
        "devices",
        _("Devices"),
        [
            Column("village", _("Village"), VILLAGE),
            Column("slot", _("Slot")),
            Column("device", _("Key")),
            Column("board", _("Board")),
            Column("agent", _("Agent")),
            Column("firmware", _("Firmware")),
            Column("interpreter", _("Interpreter")),
            Column("started", _("Last start (WITA)"), TIME),
            Column("last_report", _("Last report (WITA)"), TIME),
            Column("clock", _("Clock")),
            Column("voltage", _("Supply (V)"), NUMBER),
            Column("journal_fill", _("Journal (%)"), NUMBER),
            Column("backlog", _("Backlog"), NUMBER),
            Column("gaps", _("Gaps"), NUMBER),
            Column("certificate_end", _("Certificate ends (WITA)"), TIME),
            Column("enrolled", _("Enrolled (WITA)"), TIME),
            Column("enrolled_by", _("By")),
        ],
        rows,
        [
            regency_choice(visit),
            _provider(visit),
            *(
                FilterChoice(
                    name,
                    {"board": _("Board"), "agent": _("Agent"), "firmware": _("Firmware")}[name],
                    [("", _("all")), *((value, value) for value in sorted(values) if value)],
                    asked[name],
                )
                for name, values in known.items()
            ),
            FilterChoice(
                "trouble",
                _("Trouble"),
                [
                    ("", _("all")),
                    ("clock", _("the clock is wrong")),
                    ("voltage", _("the supply is below {volt} V").format(volt=number(_LOW_V, 1))),
                    (
                        "journal",
                        _("the journal is filled to {share} % or more").format(share=_FILLED),
                    ),
                    ("gaps", _("reports are missing")),
                    (
                        "certificate",
                        _("the certificate ends within {days} days").format(
                            days=_DEVICE_SOON_S // DAY_S
                        ),
                    ),
                ],
                trouble,
            ),
        ],
    )


def _clock(kinds: set[str]) -> str:
    if Kind.FUTURE_CLOCK in kinds:
        return _("ahead of ours")
    return _("not set: reports have no time") if Kind.UNPLACED in kinds else _("right")


def _has_trouble(trouble: str, row: dict[str, Any], clock: bool, now: int) -> bool:
    if trouble == "clock":
        return clock
    if trouble == "gaps":
        return bool(row["gaps"])
    if trouble == "journal":
        return (row["journal_fill"] or 0) >= _FILLED
    if trouble == "voltage":
        return row["voltage"] is not None and row["voltage"] < _LOW_V
    end = row["certificate_end"]
    return trouble == "certificate" and end is not None and end <= now + _DEVICE_SOON_S


def quarantine(visit: PageVisit) -> Listing:
    """What was refused, and what is wrong with what is stored."""
    rows: list[dict[str, Any]] = []
    limit, reason = limit_of(visit), visit.query("reason")
    total = 0
    if visit.database is not None:
        messages, total = Quarantine(visit.database).newest(limit, reason=reason or None)
        rows = [
            {
                "number": str(message.id),
                "village": message.slot[:10],
                "slot": message.slot,
                "reason": message.reason,
                "at": message.last_at,
                "times": message.times,
                "detail": message.detail,
            }
            for message in reversed(messages)
        ]
        kinds = [reason] if reason else []
        rows += [
            {
                "number": f"F{finding.id}",
                "village": finding.village,
                "slot": finding.slot,
                "reason": finding.kind,
                "at": finding.found_at,
                "times": finding.missing or None,
                "detail": f"{finding.first_seq}–{finding.last_seq}",
            }
            for finding in reversed(queries.findings(visit.database, kinds=kinds, limit=limit))
        ]
    text = _(
        "{total} messages are in quarantine. Rows with F are findings in what is stored. "
        "'desalink quarantine' shows what to do, tries again and dismisses."
    )
    return Listing(
        "quarantine",
        _("Quarantine"),
        [
            Column("number", _("Number")),
            Column("village", _("Village"), VILLAGE),
            Column("slot", _("Slot")),
            Column("reason", _("Reason")),
            Column("at", _("When (WITA)"), TIME),
            Column("times", _("How often, or missing"), NUMBER),
            Column("detail", _("Detail")),
        ],
        rows,
        [FilterChoice("reason", _("Reason"), (), reason)],
        note=text.format(total=total),
    )


def usage(visit: PageVisit) -> Listing:
    """What went through each village, over days."""
    start, since = since_choice(visit)
    if visit.query("format") not in FORMATS:
        start = max(start, visit.now - _MOST_DAYS * DAY_S)
    meant = _of_place(visit)
    found: list[queries.Usage] = []
    if visit.database is not None:
        found = queries.usage_sums(
            visit.database, since=start, place=visit.query("regency") or visit.site.province.code
        )
    found = [its for its in found if meant(its.slot)]
    found.sort(key=lambda its: -((its.bytes_down or 0) + (its.bytes_up or 0)))
    return Listing(
        "usage",
        _("Usage"),
        [
            Column("village", _("Village"), VILLAGE),
            Column("slot", _("Slot")),
            Column("bytes_down", _("Down"), SIZE),
            Column("bytes_up", _("Up"), SIZE),
            Column("clients_peak", _("Most users at a time"), NUMBER),
            Column("clients_day", _("Most users in a day"), NUMBER),
            Column("measured_s", _("Measured"), SPAN),
        ],
        [
            {
                name: getattr(its, name)
                for name in (
                    *("village", "slot", "bytes_down", "bytes_up", "clients_peak"),
                    *("clients_day", "measured_s"),
                )
            }
            for its in found
        ],
        [regency_choice(visit), _provider(visit), since],
        note=_("A page shows at most {days} days; the files show all.").format(days=_MOST_DAYS),
    )


def audit(visit: PageVisit) -> Listing:
    """Who did what."""
    before = visit.query("before")
    if before and not (before.isdecimal() and len(before) < 12):
        raise DesalinkError(_("This address can't be understood."))
    limit = limit_of(visit)
    found = visit.book.audit(before=int(before) if before else None, limit=limit)
    return Listing(
        "audit",
        _("Audit log"),
        [
            Column("number", _("Number")),
            Column("at", _("When (WITA)"), TIME),
            Column("who", _("Who")),
            Column("action", _("Action")),
            Column("object", _("What")),
            Column("detail", _("Detail")),
            Column("address", _("Address")),
        ],
        [
            {
                "number": str(entry.id),
                "at": entry.at,
                "who": entry.who,
                "action": entry.action,
                "object": entry.object,
                "detail": entry.detail,
                "address": entry.address,
            }
            for entry in found
        ],
        more=with_query("/audit", before=found[-1].id) if len(found) == limit else "",
    )


def _page(make: Callable[[PageVisit], Listing]) -> Callable[[PageVisit], Response]:
    return lambda visit: show(visit, make(visit))


ROUTES = [
    PageRoute("/villages", _page(villages), kept=True),
    PageRoute("/outages", _page(outages), kept=True),
    PageRoute("/cases", _page(cases)),
    PageRoute("/providers", _page(providers), kept=True),
    PageRoute("/devices", _page(devices), kept=True),
    PageRoute("/quarantine", _page(quarantine), kept=True),
    PageRoute("/usage", _page(usage), kept=True),
    PageRoute("/audit", _page(audit), ADMINISTRATOR),
]
