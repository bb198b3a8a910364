"""States, probes and network tests in a technician's words, and what to look at next."""

from __future__ import annotations

from host_tools.common.i18n import _
from host_tools.wire.vocabulary import PROBE_RESULTS

_PROBES = {result.code: result.name for result in PROBE_RESULTS}


def probe_name(number: int) -> str:
    """The name of a probe's result; one from a newer version goes by its number."""
    return _PROBES.get(number, f"probe_{number}")


def state_title(state: str) -> str:
    """A state of the link, or the rung of the ladder that failed, in the technician's language."""
    return {
        "unknown": _("not known"),
        "up": _("connected"),
        "degraded": _("connected, with losses or delays"),
        "interface": _("the device's own network is down"),
        "gateway": _("the router does not answer"),
        "provider": _("the provider does not answer"),
        "dns": _("names are not resolved"),
        "portal": _("a login page stands in between"),
        "tls": _("the encrypted connection is intercepted"),
        "broker": _("the province's server does not answer"),
    }.get(state, state)


def evidence_line(rung: str, result: str) -> str:
    """One rung of the ladder and what its probe found, by their names."""
    title = {
        "interface": _("own network"),
        "gateway": _("router"),
        "provider": _("provider"),
        "dns": _("name server"),
        "portal": _("login page"),
        "tls": _("encryption"),
        "broker": _("province's server"),
        "next_hop": _("provider's first router"),
        "other_dns": _("another name server"),
        "clock": _("device's clock"),
        "degraded": _("quality"),
    }.get(rung, rung)
    said = {
        "ok": _("answers"),
        "timeout": _("no answer"),
        "refused": _("refuses"),
        "unreachable": _("not reachable"),
        "no_name": _("the name is not found"),
        "bad_answer": _("a wrong answer"),
        "no_carrier": _("no cable or no radio link"),
        "no_address": _("no address"),
        "certificate": _("another certificate"),
        "server_failed": _("it fails"),
        "lost": _("answers get lost"),
        "slow": _("answers come late"),
    }.get(result, result)
    return f"{title}: {said}"


def advice(state: str, network: str) -> str | None:
    """What to look at in the village, None if all is well.

    Args:
        state: of the link, by the ladder.
        network: result of the network test, which says more where the device has no network.
    """
    joining = {
        "wrong_password": _(
            "The Wi-Fi refuses the password. Ask for the right one and correct it: 'desalink "
            "provision --village CODE --settings-only --wifi SSID'."
        ),
        "no_access_point": _(
            "The device does not hear its Wi-Fi. Check the power of the access point. Turn the "
            "antenna, or bring the device nearer."
        ),
        "no_carrier": _(
            "The network cable carries nothing. Check that both ends click in and that the "
            "router has power. Try another cable or another port."
        ),
        "no_address": _(
            "The network gives no address. Restart the router and wait two minutes. Check that "
            "its DHCP is on."
        ),
    }
    if network in joining:
        return joining[network]
    if state == "up" and network not in ("ok", ""):
        state = {"no_name": "dns", "no_tls": "tls", "certificate": "tls"}.get(network, "broker")
    return {
        "interface": _(
            "The device has no link. Check the power of router and access point, and both ends "
            "of the cable. With Wi-Fi, check the distance and the antenna."
        ),
        "gateway": _(
            "The router does not answer. Check its power and the cable between it and the "
            "device. Restart it and wait two minutes."
        ),
        "provider": _(
            "The router works, but nothing answers behind it. Check the power and the lamps of "
            "the modem, radio or dish. Check the cable between it and the router. Look for "
            "something in front of the antenna, and point it with 'desalink device watch'. If "
            "all that is right, call the provider."
        ),
        "dns": _(
            "The internet answers, but names are not resolved. Restart the router. If that does "
            "not help, have the provider check its name server."
        ),
        "portal": _(
            "A login page blocks the link. Ask the provider to allow this device without a login."
        ),
        "tls": _(
            "Something between the device and the province breaks the encryption. Check the "
            "clock of the device. Ask the provider for a connection without filter."
        ),
        "broker": _(
            "The internet works here. The province's server does not answer or refuses this "
            "device: call the office. Reports wait on the device until then."
        ),
        "degraded": _(
            "The link loses answers. Point the antenna with 'desalink device watch', and check "
            "plugs and cables for water and damage."
        ),
        "unknown": _("Nothing could be probed. Check the settings of the device with the office."),
    }.get(state)
