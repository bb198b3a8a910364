"""The result of a device's network test, as a sentence for the technician."""

from __future__ import annotations

from host_tools.common.i18n import _
from host_tools.field.provision.errors import ProvisionError

# Errors that are normal outside the village.
ELSEWHERE = ("no_access_point", "no_carrier", "no_address", "no_name", "no_broker", "no_tls")


def network_error(result: str, detail: str, host: str, port: int) -> ProvisionError:
    """The error for a result of `agent.province.selftest.network` that is not "ok"."""
    sentences = {
        "wrong_password": _(
            "The Wi-Fi refuses the password that the kit has for it; ask for the right one and "
            "have the province correct the settings, then open the new kit and run the same "
            "command."
        ),
        "no_access_point": _(
            "The device does not see its Wi-Fi; move nearer to the access point or switch it on, "
            "then run the same command (--offline if it is not here)."
        ),
        "no_carrier": _(
            "No network cable is plugged into the device, or its other end has no power; plug it "
            "in and run the same command (--offline if there is no network here)."
        ),
        "no_address": _(
            "The network gives the device no address (DHCP); restart the router and run the same "
            "command (--offline if this is not its network)."
        ),
        "no_name": _(
            "The device can't resolve {host} ({detail}); the network has no internet connection, "
            "or its name server fails. Check the router, then run the same command (--offline to "
            "continue without network)."
        ),
        "no_broker": _(
            "The device can't connect to {host} port {port} ({detail}); check the internet "
            "connection, ask the province whether its broker runs, then run the same command "
            "(--offline to continue without network)."
        ),
        "no_tls": _(
            "Something between the device and {host} breaks the encrypted connection ({detail}): "
            "a captive portal or a filter. Ask for an exception for this device, then run the "
            "same command (--offline to continue without network)."
        ),
        "certificate": _(
            "Another server answers as {host}; it is not the province's broker ({detail}). Don't "
            "use this network, and report it to the province."
        ),
        "refused": _(
            "The broker {host} refuses the certificate of this slot ({detail}); ask the province "
            "for a new kit: this one may be revoked."
        ),
    }
    text = sentences.get(result)
    if text is None:
        result, text = (
            "device",
            _("The network test reports {detail}; run the same command again."),
        )
    return ProvisionError(result, text.format(host=host, port=port, detail=detail))
