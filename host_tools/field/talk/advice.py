"""Probes and network tests in a technician's words, and what to look at next."""

from __future__ import annotations

from host_tools.common.i18n import _
from host_tools.states.words import link_part, on_site
from host_tools.wire.vocabulary import PROBE_RESULTS

_PROBES = {result.code: result.name for result in PROBE_RESULTS}


def probe_name(number: int) -> str:
    """The name of a probe's result; one from a newer version goes by its number."""
    return _PROBES.get(number, f"probe_{number}")


def evidence_line(rung: str, result: str) -> str:
    """One rung of the ladder and what its probe found, by their names."""
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
    return f"{link_part(rung)}: {said}"


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
    return on_site(state)
