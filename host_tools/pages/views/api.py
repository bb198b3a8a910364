"""The read-only API: the lists as JSON, and their description as OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse, Response

from host_tools import __version__
from host_tools.common.i18n import _
from host_tools.common.times import iso
from host_tools.exports import netjson, senml
from host_tools.listings.model import NUMBER, SHARE, SIZE, SPAN, TIME
from host_tools.pages import wall
from host_tools.pages.listing import CASE, VILLAGE, ListPage
from host_tools.pages.serving import PageRoute
from host_tools.pages.views import alerts, cases, devices, events, lists, months, outages
from host_tools.pages.visits import NotFound, PageVisit

_ROOT = "/api/v1"
_LISTS: dict[str, Callable[[PageVisit], ListPage]] = {
    "villages": lists.villages,
    "outages": outages.outages,
    "providers": lists.providers,
    "devices": devices.devices,
    "usage": lists.usage,
    "cases": cases.cases,
    "alerts": alerts.alerts,
    "quarantine": lists.quarantine,
    "maintenance": events.events,
    "months": months.months,
}
_NUMBERS = (NUMBER, SHARE)
_WHOLE = (CASE, SIZE, SPAN)


def _list(make: Callable[[PageVisit], ListPage]) -> Callable[[PageVisit], Response]:
    def answer(visit: PageVisit) -> Response:
        listing = make(visit)
        following = listing.more.replace("/", f"{_ROOT}/", 1) if listing.more else None
        return JSONResponse({"rows": listing.table(visit).records(), "next": following})

    return answer


def status(visit: PageVisit) -> Response:
    """The province in a few numbers."""
    snapshot = visit.snapshot
    its = snapshot.overview
    return JSONResponse(
        {
            "at": iso(snapshot.at),
            "villages": its.villages,
            "installed": its.installed,
            "states": {one.state: one.count for one in wall.counts(snapshot)},
            "ours": snapshot.banner(),
            "last_message": iso(its.liveness.message) if its.liveness else None,
        }
    )


def village(visit: PageVisit) -> Response:
    """A village: its slots now."""
    code = visit.path("code")
    its = visit.snapshot.villages.get(code)
    if its is None:
        raise NotFound(_("There is no such village."))
    return JSONResponse(
        {
            "code": its.code,
            "name": its.name,
            "district": its.district,
            "regency": its.regency,
            "latitude": its.lat,
            "longitude": its.lon,
            "providers": visit.snapshot.providers.get(code, []),
            "slots": [
                {
                    "slot": slot.slot,
                    "state": slot.state,
                    "since": iso(slot.since),
                    "last_report": iso(slot.last_report),
                }
                for slot in visit.snapshot.slots_of(code)
            ],
        }
    )


def as_netjson(visit: PageVisit) -> Response:
    """Every slot now, for controllers of networks."""
    snapshot = visit.snapshot
    return JSONResponse(netjson.collection(snapshot.overview.slots, snapshot.villages, visit.now))


def as_senml(visit: PageVisit) -> Response:
    """The newest values of every slot, for databases of time series."""
    found = senml.pack(visit.snapshot.overview.slots, visit.now)
    return JSONResponse(found, media_type="application/senml+json")


def openapi(visit: PageVisit) -> Response:
    """The description of the API, from the very columns that it answers with."""
    paths: dict[str, Any] = {
        f"{_ROOT}/status": _operation(_("The province in a few numbers."), [], {"type": "object"}),
        f"{_ROOT}/villages/{{code}}": _operation(
            _("A village and its slots now."),
            [{"name": "code", "in": "path", "required": True, "schema": {"type": "string"}}],
            {"type": "object"},
        ),
        f"{_ROOT}/netjson": _operation(
            _("All slots now, as NetJSON DeviceMonitoring."), [], {"type": "object"}
        ),
        f"{_ROOT}/senml": _operation(
            _("The newest values of all slots, as SenML (RFC 8428)."),
            [],
            {"type": "array"},
            "application/senml+json",
        ),
    }
    for name, make in _LISTS.items():
        listing = make(visit)
        parameters = [
            {"name": choice.name, "in": "query", "schema": {"type": "string"}}
            for choice in listing.choices
        ]
        paths[f"{_ROOT}/{name}"] = _operation(listing.title, parameters, _schema(listing))
    return JSONResponse(
        {
            "openapi": "3.1.0",
            "info": {"title": f"Desalink {visit.site.province.name}", "version": __version__},
            "paths": paths,
            "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
            "security": [{"token": []}],
        }
    )


def _operation(
    summary: str,
    parameters: list[Any],
    schema: dict[str, Any],
    kind: str = "application/json",
) -> dict[str, Any]:
    content = {kind: {"schema": schema}}
    answers = {
        "200": {"description": summary, "content": content},
        "401": {"description": _("A token is needed.")},
        "503": {"description": _("The database is busy; try again in a moment.")},
    }
    return {"get": {"summary": summary, "parameters": parameters, "responses": answers}}


def _schema(listing: ListPage) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for column in listing.columns:
        kind = "string"
        if column.kind in _NUMBERS:
            kind = "number"
        elif column.kind in _WHOLE:
            kind = "integer"
        fields[column.key] = {"type": [kind, "null"], "description": column.heading}
        if column.kind == TIME:
            fields[column.key]["format"] = "date-time"
        if column.kind == VILLAGE:
            fields["name"] = {"type": "string"}
    row = {"type": "object", "properties": fields}
    return {
        "type": "object",
        "properties": {
            "rows": {"type": "array", "items": row},
            "next": {"type": ["string", "null"], "description": "path of older rows"},
        },
    }


ROUTES = [
    *(PageRoute(f"{_ROOT}/{name}", _list(make), program=True) for name, make in _LISTS.items()),
    PageRoute(f"{_ROOT}/villages/{{code}}", village, program=True),
    PageRoute(f"{_ROOT}/status", status, program=True),
    PageRoute(f"{_ROOT}/netjson", as_netjson, program=True),
    PageRoute(f"{_ROOT}/senml", as_senml, program=True),
    PageRoute(f"{_ROOT}/openapi.json", openapi, program=True),
]
