"""What alerts say, in the language in force. Subjects are short: they are read on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from host_tools.alerts.moment import OWN_SIDE, is_group
from host_tools.alerts.places import AlertPlace
from host_tools.alerts.records import Alert, AlertMember
from host_tools.common.i18n import _, marked, ngettext
from host_tools.common.times import span, wita
from host_tools.states.table import ADMINISTRATOR, OFFICE, OURS, TECHNICIAN, Step
from host_tools.states.words import LONG, group, next_step, state_sentence
from host_tools.wire.vocabulary import NO_DATA

_LISTED = 20  # slots of a message

Spell = tuple[int, int, str]  # begin, end, state


@dataclass(frozen=True)
class MessageText:
    """A message for people."""

    subject: str
    body: str


# Troubles that are no state: those that rules find beside states, and those of the own side.
_TROUBLES = {
    "flapping": marked("up and down all the time"),
    "unused": marked("not used"),
    "voltage": marked("supply voltage is low"),
    "journal": marked("the device's journal is filling"),
    "certificate": marked("a certificate ends soon"),
    "disk": marked("the province's disk is filling"),
    "channel": marked("a channel takes no alerts"),
}
_STEPS = {
    "flapping": Step(
        OFFICE, marked("Call the village: a loose plug? Otherwise call the provider.")
    ),
    "unused": Step(OFFICE, marked("Call the village: does anybody know of the hotspot?")),
    "voltage": Step(TECHNICIAN, marked("Check the battery and its charger.")),
    "journal": Step(
        OFFICE, marked("See that the device reaches the broker: its journal will be full.")
    ),
    "certificate": Step(ADMINISTRATOR, marked("Renew what ends, as the list says.")),
    "disk": Step(
        ADMINISTRATOR, marked("Make room, or move old months away with 'desalink archive'.")
    ),
    "channel": Step(
        ADMINISTRATOR,
        marked("Correct it in alerts.toml, and try it: 'desalink alerts test CHANNEL'."),
    ),
}
_OWN = {
    "ingest": marked("the ingest does not run"),
    "broker": marked("the ingest has no connection to the broker"),
    "derive": marked("the ingest is behind with its work"),
    "silence": marked("all villages are silent at once"),
}
_OWN_STEPS = {
    "ingest": marked("See 'systemctl status desalink-ingest' and start it again."),
    "broker": marked("See 'systemctl status desalink-broker' and start it again."),
    "derive": marked("Wait; if it lasts, see the log of desalink-ingest."),
    "silence": marked("Check the broker, and this machine's own internet connection."),
}
# What fell together has a cause in what it shares.
_SHARED_STEPS = {
    "provider": marked("Call the provider {name}."),
    "medium": marked("Call the providers of this medium."),
}
_PLACE_STEP = marked("Ask for a power cut or a storm there, then call the providers.")


def alert_words(alert: Alert) -> str:
    """What is wrong, for eyes."""
    if alert.scope == OWN_SIDE:
        return _(_OWN[alert.state]) if alert.state in _OWN else alert.state
    return trouble_words(alert.state)


def trouble_words(state: str) -> str:
    """What is wrong with a slot: its state, or what a rule has found."""
    return _(_TROUBLES[state]) if state in _TROUBLES else state_sentence(state)


def step_of(alert: Alert, place: AlertPlace | None) -> Step:
    """What to do next, and who does it, in the language in force."""
    step = _STEPS.get(alert.state)
    if alert.scope == OWN_SIDE:
        step = Step(ADMINISTRATOR, _OWN_STEPS.get(alert.state, _OWN_STEPS["silence"]))
    elif is_group(alert) and alert.state in (NO_DATA, "provider"):
        step = Step(OFFICE, _SHARED_STEPS.get(alert.scope, _PLACE_STEP))
    if step is None:
        others = alert.fallen - 1 if is_group(alert) and group(alert.state) == OURS else 0
        provider = place.provider if place else ""
        if alert.scope == "provider":
            provider = alert.value
        return next_step(alert.state, LONG, provider, others)
    return Step(_(step.who), _(step.text).format(name=alert.value))


def _whom(alert: Alert, places: Mapping[str, AlertPlace]) -> str:
    """What an alert concerns: a village, or how many of what."""
    if alert.scope == "slot":
        place = places.get(alert.value)
        return place.label if place else alert.value
    if alert.scope == "own":
        return _("Province")
    villages = ngettext("{count} village", "{count} villages", alert.fallen).format(
        count=alert.fallen
    )
    if alert.scope == "rule":
        return _("Province") if alert.rule in ("certificate", "disk", "channel") else villages
    some = next((p for p in places.values() if (alert.scope, alert.value) in p.keys), None)
    name = {
        "district": some.district if some else "",
        "regency": some.regency if some else "",
    }.get(alert.scope) or alert.value
    text = {
        "provider": _("{villages} of {name}"),
        "medium": _("{villages} over {name}"),
        "district": _("{villages} in {name}"),
        "regency": _("{villages} in {name}"),
    }.get(alert.scope, "{villages}")
    return text.format(villages=villages, name=name)


def title(alert: Alert, places: Mapping[str, AlertPlace]) -> str:
    """An alert in a line."""
    text = _("{whom}: {trouble} since {time}").format(
        whom=_whom(alert, places), trouble=alert_words(alert), time=wita(alert.begin)
    )
    return text + (" " + _("(flapping)") if alert.flapping else "")


def _listing(members: Sequence[AlertMember], places: Mapping[str, AlertPlace]) -> list[str]:
    lines = []
    for member in members[:_LISTED]:
        place = places.get(member.member)
        name = f"{place.label} ({member.member})" if place else member.member
        what = member.detail or wita(member.begin)
        lines.append(f"- {name}: {what}")
    if len(members) > _LISTED:
        lines.append(_("- and {count} more").format(count=len(members) - _LISTED))
    return lines


def opened(
    alert: Alert,
    members: Sequence[AlertMember],
    places: Mapping[str, AlertPlace],
    link: str,
    *,
    escalated: bool = False,
) -> MessageText:
    """That something is wrong, or that nobody has taken care of it."""
    head = title(alert, places)
    subject = _("Not acknowledged: {title}").format(title=head) if escalated else head
    place = places.get(alert.value) if alert.scope == "slot" else None
    lines = [f"{head}."]
    if place is not None:
        lines.append(f"{place.slot}, {place.district}, {place.regency}")
    if alert.flapping:
        lines.append(_("It goes up and down; the next message comes once it is stable."))
    step = step_of(alert, place)
    lines.append(_("What to do ({who}): {step}").format(who=step.who, step=step.text))
    if alert.scope not in ("slot", "own"):
        lines += ["", *_listing(members, places)]
    lines += ["", _("Acknowledge: {link}").format(link=link)]
    return MessageText(_subject(alert, subject), "\n".join(filter_blank(lines)))


def recovered(
    alert: Alert,
    members: Sequence[AlertMember],
    places: Mapping[str, AlertPlace],
    spells: Sequence[Spell],
    now: int,
) -> MessageText:
    """That it is over, and what it was as far as it is known by now.

    Args:
        spells: of a single slot, the states that were not up.
    """
    head = _("{whom}: up again").format(whom=_whom(alert, places))
    if alert.scope == "own":
        head = _("Province: works again ({trouble})").format(trouble=alert_words(alert))
    ends = [end for _begin, end, _state in spells]
    length = (max(ends) if ends else now) - alert.begin
    lines = [
        f"{head}.",
        _("{trouble} since {time}, for {length}.").format(
            trouble=alert_words(alert), time=wita(alert.begin), length=span(length)
        ),
    ]
    causes = [spell for spell in spells if spell[2] != "no_data"]
    if causes:
        lines.append(_("What the device has reported since:"))
        lines += [
            f"- {trouble_words(state)}: {wita(begin)}, {span(end - begin)}"
            for begin, end, state in causes[:_LISTED]
        ]
    left = [member for member in members if member.recovered_at is None]
    if left:
        lines += ["", _("Not up yet:"), *_listing(left, places)]
    return MessageText(_subject(alert, head), "\n".join(lines))


def trial(channel: str) -> MessageText:
    """A message that only tries a channel."""
    text = _("This is a test of the channel {name}. Nothing is wrong.").format(name=channel)
    return MessageText(f"[Desalink] {_('Test')}", text)


def _subject(alert: Alert, text: str) -> str:
    return f"[Desalink #{alert.id}] {text}"


def filter_blank(lines: Sequence[str]) -> list[str]:
    """Without two blank lines in a row, and none at the end."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return kept
