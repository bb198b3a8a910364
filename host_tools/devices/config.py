"""A device's config.json (docs/agent.md has every key)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from host_tools.common.errors import EnrolmentError
from host_tools.common.i18n import _
from host_tools.province.settings import Province

STATE = "state"


def uplink() -> str | None:
    """The interface of this machine's default route (Linux), or None."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return None
    routes = [line.split() for line in lines]
    defaults = [(int(r[6]), r[0]) for r in routes if len(r) > 7 and r[1] == r[7] == "00000000"]
    return min(defaults)[1] if defaults else None


def default_config(province: Province, slot: str, port: str) -> dict[str, Any]:
    """The default configuration of a slot's agent."""
    interface = uplink()
    watched = {"interface": interface} if interface else {}
    return {
        "slot": slot,
        "port": port,
        "state_dir": STATE,
        "broker": {
            "host": province.broker.host,
            "port": province.broker.port,
            "ca": "ca.pem",
            "cert": "client.pem",
            "key": "client.key",
        },
        "cadence": {"round_s": 10, "sample_s": 60, "report_samples": 5},
        "link": {
            **watched,
            "gateway": "auto",
            "targets": ["1.1.1.1", "8.8.8.8", "9.9.9.9"],
            "dns": "auto",
        },
        "usage": {**watched, "arp": "/proc/net/arp"},
        "journal": {"capacity": 1048576, "segment": 16384},
    }


def parse_setting(text: str) -> tuple[str, Any]:
    """`link.interface=wlan0` as key and value; the value is JSON where it can be, else text.

    Raises:
        EnrolmentError: not key=value.
    """
    key, equals, value = text.partition("=")
    if not equals or not key or not all(key.split(".")):
        raise EnrolmentError(
            _("'{text}' is not a setting; write key=value, such as link.interface=wlan0.").format(
                text=text
            )
        )
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def set_value(config: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    table: Any = config
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise EnrolmentError(
                _("'{key}' can't be set: {section} is not a section of the configuration.").format(
                    key=key, section=section
                )
            )
    table[last] = value


def read_config(path: Path) -> dict[str, Any] | None:
    """A device's present configuration, or None.

    Raises:
        EnrolmentError: it is not a JSON object.
        OSError: it can't be read.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EnrolmentError(
            _("{path} is not valid JSON ({error}); correct it, or delete it.").format(
                path=path, error=error
            )
        ) from None
    if not isinstance(config, dict):
        raise EnrolmentError(
            _("{path} is not a JSON object; correct it, or delete it.").format(path=path)
        )
    return config
