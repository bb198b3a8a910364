"""Cases: an outage that people see to, from opening to closing."""

from __future__ import annotations

from starlette.responses import Response

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.listings.model import TIME, Column
from host_tools.pages import texts
from host_tools.pages.listing import (
    CASE,
    VILLAGE,
    FilterChoice,
    ListPage,
    before_of,
    limit_of,
    page_of,
    regency_choice,
)
from host_tools.pages.records import ACKNOWLEDGED, CLOSED, OPEN, OPERATOR, Case
from host_tools.pages.serving import PageRoute
from host_tools.pages.visits import NotFound, PageVisit, with_query

# What people find as the cause of an outage; the device's own word stays beside it.
CAUSES = (
    *("provider", "power", "router", "cable", "dish", "device", "theft", "weather"),
    *("maintenance", "unpaid", "none", "other"),
)
_MOST_WORD = 60
_MOST_SUBJECT = 200


def _case(visit: PageVisit) -> Case:
    number = visit.path("number")
    found = visit.book.case(int(number)) if number.isdecimal() and len(number) < 10 else None
    if found is None:
        raise NotFound(_("There is no such case."))
    return found


def cases(visit: PageVisit) -> ListPage:
    """Cases that are open; with `state`, closed ones too."""
    state, limit, assigned = visit.query("state"), limit_of(visit), visit.query("assigned")
    found = visit.book.cases(
        place=visit.query("regency"),
        state="" if state == "all" else state,
        closed=state in ("all", CLOSED),
        assigned=assigned,
        before=before_of(visit),
        limit=limit,
    )
    more = ""
    if len(found) == limit:
        asked = {name: visit.query(name) for name in ("regency", "state", "assigned")}
        more = with_query("/cases", **asked, before=found[-1].id)
    words = texts.case_states()
    return ListPage(
        "cases",
        _("Cases"),
        [
            Column("case", _("Case"), CASE, lambda case: case.id),
            Column("village", _("Village"), VILLAGE),
            Column("subject", _("Subject")),
            Column("state", _("State"), of=lambda case: words[case.state]),
            Column("assigned", _("Assigned to")),
            Column("opened", _("Opened (WITA)"), TIME, lambda case: case.opened_at),
            Column("opened_by", _("By")),
            Column("closed", _("Closed (WITA)"), TIME, lambda case: case.closed_at),
            Column("cause", _("Cause")),
        ],
        found,
        [
            regency_choice(visit),
            FilterChoice(
                "state",
                _("State"),
                [("", _("not closed")), ("all", _("all")), *words.items()],
                state,
            ),
            FilterChoice("assigned", _("Assigned to"), (), assigned),
        ],
        more,
    )


def open_(visit: PageVisit) -> Response:
    """Open a case about a village, perhaps about one of its outages."""
    its = visit.village()
    visit.may_act(its.code)
    subject, began = visit.text("subject", most=_MOST_SUBJECT), visit.form.get("began", "")
    moment = int(began) if began.isdecimal() and len(began) < 12 else None
    number = visit.book.open_case(its.code, subject, moment, who=visit.who.name, at=visit.now)
    visit.log("case.open", f"case {number}", f"{its.code}: {subject}")
    return visit.to(f"/cases/{number}")


def show(visit: PageVisit) -> Response:
    """A case and what was done."""
    its = _case(visit)
    return visit.page(
        "case.html",
        case=its,
        label=visit.snapshot.overview.labels.get(its.village, its.village),
        notes=visit.book.case_notes(its.id),
        causes=CAUSES,
        causes_named=texts.causes(),
        case_states=texts.case_states(),
        actions=texts.actions(),
        may_act=visit.who.may_act(its.village),
    )


def change(visit: PageVisit) -> Response:
    """Acknowledge, assign, comment, close or open again."""
    its = _case(visit)
    visit.may_act(its.village)
    action, text = visit.text("action"), visit.text("text", needed=False)
    state, assigned, cause = its.state, None, None
    if action == "acknowledge" and its.state == OPEN:
        state, assigned = ACKNOWLEDGED, its.assigned or visit.who.name
    elif action == "assign":
        assigned = visit.text("assigned", most=_MOST_WORD)
        text = f"{assigned}. {text}".strip()
    elif action == "comment":
        text = visit.text("text")
    elif action == "close" and its.state != CLOSED:
        state, cause = CLOSED, visit.text("cause")
        if cause not in CAUSES:
            raise DesalinkError(_("Choose a cause from the list."))
        text = f"{cause}. {text}".strip()
    elif action == "reopen" and its.state == CLOSED:
        state = OPEN
    else:
        raise DesalinkError(_("This case has changed; open it again."))
    visit.book.change_case(
        its.id,
        state,
        who=visit.who.name,
        at=visit.now,
        action=action,
        text=text,
        assigned=assigned,
        cause=cause,
    )
    visit.log(f"case.{action}", f"case {its.id}", text)
    return visit.to(f"/cases/{its.id}")


ROUTES = [
    PageRoute("/cases", page_of(cases)),
    PageRoute("/village/{code}/case", open_, OPERATOR, "POST"),
    PageRoute("/cases/{number}", show),
    PageRoute("/cases/{number}", change, OPERATOR, "POST"),
]
