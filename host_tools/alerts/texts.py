"""What alerts say, in the language in force. Subjects are short: they are read on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from host_tools.alerts.places import AlertPlace
from host_tools.alerts.records import Alert, AlertMember
from host_tools.common.i18n import _, ngettext
from host_tools.common.times import span, wita

_LISTED = 20  # slots of a message

Spell = tuple[int, int, str]  # begin, end, state


@dataclass(frozen=True)
class MessageText:
    """A message for people."""

    subject: str
    body: str


def trouble_words(state: str) -> str:
    """What is wrong, for eyes."""
    words = {
        "no_data": _("no data"),
        "provider": _("provider down"),
        "dns": _("names do not resolve"),
        "portal": _("a log-in page blocks the internet"),
        "tls": _("secure connections are intercepted"),
        "interface": _("the device has no link to the router"),
        "gateway": _("the router does not answer"),
        "broker": _("the province is not reached"),
        "degraded": _("slow"),
        "clock": _("the device's clock is not set"),
        "flapping": _("up and down all the time"),
        "power": _("no power"),
        "agent": _("agent off"),
        "up": _("up"),
        "unused": _("not used"),
        "voltage": _("supply voltage is low"),
        "journal": _("the device's journal is filling"),
        "certificate": _("a certificate ends soon"),
        "disk": _("the province's disk is filling"),
        "channel": _("a channel takes no alerts"),
        "ingest": _("the ingest does not run"),
        "derive": _("the ingest is behind with its work"),
        "silence": _("all villages are silent at once"),
    }
    return words.get(state) or state


def advice(alert: Alert, place: AlertPlace | None) -> str:
    """What to do next."""
    if alert.scope == "own":
        return {
            "ingest": _("See 'systemctl status desalink-ingest' and start it again."),
            "broker": _("See 'systemctl status desalink-broker' and start it again."),
            "derive": _("Wait; if it lasts, see the log of desalink-ingest."),
        }.get(alert.state) or _("Check the broker, and this machine's own internet connection.")
    texts = {
        "no_data": _("Call the village: is there power? If there is, call the provider."),
        "provider": _("Call the provider."),
        "dns": _("Call the provider: its name server fails."),
        "portal": _("Call the provider: has the contract or its quota ended?"),
        "tls": _("Call the provider: somebody intercepts secure connections."),
        "interface": _("Call the village: is the cable or the Wi-Fi to the router all right?"),
        "gateway": _("Call the village: switch the router off and on again."),
        "broker": _("Ask the provider whether it blocks the broker's port."),
        "degraded": _("Ask the provider about its capacity there."),
        "clock": _("Let a technician check the device's clock and its battery."),
        "flapping": _("Call the village: a loose plug? Otherwise call the provider."),
        "unused": _("Call the village: does anybody know of the hotspot?"),
        "voltage": _("Let a technician check the battery and its charger."),
        "journal": _("See that the device reaches the broker: its journal will be full."),
        "disk": _("Make room, or move old months away with 'desalink archive'."),
        "channel": _("Correct it in alerts.toml, and try it: 'desalink alerts test CHANNEL'."),
    }
    if alert.scope not in ("slot", "rule") and alert.state in ("no_data", "provider"):
        return {
            "provider": _("Call the provider {name}.").format(name=alert.value),
            "medium": _("Call the providers of this medium."),
        }.get(alert.scope) or _("Ask for a power cut or a storm there, then call the providers.")
    text = texts.get(alert.state, "")
    if place is not None and place.provider and alert.state in ("provider", "no_data", "dns"):
        text += " " + _("Provider: {name}.").format(name=place.provider)
    return text


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
        whom=_whom(alert, places), trouble=trouble_words(alert.state), time=wita(alert.begin)
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
    lines.append(advice(alert, place))
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
        head = _("Province: works again ({trouble})").format(trouble=trouble_words(alert.state))
    ends = [end for _begin, end, _state in spells]
    length = (max(ends) if ends else now) - alert.begin
    lines = [
        f"{head}.",
        _("{trouble} since {time}, for {length}.").format(
            trouble=trouble_words(alert.state), time=wita(alert.begin), length=span(length)
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
