"""States, sizes and names of villages for eyes; and what to do about a state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from host_tools.common.i18n import _, marked

if TYPE_CHECKING:
    from host_tools.province.records import Village


def labels(villages: Iterable[Village]) -> dict[str, str]:
    """Village code to its name for eyes; with the district where several have the name."""
    villages = list(villages)
    count = Counter(village.name for village in villages)
    return {v.code: v.name if count[v.name] == 1 else f"{v.name} ({v.district})" for v in villages}


_WORDS = {
    "up": marked("up"),
    "degraded": marked("slow"),
    "broker": marked("no connection to the province"),
    "no_data": marked("no data"),
    "unknown": marked("not known yet"),
    "power": marked("no power"),
    "agent": marked("agent off"),
    "revoked": marked("revoked"),
    "empty": marked("no device"),
}
_CAUSES = {
    "provider": marked("provider"),
    "gateway": marked("gateway"),
    "interface": marked("interface"),
    "portal": marked("portal"),
    "clock": marked("clock"),
    "next_hop": marked("next_hop"),
    "other_dns": marked("other_dns"),
}


def state_word(state: str) -> str:
    """A state for eyes; causes of being down are shown by their name."""
    if state in _WORDS:
        return _(_WORDS[state])
    cause = _(_CAUSES[state]) if state in _CAUSES else state
    return _("down: {cause}").format(cause=cause)


def is_down(state: str) -> bool:
    """Whether a state is a cause of being down that is known."""
    return state not in ("up", "degraded", "no_data", "unknown", "revoked", "empty")


# What states have in common, for eyes: the classes of pages.css.
UP, SLOW, PROVIDER, SITE, POWER, DEVICE, OURS, NO_DATA, NONE = (
    *("up", "slow", "provider", "site", "power", "device", "ours", "nodata", "none"),
)
_GROUPS = {
    "up": UP,
    "degraded": SLOW,
    "provider": PROVIDER,
    "next_hop": PROVIDER,
    "dns": PROVIDER,
    "other_dns": PROVIDER,
    "portal": PROVIDER,
    "tls": PROVIDER,
    "interface": SITE,
    "gateway": SITE,
    "power": POWER,
    "agent": DEVICE,
    "clock": DEVICE,
    "broker": OURS,
    "no_data": NO_DATA,
    "unknown": NO_DATA,
    "revoked": NONE,
    "empty": NONE,
}
GROUPS = tuple(dict.fromkeys(_GROUPS.values()))


def group(state: str) -> str:
    """The group of a state; a cause from a newer version is the provider's."""
    return _GROUPS.get(state, PROVIDER)


_DAY_S = 86_400


def what_to_do(
    state: str, age_s: float | None, provider: str, others: int, maintenance: str = ""
) -> str:
    """What to do about a state, in a sentence.

    Args:
        maintenance: until when it is announced, for eyes; empty: there is none now.
        age_s: how long it lasts, None: nobody knows.
        provider: of the village, or empty.
        others: villages of the same provider that are down by the provider now.
    """
    text = _advice(state, age_s, others, maintenance=bool(maintenance))
    name = provider or _("the provider")
    return text.format(provider=name, count=others, time=maintenance)


def _advice(state: str, age_s: float | None, others: int, *, maintenance: bool) -> str:
    long = age_s is None or age_s > _DAY_S
    its = group(state)
    if its == UP:
        return _("Nothing to do.")
    if maintenance and its not in (OURS, NONE):
        return _("Wait: maintenance is announced until {time}.")
    if its == SLOW:
        if long:
            return _("Call {provider}: the link has been slow for more than a day.")
        return _("Wait: a slow link often recovers. Call {provider} after a day.")
    if its == PROVIDER:
        if others >= 3:
            return _(
                "Call {provider} once for all: {count} other villages of this provider are down "
                "too."
            )
        if state == "portal":
            return _("Call {provider}: the link shows a payment or log-in page.")
        return _("Call {provider}: the village's router answers, but nothing beyond it does.")
    if its == SITE:
        return _(
            "Call the village: the router does not answer. Ask to check its power and its cable."
        )
    if its == POWER:
        if long:
            return _("Call the village: it has had no power for more than a day.")
        return _("Wait: the village has no power. Call it after a day.")
    if its == DEVICE:
        return _("Call the village: the measuring device is off. Ask to plug it in again.")
    if its == OURS:
        return _("Check our own broker: the village has internet, but can't reach us.")
    if state == "revoked":
        return _("Enrol a new device: the key of the old one is revoked.")
    if its == NONE:
        return _("Install a device: the village never had one.")
    if age_s is None:
        return _("Go there, or call the technician: the device has never reported.")
    if long:
        return _("Call the village, then go there: no report has come for more than a day.")
    if age_s < 3600:
        return _("Wait: the last report came less than an hour ago.")
    return _("Call the village: no report has come for more than an hour.")
