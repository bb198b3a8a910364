"""A village's equipment, one of each kind, with a user in it: for an agent with all sources."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.agent.sources.dish import dish, everything
from tests.agent.sources.snmp_agent import COUNTER64, INTEGER, OCTETS
from tests.agent.sources.source_lab import http, udp
from tests.agent.sources.test_source_local import ARP, control_socket, program
from tests.agent.sources.test_source_mikrotik import RouterOS
from tests.agent.sources.test_source_snmp import M, octets, router, uptime
from tests.agent.sources.test_source_ubus import OpenWrt

# Of the one user who is in everything: nothing of it may leave an agent.
MAC = "02:5e:c7:e7:ab:cd"
RAW = bytes.fromhex(MAC.replace(":", ""))
NAME = "siti-zubaidah"
ADDRESS = "10.77.66.55"
PASSWORD = "router-password"
SECRETS = [MAC, MAC.replace(":", "-"), RAW.hex(), "5e:c7:e7", NAME, ADDRESS, PASSWORD]

# What each section of the configuration gives of every sample, by the metrics' names; those in
# ROUTERS give bytes and the router's uptime, too.
ROUTER = {"uplink_port": 1}
HOTSPOT = {"clients": 1, "clients_peak": 1}
GIVEN: dict[str, dict[str, int]] = {
    "wifi": HOTSPOT | {"associated": 1, "client_signal": -54},
    "snmp": ROUTER
    | HOTSPOT
    | {"leases": 7, "router_voltage": 2410, "router_temperature": 38, "associated": 4}
    | {"signal": -61, "lte_rsrp": -95, "lte_sinr": 12},
    "ubus": ROUTER | HOTSPOT | {"associated": 1, "client_signal": -60},
    "mikrotik": ROUTER
    | HOTSPOT
    | {"associated": 1, "client_signal": -60, "leases": 3}
    | {"router_voltage": 2410, "router_temperature": 41},
    "opennds": HOTSPOT,
    "starlink": {"dish_outage": 0, "dish_drop": 4, "dish_rtt": 315, "dish_down": 87500}
    | {"dish_up": 1120, "dish_obstruction": 215, "dish_uptime": 93784, "dish_power": 423}
    | {"dish_alerts": 1 << 2 | 1 << 15},
    "unique": {"clients_day": 1},
}
ROUTERS = {"snmp", "ubus", "mikrotik"}


class Village:
    """Equipment that answers; what it says may be changed while it runs.

    Attributes:
        usage: the sections of the configuration's "usage", by their names.
    """

    def __init__(self, folder: Path) -> None:
        self.usage: dict[str, dict[str, Any]] = {}
        self.snmp = router()
        for place, kind, value in (
            ("5.1.1.6.1", OCTETS, RAW),
            ("5.1.1.12.1", COUNTER64, 1),
            ("6.1.0", INTEGER, 7),
            ("3.8.0", INTEGER, 241),
            ("3.10.0", INTEGER, 380),
            ("1.3.1.6.1", INTEGER, 4),
            ("16.1.1.2.1", INTEGER, -61),
            ("16.1.1.4.1", INTEGER, -95),
            ("16.1.1.7.1", INTEGER, 12),
        ):
            self.snmp.set(f"{M}.{place}", kind, value)
        self.ubus = OpenWrt()
        self.ubus.password = PASSWORD
        client = {"authorized": True, "signal": -60, "hostname": NAME, "ip": ADDRESS}
        self.ubus.clients = {MAC: client}
        self.mikrotik = RouterOS().wifi().hotspot(1)
        self.mikrotik.password = PASSWORD
        user = {".id": "*1", "user": NAME, "address": ADDRESS, "mac-address": MAC.upper()}
        self.mikrotik.menus["/ip/hotspot/active"] = [user]
        self.mikrotik.menus["/interface/wifi/registration-table"] = [user | {"signal": "-60"}]
        self.dish = everything()
        portal = {MAC: {"mac": MAC, "ip": ADDRESS, "state": "Authenticated", "user": NAME}}
        self.portal = json.dumps({"client_list_length": "1", "clients": portal}).encode()
        self.arp = folder / "arp"
        self.arp.write_text(f"{ARP}{ADDRESS} 0x1 0x2 {MAC} * br-lan\n")
        self._folder = folder
        self._uptime = 10000
        self.down = 1 << 33
        self.transfer(0)

    def transfer(self, count: int) -> None:
        """Let bytes pass from the provider, and none towards it."""
        self.down += count
        octets(self.snmp, self.down, 5)
        self.ubus.down, self.ubus.up = self.down, 5
        self.mikrotik.port |= {"rx-byte": str(self.down), "tx-byte": "5"}

    def _asked(self, equipment: Callable) -> Callable:
        """The equipment, which ages at least as fast as a simulated clock that nobody knows here;
        else it would look as if it had restarted."""

        def answer(request: object) -> object:
            self._uptime += 60
            uptime(self.snmp, self._uptime * 100, self._uptime * 100)
            self.ubus.uptime = self._uptime
            self.mikrotik.uptime = f"{self._uptime}s"
            return equipment(request)

        return answer

    @contextlib.contextmanager
    def running(self) -> Iterator["Village"]:
        folder = self._folder
        (folder / "iw.txt").write_text(
            f"Station {MAC} (on wlan0)\n\tsignal:  \t-54 [-57] dBm\n\tauthorized:\tyes\n"
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(control_socket(folder / "nds", self.portal))
            self.usage = {
                "wifi": {
                    "interfaces": ["wlan0"],
                    "command": program(folder, "iw", f"cat {folder}/iw.txt"),
                },
                "snmp": {
                    "host": "127.0.0.1",
                    "port": stack.enter_context(udp(self._asked(self.snmp))),
                    "profile": "mikrotik-hotspot",
                    "interface": "wan",
                },
                "ubus": {
                    "url": f"http://127.0.0.1:{stack.enter_context(http(self._asked(self.ubus)))}",
                    "password": PASSWORD,
                    "wifi": ["wlan0"],
                },
                "mikrotik": {
                    "url": f"http://127.0.0.1:{stack.enter_context(http(self._asked(self.mikrotik)))}",
                    "user": "watcher",
                    "password": PASSWORD,
                    "interface": "ether1",
                },
                "opennds": {"socket": str(folder / "nds")},
                "starlink": {
                    "host": "127.0.0.1",
                    "port": stack.enter_context(dish(lambda *_: self.dish)),
                },
                "unique": {"most": 100},
            }
            yield self
