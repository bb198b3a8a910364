"""The province's page: counts, map, wall, the last hour, providers; and the search."""

from __future__ import annotations

from markupsafe import Markup
from starlette.responses import Response

from host_tools.pages import wall
from host_tools.pages.drawing import places
from host_tools.pages.serving import PageRoute
from host_tools.pages.visits import PageVisit
from host_tools.states.table import NONE
from host_tools.states.words import group, is_down
from host_tools.store.queries import SlotStatus


def matches(visit: PageVisit, slot: SlotStatus) -> bool:
    """Whether a slot is one of those that the address asks for."""
    regency, state, provider = (visit.query(name) for name in ("regency", "state", "provider"))
    return (
        slot.slot.startswith(regency)
        and (
            state in ("", slot.state)
            or (state == "down" and is_down(slot.state))
            or state == group(slot.state)
        )
        and (not provider or provider in visit.snapshot.providers.get(slot.village, ()))
    )


def province(visit: PageVisit) -> Response:
    """The first page."""
    snapshot = visit.snapshot
    groups: dict[str, list[str]] = {}
    shown = set()
    for slot in snapshot.overview.slots:
        if matches(visit, slot):
            shown.add(slot.village)
            groups.setdefault(slot.slot[:4], []).append(wall.box(snapshot, slot))
    regencies = {v.regency_code: v.regency for v in snapshot.villages.values()}
    dots = wall.dots(snapshot)
    filtered = any(visit.query(name) for name in ("regency", "state", "provider"))
    points = [
        (v.code, v.name, v.lat, v.lon, dots.get(f"m{v.code}", NONE))
        for v in snapshot.villages.values()
        if v.lat is not None and v.lon is not None and (v.code in shown or not filtered)
    ]
    return visit.page(
        "province.html",
        snapshot=snapshot,
        banner=wall.banner(snapshot),
        counts=wall.count_list(snapshot),
        hour=wall.hour(snapshot),
        moment=wall.moment(snapshot),
        providers=wall.providers(snapshot),
        map=places(points, regencies, visit.site.outlines, whole=not filtered),
        source=visit.site.settings.outlines_source,
        groups=[
            (code, regencies.get(code, code), len(boxes), Markup("").join(map(Markup, boxes)))
            for code, boxes in sorted(groups.items())
        ],
        regencies=sorted(regencies.items()),
        names=[(n, n) for n in sorted({n for its in snapshot.providers.values() for n in its})],
    )


_MOST_FOUND = 100


def search(visit: PageVisit) -> Response:
    """Villages by name, code, district, and devices by their key or serial."""
    wanted = visit.query("q")
    found = visit.registry.villages(find=wanted) if wanted else []
    devices = []
    if len(wanted) >= 4:
        digits = wanted.casefold()
        devices = [
            device
            for device in visit.snapshot.devices
            if device.kid.hex().startswith(digits)
            or digits in (device.unique_id or "").casefold()
            or digits == (device.certificate or "").casefold()
        ]
    if len(found) == 1 and not devices:
        return visit.to(f"/village/{found[0].code}")
    return visit.page(
        "search.html",
        wanted=wanted,
        found=found[:_MOST_FOUND],
        more=max(0, len(found) - _MOST_FOUND),
        devices=devices[:_MOST_FOUND],
        snapshot=visit.snapshot,
    )


ROUTES = [
    PageRoute("/", province, kept=True),
    PageRoute("/search", search),
]
