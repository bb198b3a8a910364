"""Alerts: open and past ones, who was sent what, and the link in a message.

The link works without a log-in, once. Scanners of e-mail follow links, so that only the button
behind it changes something.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.responses import Response

from host_tools.alerts.places import AlertPlace
from host_tools.alerts.records import (
    DROPPED,
    DUE,
    FAILED,
    FILE,
    SENDING,
    SENT,
    Alert,
    AlertMember,
    AlertRecords,
    open_records,
)
from host_tools.alerts.texts import step_of, title, trouble_words
from host_tools.alerts.tokens import TokenError, read_token
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, wita
from host_tools.listings.model import NUMBER, TIME, Column
from host_tools.pages.listing import (
    EXPORTED,
    FORMATS,
    LINK,
    FilterChoice,
    ListPage,
    limit_of,
    page_of,
    regency_choice,
    since_choice,
)
from host_tools.pages.records import ADMINISTRATOR, OPERATOR
from host_tools.pages.serving import PageRoute
from host_tools.pages.visits import NotAllowed, NotFound, PageVisit

LINK_S = 14 * DAY_S
"""The link of a message ends so long after its alert began to be sent."""

_MOST_NAME = 60
_MOST_DAYS = 31  # on a page


@contextmanager
def _opened(visit: PageVisit) -> Iterator[AlertRecords | None]:
    """The alerts of the province; None: 'desalink alerts run' never ran."""
    directory = visit.site.province.directory
    if not (directory / FILE).exists():
        yield None
        return
    with open_records(directory) as records:
        yield records


def _places(visit: PageVisit) -> dict[str, AlertPlace]:
    """What slots are called."""
    snapshot = visit.snapshot
    found = {}
    for slot in snapshot.overview.slots:
        its = snapshot.villages.get(slot.village)
        if its is not None:
            name = snapshot.overview.labels[its.code]
            provider = snapshot.provider_of(its.code)
            found[slot.slot] = AlertPlace(slot.slot, name, its.district, its.regency, provider)
    return found


def _state(alert: Alert) -> str:
    if alert.merged_into is not None:
        return _("part of {number}").format(number=alert.merged_into)
    if alert.closed_at is not None:
        return _("over")
    if alert.acked_by is not None:
        return _("acknowledged")
    return _("not sent: known too late") if alert.late else _("open")


def _severity(name: str) -> str:
    return {"info": _("for information"), "warning": _("warning"), "critical": _("critical")}.get(
        name, name
    )


def alerts(visit: PageVisit) -> ListPage:
    """Alerts that are not over; with `state=all`, also those that began since some time."""
    state, regency = visit.query("state"), visit.query("regency")
    start, since = since_choice(visit)
    if visit.query("format") not in FORMATS:
        start = max(start, visit.now - _MOST_DAYS * DAY_S)
    found: list[Alert] = []
    failed = 0
    with _opened(visit) as records:
        if records is not None:
            found = records.alerts_since(start) if state == "all" else records.open_alerts()
            found = found[-EXPORTED:]
            if regency:
                found = [its for its in found if _concerns(records, its, regency)]
            failed = sum(its.queued_at >= start for its in records.messages(FAILED))
        known = records is not None
    places = _places(visit)
    note = _("'desalink alerts run' has never run here: nobody is alerted.")
    if known:
        note = _("{count} messages since {time} were not sent.").format(
            count=failed, time=wita(int(start))
        )
    return ListPage(
        "alerts",
        _("Alerts"),
        [
            Column("alert", _("Alert"), LINK, lambda its: _link(its.id)),
            Column("what", _("What"), of=lambda its: title(its, places)),
            Column("severity", _("Severity"), of=lambda its: _severity(its.severity)),
            Column("state", _("State"), of=_state),
            Column("began", _("Begin (WITA)"), TIME, lambda its: its.begin),
            Column("opened", _("Alerted (WITA)"), TIME, lambda its: its.opened_at),
            Column("slots", _("Slots"), NUMBER, lambda its: its.fallen),
            Column("acknowledged_by", _("Acknowledged by"), of=lambda its: its.acked_by),
            Column("acknowledged", _("Acknowledged (WITA)"), TIME, lambda its: its.acked_at),
            Column("over", _("Over (WITA)"), TIME, lambda its: its.closed_at),
        ],
        sorted(found, key=lambda its: -its.id),
        [
            regency_choice(visit),
            FilterChoice("state", _("State"), [("", _("not over")), ("all", _("all"))], state),
            since,
        ],
        note=" ".join([*visit.snapshot.banner(), note]),
        downloads=[("/alerts/messages", _("Messages that were sent, and those that were not"))],
    )


def _concerns(records: AlertRecords, alert: Alert, regency: str) -> bool:
    return any(its.member.startswith(regency) for its in records.members(alert.id))


_MESSAGE_STATES = (DUE, SENDING, SENT, FAILED, DROPPED)


def _message_state(state: str) -> str:
    return {
        DUE: _("waits"),
        SENDING: _("is being sent"),
        SENT: _("sent"),
        FAILED: _("not sent"),
        DROPPED: _("withdrawn"),
    }.get(state, state)


def _what(name: str) -> str:
    return {
        "opened": _("new"),
        "recovered": _("over"),
        "digest": _("digest"),
        "test": _("Test"),
    }.get(name, _("again, to more people"))


def _link(number: int | None) -> tuple[str, str] | None:
    return None if number is None else (f"/alerts/{number}", str(number))


def messages(visit: PageVisit) -> ListPage:
    """The outbox, the newest first. The texts stay there: they hold the links."""
    state, limit = visit.query("state"), limit_of(visit)
    with _opened(visit) as records:
        found = [] if records is None else records.messages(state or None, limit)
    return ListPage(
        "messages",
        _("Messages of alerts"),
        [
            Column("message", _("Number"), NUMBER, lambda its: its.id),
            Column("alert", _("Alert"), LINK, lambda its: _link(its.alert_id)),
            Column("queued", _("Queued (WITA)"), TIME, lambda its: its.queued_at),
            Column("kind", _("Kind"), of=lambda its: _what(its.what)),
            Column("channel", _("Channel")),
            Column("subject", _("Subject")),
            Column("state", _("State"), of=lambda its: _message_state(its.state)),
            Column("attempts", _("Attempts"), NUMBER),
            Column("sent", _("Sent (WITA)"), TIME, lambda its: its.sent_at),
            Column("error", _("Error")),
        ],
        found,
        [
            FilterChoice(
                "state",
                _("State"),
                [("", _("all")), *((name, _message_state(name)) for name in _MESSAGE_STATES)],
                state,
            )
        ],
        cut=len(found) == limit,
    )


def _found(visit: PageVisit, records: AlertRecords | None) -> tuple[AlertRecords, Alert]:
    number = visit.path("number")
    if records is not None and number.isdecimal() and len(number) < 16:
        alert = records.alert(int(number))
        if alert is not None:
            return records, alert
    raise NotFound(_("There is no such alert."))


def _may_act(visit: PageVisit, members: Sequence[AlertMember]) -> bool:
    """What concerns no village, such as the own broker, is the administrators'."""
    return visit.who.role == ADMINISTRATOR or any(visit.who.may_act(m.member) for m in members)


def one(visit: PageVisit) -> Response:
    """An alert: its villages, and who was sent what."""
    with _opened(visit) as opened:
        records, alert = _found(visit, opened)
        members, sent = records.members(alert.id), records.of_alert(alert.id)
    places = _places(visit)
    return visit.page(
        "alert.html",
        alert=alert,
        title=title(alert, places),
        step=step_of(alert, places.get(alert.value)),
        state=_state(alert),
        severity=_severity(alert.severity),
        members=members,
        labels=visit.snapshot.overview.labels,
        trouble=trouble_words,
        messages=sent,
        what=_what,
        message_state=_message_state,
        may_act=alert.closed_at is None and alert.acked_at is None and _may_act(visit, members),
    )


def acknowledge(visit: PageVisit) -> Response:
    """Somebody who is logged in takes care."""
    with _opened(visit) as opened:
        records, alert = _found(visit, opened)
        if not _may_act(visit, records.members(alert.id)):
            raise NotAllowed(_("Your account may not acknowledge this alert."))
        with records.transaction():
            taken = records.acknowledge(alert.id, visit.who.name, visit.now)
    if taken:
        visit.log("alert.acknowledge", f"alert {alert.id}", title(alert, _places(visit)))
    return visit.to(f"/alerts/{alert.id}")


# ---- the link of a message -------------------------------------------------------------------


def _linked(visit: PageVisit, records: AlertRecords | None) -> tuple[AlertRecords, Alert]:
    """The alert of the link's token.

    Raises:
        NotFound: the token is none of ours.
        NotAllowed: the address has tried too many, or the link has ended.
    """
    throttle, alert = visit.site.link_throttle, None
    if throttle.full(visit.address):
        raise NotAllowed(_("Too many wrong links came from your address; try again later."))
    try:
        if records is not None:
            alert = records.alert(read_token(records, visit.path("token")))
    except TokenError:
        throttle.failed(visit.address)
    if records is None or alert is None:
        raise NotFound(_("This link is not complete; copy all of it from the message."))
    if visit.now - alert.opened_at > LINK_S:
        raise NotAllowed(_("This link has ended; log in to see the alert."))
    return records, alert


def link(visit: PageVisit) -> Response:
    """What the alert is, and the button. Nothing is changed here."""
    with _opened(visit) as opened:
        _records, alert = _linked(visit, opened)
    places = _places(visit)
    return visit.page(
        "link.html",
        alert=alert,
        title=title(alert, places),
        step=step_of(alert, places.get(alert.value)),
        may_act=alert.closed_at is None and alert.acked_at is None,
        most_name=_MOST_NAME,
        name=visit.account.name if visit.account else "",
    )


def acknowledge_by_link(visit: PageVisit) -> Response:
    """Whoever has the message takes care, and says who it is."""
    if visit.account is not None:
        name = visit.account.name
    else:
        name = " ".join(visit.text("name", most=_MOST_NAME).split())
        if not name.isprintable():
            raise DesalinkError(_("A name has only characters that can be printed."))
        name += " (link)"  # nobody has checked it
    with _opened(visit) as opened:
        records, alert = _linked(visit, opened)
        with records.transaction():
            taken = records.acknowledge(alert.id, name, visit.now)
    if taken:
        detail = f"{name}: {title(alert, _places(visit))}"
        visit.log("alert.acknowledge", f"alert {alert.id}", detail, who=name)
    return visit.to(f"/a/{visit.path('token')}")


ROUTES = [
    PageRoute("/alerts", page_of(alerts)),
    PageRoute("/alerts/messages", page_of(messages)),
    PageRoute("/alerts/{number}", one),
    PageRoute("/alerts/{number}", acknowledge, OPERATOR, "POST"),
    PageRoute("/a/{token}", link, None),
    PageRoute("/a/{token}", acknowledge_by_link, None, "POST"),
]
