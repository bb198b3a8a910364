"""Settings that a technician corrects on the spot, over those of the kit."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from host_tools.common.i18n import _
from host_tools.devices.config import set_value
from host_tools.field.provision.errors import ProvisionError
from host_tools.people.kits.model import KitSlot
from host_tools.people.kits.settings import RESERVED, check_config

PASSWORD_VARIABLE = "DESALINK_WIFI_PASSWORD"  # nosec B105 # the name of a variable
WIFI = "board.wifi"
_SECRET = ("password", "community")


def read_corrections(
    pairs: Sequence[tuple[str, str]], wifi: tuple[str, str] | None
) -> dict[str, Any]:
    """Key path -> value.

    Args:
        pairs: key and value as they were typed; a value is JSON where it can be, else text.
        wifi: name and password of the network that the device shall join.

    Raises:
        ProvisionError: `settings`: only the kit may set such a key.
    """
    found: dict[str, Any] = {}
    for key, text in pairs:
        if key in RESERVED or key.partition(".")[0] in RESERVED:
            raise ProvisionError(
                "settings", _("{key} can't be corrected: only the kit sets it.").format(key=key)
            )
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    if wifi is not None:
        found[WIFI] = [{"ssid": wifi[0], "password": wifi[1]}]
    return found


def corrected(slot: KitSlot, corrections: Mapping[str, Any]) -> KitSlot:
    """The slot with other settings than the kit's.

    Raises:
        EnrolmentError, KitError: the device would refuse them.
    """
    if not corrections:
        return slot
    config = copy.deepcopy(slot.config)
    for key, value in corrections.items():
        set_value(config, key, value)
    check_config(config, slot.slot)
    return replace(slot, config=config)


def for_the_record(corrections: Mapping[str, Any]) -> dict[str, str]:
    """Key path -> value as JSON, without secrets: the log is handed on."""
    return {
        key: json.dumps(None if key.endswith(_SECRET) else _open(value), ensure_ascii=False)
        for key, value in sorted(corrections.items())
    }


def _open(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _open(inner) for key, inner in value.items() if not key.endswith(_SECRET)}
    if isinstance(value, list):
        return [_open(inner) for inner in value]
    return value


def ask_wifi(ssid: str) -> tuple[str, str]:
    """The network's name with its password: from DESALINK_WIFI_PASSWORD, else asked for."""
    import click

    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None:
        question = _("Password of the Wi-Fi network {ssid}").format(ssid=ssid)
        password = click.prompt(
            question, hide_input=True, err=True, default="", show_default=False
        )
    return ssid, str(password)
