"""Every state in people's words, once: of the agent's vocabulary, and those that follow from it.

Texts are marked for the catalogue and translated where they are used (host_tools/states/words.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from host_tools.common.i18n import marked
from host_tools.wire.vocabulary import CONNECTED, NO_DATA, OFF_AGENT, OFF_POWER

# Of a slot whose devices are all revoked, and of a village that never had one.
REVOKED, EMPTY = "revoked", "empty"

# What states have in common, for eyes: the classes of pages.css, the good ones first.
UP, SLOW, PROVIDER, SITE, POWER, DEVICE, OURS, SILENT, NONE = (
    *("up", "slow", "provider", "site", "power", "device", "ours", "nodata", "none"),
)
GROUPS = (UP, SLOW, PROVIDER, SITE, POWER, DEVICE, OURS, SILENT, NONE)

NOBODY, OFFICE = marked("nobody"), marked("the office")
ADMINISTRATOR, TECHNICIAN = marked("the server's administrator"), marked("a technician")

_HOUR_S, _DAY_S = 3600, 86_400


@dataclass(frozen=True)
class Step:
    """What is to be done, and who does it.

    The text may name `{provider}`, `{count}` (of other villages) and `{time}`.
    """

    who: str
    text: str


@dataclass(frozen=True)
class StateText:
    """A state in people's words.

    word: for a table. sentence: what is so, within a line. part: of the link, as a probe of it is
    called. step: what to do once the state has lasted for `patience_s`; first: until then.
    many: instead of both, where as many other villages have it at once. on_site: what a technician
    looks at in the village; empty: nothing.
    """

    group: str
    word: str
    sentence: str
    step: Step
    first: Step | None = None
    patience_s: int = 0
    many: Step | None = None
    part: str = ""
    on_site: str = ""


_PROVIDER_FOR_MANY = Step(
    OFFICE,
    marked("Call {provider} once for all: {count} other villages of this provider are down too."),
)

STATE_TEXTS = {
    "up": StateText(UP, marked("up"), marked("connected"), Step(NOBODY, marked("Nothing to do."))),
    "degraded": StateText(
        SLOW,
        marked("slow"),
        marked("slow: losses or delays"),
        Step(
            OFFICE, marked("Call {provider}: the link stays slow. Ask about its capacity there.")
        ),
        first=Step(
            OFFICE, marked("Wait: a slow link often recovers. Call {provider} after a day.")
        ),
        patience_s=_DAY_S,
        part=marked("quality"),
        on_site=marked(
            "The link loses answers. Point the antenna with 'desalink device watch', and check "
            "plugs and cables for water and damage."
        ),
    ),
    "interface": StateText(
        SITE,
        marked("down: interface"),
        marked("the device has no link to the router"),
        Step(
            OFFICE,
            marked(
                "Call the village: ask to check the router's power, and the cable or the Wi-Fi "
                "between it and the device."
            ),
        ),
        part=marked("own network"),
        on_site=marked(
            "The device has no link. Check the power of router and access point, and both ends "
            "of the cable. With Wi-Fi, check the distance and the antenna."
        ),
    ),
    "gateway": StateText(
        SITE,
        marked("down: gateway"),
        marked("the village's router does not answer"),
        Step(
            OFFICE,
            marked(
                "Call the village: the router does not answer. Ask to check its power and its "
                "cable, and to switch it off and on again."
            ),
        ),
        part=marked("router"),
        on_site=marked(
            "The router does not answer. Check its power and the cable between it and the "
            "device. Restart it and wait two minutes."
        ),
    ),
    "provider": StateText(
        PROVIDER,
        marked("down: provider"),
        marked("the provider does not answer"),
        Step(
            OFFICE,
            marked("Call {provider}: the village's router answers, but nothing beyond it does."),
        ),
        many=_PROVIDER_FOR_MANY,
        part=marked("provider"),
        on_site=marked(
            "The router works, but nothing answers behind it. Check the power and the lamps of "
            "the modem, radio or dish. Check the cable between it and the router. Look for "
            "something in front of the antenna, and point it with 'desalink device watch'. If "
            "all that is right, call the provider."
        ),
    ),
    "next_hop": StateText(
        PROVIDER,
        marked("down: provider's first router"),
        marked("the provider's first router does not answer"),
        Step(OFFICE, marked("Call {provider}: its first router does not answer.")),
        many=_PROVIDER_FOR_MANY,
        part=marked("provider's first router"),
    ),
    "dns": StateText(
        PROVIDER,
        marked("down: dns"),
        marked("names are not resolved (DNS)"),
        Step(
            OFFICE,
            marked(
                "Let the village restart its router: the internet answers, but names are not "
                "resolved (DNS). If that does not help, call {provider}: its name server fails."
            ),
        ),
        many=_PROVIDER_FOR_MANY,
        part=marked("name server"),
        on_site=marked(
            "The internet answers, but names are not resolved. Restart the router. If that does "
            "not help, have the provider check its name server."
        ),
    ),
    "other_dns": StateText(
        PROVIDER,
        marked("down: other name servers too"),
        marked("other name servers do not answer either"),
        Step(OFFICE, marked("Call {provider}: no name server answers, not even others.")),
        many=_PROVIDER_FOR_MANY,
        part=marked("another name server"),
    ),
    "portal": StateText(
        PROVIDER,
        marked("down: portal"),
        marked("a payment or log-in page blocks the internet"),
        Step(
            OFFICE,
            marked(
                "Call {provider}: the link shows a payment or log-in page. Ask whether the "
                "contract or its quota has ended."
            ),
        ),
        many=_PROVIDER_FOR_MANY,
        part=marked("login page"),
        on_site=marked(
            "A login page blocks the link. Ask the provider to allow this device without a login."
        ),
    ),
    "tls": StateText(
        PROVIDER,
        marked("down: tls"),
        marked("secure connections are intercepted (TLS)"),
        Step(
            OFFICE,
            marked(
                "Call {provider}: secure connections are intercepted. Ask for a connection "
                "without a filter."
            ),
        ),
        many=_PROVIDER_FOR_MANY,
        part=marked("encryption"),
        on_site=marked(
            "Something between the device and the province breaks the encryption. Check the "
            "clock of the device. Ask the provider for a connection without filter."
        ),
    ),
    "broker": StateText(
        OURS,
        marked("no connection to the province"),
        marked("the internet is there, the province is not reached"),
        Step(
            OFFICE,
            marked(
                "Call {provider}: the village has internet, but can't reach the province. Ask "
                "whether it blocks the broker's port."
            ),
        ),
        many=Step(
            ADMINISTRATOR,
            marked(
                "Check our own broker and its internet connection: {count} other villages have "
                "internet and can't reach us either."
            ),
        ),
        part=marked("province's server"),
        on_site=marked(
            "The internet works here. The province's server does not answer or refuses this "
            "device: call the office. Reports wait on the device until then."
        ),
    ),
    "clock": StateText(
        DEVICE,
        marked("device's clock not set"),
        marked("the device's clock is not set"),
        Step(TECHNICIAN, marked("Check the device's clock and its battery.")),
        part=marked("device's clock"),
    ),
    OFF_POWER: StateText(
        POWER,
        marked("no power"),
        marked("no power"),
        Step(OFFICE, marked("Call the village: it has no power. Ask when the power comes back.")),
        first=Step(OFFICE, marked("Wait: the village has no power. Call it after a day.")),
        patience_s=_DAY_S,
    ),
    OFF_AGENT: StateText(
        DEVICE,
        marked("agent off"),
        marked("the measuring device is off"),
        Step(
            OFFICE,
            marked("Call the village: the measuring device is off. Ask to plug it in again."),
        ),
    ),
    CONNECTED: StateText(
        SILENT,
        marked("connected, no report yet"),
        marked("connected, its first report has not come yet"),
        Step(NOBODY, marked("Wait: the device is connected, and its first report is due.")),
    ),
    NO_DATA: StateText(
        SILENT,
        marked("no data"),
        marked("no data"),
        Step(
            OFFICE,
            marked(
                "Call the village: is there power? If there is, call {provider}. After a day "
                "without reports send a technician."
            ),
        ),
        first=Step(OFFICE, marked("Wait: the last report came less than an hour ago.")),
        patience_s=_HOUR_S,
    ),
    "unknown": StateText(
        SILENT,
        marked("not known yet"),
        marked("not known yet"),
        Step(
            NOBODY,
            marked(
                "Wait: the device has just started, or may measure nothing until the month turns."
            ),
        ),
        on_site=marked(
            "Nothing could be probed. Check the settings of the device with the office."
        ),
    ),
    REVOKED: StateText(
        NONE,
        marked("revoked"),
        marked("the device's key is revoked"),
        Step(TECHNICIAN, marked("Enrol a new device: the key of the old one is revoked.")),
    ),
    EMPTY: StateText(
        NONE,
        marked("no device"),
        marked("the village never had a device"),
        Step(TECHNICIAN, marked("Install a device: the village never had one.")),
    ),
}

# A device of which nothing was ever heard, whatever its state.
UNHEARD = Step(TECHNICIAN, marked("Go there, or call the village: the device has never reported."))
MAINTENANCE = Step(NOBODY, marked("Wait: maintenance is announced until {time}."))
