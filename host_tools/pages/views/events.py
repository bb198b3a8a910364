"""Maintenance, force majeure and disputes, as `desalink events` records them."""

from __future__ import annotations

from host_tools.common.i18n import _
from host_tools.listings.model import TIME, Column
from host_tools.pages import texts
from host_tools.pages.listing import FilterChoice, ListPage, page_of
from host_tools.pages.serving import PageRoute
from host_tools.pages.visits import PageVisit
from host_tools.province.contract_records import ContractEvent


def events(visit: PageVisit) -> ListPage:
    """Events that last or are to come; with `state=all`, all of them. The newest first."""
    state, kinds, scopes = visit.query("state"), texts.event_kinds(), texts.event_scopes()
    labels = visit.snapshot.overview.labels

    def place(event: ContractEvent) -> str:
        value = labels.get(event.value, event.value)
        return f"{scopes.get(event.scope, event.scope)} {value}".strip()

    return ListPage(
        "maintenance",
        _("Maintenance and disputes"),
        [
            Column("id", _("Number")),
            Column("kind", _("Kind"), of=lambda event: kinds.get(event.kind, event.kind)),
            Column("place", _("Where"), of=place),
            Column("begin", _("Begin (WITA)"), TIME),
            Column("end", _("End (WITA)"), TIME),
            Column("why", _("Why")),
            Column("who", _("By")),
            Column("withdrawn", _("Withdrawn (WITA)"), TIME, lambda event: event.withdrawn_at),
        ],
        [
            event
            for event in reversed(visit.registry.contract_events(withdrawn=state == "all"))
            if state == "all" or event.end > visit.now
        ],
        [FilterChoice("state", _("State"), [("", _("not over")), ("all", _("all"))], state)],
        note=_("'desalink events' records and withdraws them."),
    )


ROUTES = [PageRoute("/maintenance", page_of(events), kept=True)]
