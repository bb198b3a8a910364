"""NetJSON DeviceMonitoring objects: what OpenWISP and other controllers of networks read.

Source: https://netjson.org/rfc.html, "DeviceMonitoring". The format has no causes, RTT or
loss of a link: these stand in `desalink`, a member of our own, which the format allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from host_tools.province.records import Village
from host_tools.store.queries import SlotStatus

_NOT_KNOWN = ("no_data", "unknown", "agent", "power")


def device_monitoring(status: SlotStatus, village: Village | None, now: int) -> dict[str, Any]:
    """A slot as of now (Unix time)."""
    uplink: dict[str, Any] = {"name": "uplink"}
    if status.state not in _NOT_KNOWN:
        uplink["up"] = status.state in ("up", "degraded")
    own: dict[str, Any] = {
        "slot": status.slot,
        "state": status.state,
        "since": status.since,
        "last_report": status.last_report,
        "rtt_ms": status.rtt_ms,
        "loss_percent": status.loss_percent,
        "bytes_today": status.bytes_today,
        "clients": status.clients,
        "journal_fill_percent": status.journal_fill,
        "backlog": status.backlog,
    }
    if village is not None:
        own |= {"village": village.name, "district": village.district}
        own |= {"lat": village.lat, "lon": village.lon}
    return {
        "type": "DeviceMonitoring",
        "general": {"hostname": status.slot, "local_time": now},
        "interfaces": [uplink],
        "desalink": own,
    }


def collection(
    slots: Iterable[SlotStatus], villages: dict[str, Village], now: int
) -> dict[str, Any]:
    """All of them, as one NetworkCollection."""
    items = [device_monitoring(status, villages.get(status.village), now) for status in slots]
    return {"type": "NetworkCollection", "collection": items}
