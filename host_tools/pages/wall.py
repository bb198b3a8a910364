"""The parts of the province's page that change by themselves, each with the id of its element."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape

from host_tools.common.i18n import _, language
from host_tools.common.times import DAY_S, clock_time, wita
from host_tools.pages.drawing import strip
from host_tools.pages.snapshot import Snapshot, Strip
from host_tools.states.table import GROUPS, PROVIDER, SILENT, SLOW, UP
from host_tools.states.words import group, is_down, state_word
from host_tools.store.queries import SlotStatus

_BAR_S = 900  # strips move on by so much
_FIRST = ("up", "degraded")


# By language and slot: what a box shows, and the box. Most are the same as in the last second.
_made: dict[tuple[str, str], tuple[object, str]] = {}


def box(snapshot: Snapshot, slot: SlotStatus) -> str:
    """A slot's box: its name, its state, its last 24 hours."""
    maintenance = snapshot.maintenance_of(slot.slot)
    shown = (
        *(snapshot.overview.labels.get(slot.village, slot.village), slot.state, slot.since),
        slot.slot in snapshot.overview.lost,
        maintenance.end if maintenance else None,
        slot.due,
        snapshot.overview.old_since,
        int(snapshot.at) // _BAR_S * _BAR_S + _BAR_S,
        snapshot.strips.get(slot.slot, []),
    )
    key = (language(), slot.slot)
    made = _made.get(key)
    if made is None or made[0] != shown:
        made = _made[key] = (shown, _box(slot, *shown))
    return made[1]


def _box(
    slot: SlotStatus,
    name: str,
    state: str,
    since: int | None,
    lost: bool,
    maintenance: int | None,
    due: int | None,
    old_since: int | None,
    end: int,
    spans: Strip,
) -> str:
    its, said = group(state), state_word(state)
    if not slot.slot.endswith("-1") and "-" in slot.slot:
        name += f" ({slot.slot[11:]})"
    if since:
        said += f", {wita(since)}"
    if due is not None:
        said += _(", first report due {time}").format(time=clock_time(due)[:5])
    if old_since is not None:
        said += "; " + _("as of {time}").format(time=wita(old_since))
        its += " old"
    if lost:
        said += "; " + _("session lost")
        its += " lost"
    if maintenance is not None:
        said += "; " + _("maintenance until {time}").format(time=wita(maintenance))
    return (
        f'<a id="b{slot.slot}" class="box {its}" href="/village/{slot.village}" '
        f'title="{escape(said)}">{escape(name)}{strip(spans, end - DAY_S, end)}</a>'
    )


@dataclass(frozen=True)
class StateCount:
    """How many slots have a state, and how many more than a day ago."""

    state: str
    count: int
    more: int


def counts(snapshot: Snapshot) -> list[StateCount]:
    """The states that there are or were, the good ones first, then the most frequent."""
    now = snapshot.overview.counts()
    states = set(now) | {state for state, count in snapshot.yesterday.items() if count}
    order = sorted(
        states,
        key=lambda state: (
            _FIRST.index(state) if state in _FIRST else 2 + (not is_down(state)),
            -now[state],
            state,
        ),
    )
    return [StateCount(s, now[s], now[s] - snapshot.yesterday[s]) for s in order]


@dataclass(frozen=True)
class ProviderNow:
    """A provider now: its slots, how many are up, slow, down by it, without data; the share of
    the last 24 hours' known time in which they were up, None: nothing is known."""

    name: str
    slots: int
    up: int
    slow: int
    down: int
    no_data: int
    share: float | None


def providers(snapshot: Snapshot) -> list[ProviderNow]:
    """Every provider by its name; what has none comes last."""
    since = int(snapshot.at) - DAY_S
    slots_of: dict[str, list[SlotStatus]] = {}
    for slot in snapshot.overview.slots:
        for name in snapshot.providers.get(slot.village) or [""]:
            slots_of.setdefault(name, []).append(slot)
    found = []
    for name, slots in sorted(slots_of.items(), key=lambda item: (not item[0], item[0])):
        groups = [group(slot.state) for slot in slots]
        good = known = 0
        for slot in slots:
            for begin, end, state in snapshot.strips.get(slot.slot, ()):
                length, its = end - max(begin, since), group(state)
                # Availability is the provider's: other causes are not in it.
                if its in (UP, SLOW, PROVIDER):
                    known += length
                    good += length * (its != PROVIDER)
        found.append(
            ProviderNow(
                name,
                len(slots),
                groups.count(UP),
                groups.count(SLOW),
                groups.count(PROVIDER),
                groups.count(SILENT),
                good / known if known else None,
            )
        )
    return found


def hour(snapshot: Snapshot) -> Markup:
    """What changed in the last hour."""
    rows = [
        Markup('<li><time>{}</time> <a href="/village/{}">{}</a> {}</li>').format(
            clock_time(change.t)[:5],
            change.slot[:10],
            snapshot.overview.labels.get(change.slot[:10], change.slot),
            state_word(change.state),
        )
        for change in snapshot.changes[:40]
    ]
    if len(snapshot.changes) > 40:
        more = _("{count} more").format(count=len(snapshot.changes) - 40)
        rows.append(Markup("<li>{}</li>").format(more))
    if not rows:
        rows = [Markup("<li>{}</li>").format(_("Nothing changed."))]
    return Markup('<ul id="hour">{}</ul>').format(Markup("").join(rows))


def count_list(snapshot: Snapshot) -> Markup:
    """The counts by state; each leads to its slots."""
    rows = [
        Markup(
            '<li class="{}"><a href="/?state={}"><b>{}</b> {}</a> <small>{}</small></li>'
        ).format(
            group(one.state),
            one.state,
            one.count,
            state_word(one.state),
            f"{one.more:+d}" if one.more else "±0",
        )
        for one in counts(snapshot)
    ]
    return Markup('<ul id="counts" class="counts">{}</ul>').format(Markup("").join(rows))


def banner(snapshot: Snapshot) -> Markup:
    """What is wrong on our own side; empty if nothing is."""
    said = Markup("").join(Markup("<p>{}</p>").format(text) for text in snapshot.banner())
    return Markup('<div id="banner" role="alert">{}</div>').format(said)


def moment(snapshot: Snapshot) -> Markup:
    """Of when the page is."""
    return Markup('<span id="moment">{}</span>').format(wita(snapshot.at))


def parts(snapshot: Snapshot) -> dict[str, str]:
    """Every part by the id of its element, in the language in force."""
    found = {
        "banner": str(banner(snapshot)),
        "counts": str(count_list(snapshot)),
        "hour": str(hour(snapshot)),
        "moment": str(moment(snapshot)),
    }
    found.update((f"b{slot.slot}", box(snapshot, slot)) for slot in snapshot.overview.slots)
    return found


def dots(snapshot: Snapshot) -> dict[str, str]:
    """The class of each village's point on the map: of the slot that is the worst."""
    found: dict[str, str] = {}
    for slot in snapshot.overview.slots:
        its, name = group(slot.state), f"m{slot.village}"
        if name not in found or GROUPS.index(its) > GROUPS.index(found[name]):
            found[name] = its
    return found
