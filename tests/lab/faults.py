"""The faults of the laboratory: how each is done and undone, and what it must be called."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.lab.net import Namespace, Process
from tests.lab.world import (
    BROKER,
    BROKER_PORT,
    FAKE_DNS_PORT,
    GATEWAY,
    NAMES,
    SINK,
    Village,
    World,
)

NONE = "none"
POWER = "power"
AGENT = "agent"

Act = Callable[[World, Village], None]
Shared = Callable[[World], None]


@dataclass(frozen=True)
class Fault:
    """A fault.

    expected: the cause that the province must show; NONE: no outage at all.
    inject, heal: for one village; shared ones are done once for all.
    hold_s: how long it lasts.
    """

    name: str
    expected: str
    inject: Act
    heal: Act
    shared: bool = False
    hold_s: float = 12
    tolerance_rounds: float = 3
    quick: bool = False


def _drop(host: str, table: str, rules: str) -> tuple[Act, Act]:
    """A table of nftables rules put into a host and taken away again."""

    def inject(world: World, village: Village) -> None:
        _host(world, village, host).nft(f"table {table} {{\n{rules}\n}}")

    def heal(world: World, village: Village) -> None:
        _host(world, village, host).nft(f"delete table {table}")

    return inject, heal


def _host(world: World, village: Village, name: str) -> Namespace:
    return {
        "device": village.device,
        "router": village.router,
        "provider": world.provider,
        "internet": world.internet,
        "province": world.province_host,
    }[name]


def _link(host: str, interface: str) -> tuple[Act, Act]:
    def name(village: Village) -> str:
        return interface.format(number=village.number)

    def inject(world: World, village: Village) -> None:
        _host(world, village, host).ip("link", "set", name(village), "down")

    def heal(world: World, village: Village) -> None:
        _host(world, village, host).ip("link", "set", name(village), "up")
        if host == "router":
            village.address_wan()
        if host == "provider" and interface == "uplink":
            world.provider.ip("route", "replace", "default", "via", "198.18.0.1")

    return inject, heal


def _freeze(world: World, village: Village) -> None:
    village.dnsmasq.freeze()
    village.router.nft(
        "table netdev frozen {\n"
        ' chain lan { type filter hook ingress device "lan0" priority 0; drop; }\n'
        ' chain wan { type filter hook ingress device "wan0" priority 0; drop; }\n'
        "}"
    )


def _thaw(world: World, village: Village) -> None:
    village.router.nft("delete table netdev frozen")
    village.dnsmasq.thaw()


def _dry(world: World, village: Village) -> None:
    """Somebody else holds the pool's last lease, and the device's cable is plugged in anew."""
    village.dnsmasq.kill()
    village.leases.write_text("4102444800 02:00:00:00:00:99 192.168.1.100 other *\n")
    village.dnsmasq.start()
    village.router.ip("link", "set", "lan0", "down")
    time.sleep(0.5)
    village.router.ip("link", "set", "lan0", "up")


def _fill_pool(world: World, village: Village) -> None:
    village.dnsmasq.kill()
    village.leases.unlink(missing_ok=True)
    village.dnsmasq.start()


def _unnat(world: World, village: Village) -> None:
    village.router.nft("flush chain ip nat post")
    # Connections that are translated already would go on for ever.
    village.router.nft(
        "table ip lost {\n"
        ' chain f { type filter hook forward priority 0; iifname "wan0" drop; }\n'
        "}"
    )


def _renat(world: World, village: Village) -> None:
    village.router.nft("delete table ip lost")
    village.router.nft("delete table ip nat")
    village.masquerade()


def _wrong_dns(mode: str) -> tuple[Act, Act]:
    """The village's resolver is replaced by one that is wrong in some way."""

    def inject(world: World, village: Village) -> None:
        names = [f"{name}={address}" for name, address in NAMES.items()]
        village.fake = world.server(
            village.router, f"dns-{mode}", "dns", GATEWAY, str(FAKE_DNS_PORT), mode, *names
        )
        village.router.nft(
            "table ip wrong {\n chain p { type nat hook prerouting priority -110; "
            f'iifname "lan0" ip daddr {GATEWAY} udp dport 53 redirect to :{FAKE_DNS_PORT}; }}\n}}'
        )

    def heal(world: World, village: Village) -> None:
        village.router.nft("delete table ip wrong")
        village.fake.kill()

    return inject, heal


def _dns_dead(world: World, village: Village) -> None:
    village.dnsmasq.freeze()


def _dns_alive(world: World, village: Village) -> None:
    village.dnsmasq.thaw()


def _kill_broker(world: World, village: Village) -> None:
    world.broker.kill()


def _start_broker(world: World, village: Village) -> None:
    world.broker.start()


def _portal(walled: bool) -> tuple[Act, Act]:
    """A captive portal at the router: plain HTTP ends at its log-in page.

    walled: as openNDS and most others, it lets nothing but DNS pass besides."""

    def inject(world: World, village: Village) -> None:
        village.fake = world.server(village.router, "portal", "http", GATEWAY, "2050", "portal")
        wall = (
            " chain f { type filter hook forward priority -10; "
            'iifname "lan0" udp dport 53 accept; iifname { "lan0", "wan0" } drop; }\n'
        )
        village.router.nft(
            "table ip portal {\n chain p { type nat hook prerouting priority -110; "
            'iifname "lan0" tcp dport 80 redirect to :2050; }\n'
            f"{wall if walled else ''}}}"
        )

    def heal(world: World, village: Village) -> None:
        village.router.nft("delete table ip portal")
        village.fake.kill()

    return inject, heal


def _intercept_tls(world: World, village: Village) -> None:
    """A box in the way ends TLS itself, with a certificate from an authority of its own."""
    certificate, key = world.foreign_certificate()
    village.fake = world.server(
        village.router, "box", "tls", GATEWAY, "8443", str(certificate), str(key)
    )
    village.router.nft(
        "table ip box {\n chain p { type nat hook prerouting priority -110; "
        f'iifname "lan0" tcp dport {BROKER_PORT} redirect to :8443; }}\n'
        " chain f { type filter hook forward priority -10; "
        f'iifname "lan0" tcp dport {BROKER_PORT} reject with tcp reset; }}\n}}'
    )
    # The sessions from before are not in its hands; whatever ends them brings them there.
    world.broker.kill()
    world.broker.start()


def _no_box(world: World, village: Village) -> None:
    village.router.nft("delete table ip box")
    village.fake.kill()


def _bloat(world: World, village: Village) -> None:
    """A narrow way down with far too large a buffer, and a download that fills it."""
    queue = ("tbf", "rate", "1500kbit", "burst", "5kb", "limit", "38kb")
    world.provider.tc("qdisc", "add", "dev", village.port, "root", *queue)
    # A router's own download: nothing of the device's.
    village.fake = Process(
        village.router,
        "download",
        [sys.executable, "-m", "tests.lab.servers", "download", SINK, "9000", str(1 << 30)],
    ).start()


def _no_bloat(world: World, village: Village) -> None:
    village.fake.kill()
    world.provider.tc("qdisc", "del", "dev", village.port, "root")


def _wrong_clock(world: World, village: Village) -> None:
    """The device starts anew with a clock that is wrong by three years."""
    village.agent.stop(signal.SIGINT)
    village.clock_is_off(-3 * 365 * 86400)
    village.agent.start()


def _right_clock(world: World, village: Village) -> None:
    village.agent.stop(signal.SIGINT)
    village.clock_is_off(0)
    village.agent.start()


def _cut_power(world: World, village: Village) -> None:
    village.agent.kill()
    village.dnsmasq.kill()


def _power_back(world: World, village: Village) -> None:
    village.dnsmasq.start()
    village.power_on()


# What only one rung shows is looked for less often: DNS within 60 s, plain HTTP within 5 min.
_DNS_ONLY: Mapping[str, Any] = {"hold_s": 15, "tolerance_rounds": 6}
_HTTP_ONLY: Mapping[str, Any] = {"hold_s": 45, "tolerance_rounds": 30}

FAULTS = (
    Fault("cable pulled at the device", "interface", *_link("device", "eth0"), quick=True),
    Fault("cable pulled at the router's LAN port", "interface", *_link("router", "lan0")),
    Fault("DHCP pool dry", "interface", _dry, _fill_pool),
    Fault("router frozen", "gateway", _freeze, _thaw),
    Fault("cable pulled at the router's WAN port", "provider", *_link("router", "wan0")),
    Fault("cable pulled at the provider", "provider", *_link("provider", "village{number}")),
    Fault("provider's uplink cut", "provider", *_link("provider", "uplink"), shared=True),
    Fault("NAT broken", "provider", _unnat, _renat, quick=True),
    Fault("DNS dead", "dns", _dns_dead, _dns_alive, quick=True, **_DNS_ONLY),
    Fault("DNS fails (SERVFAIL)", "dns", *_wrong_dns("servfail"), **_DNS_ONLY),
    Fault("DNS wrong (NXDOMAIN for all)", "dns", *_wrong_dns("nxdomain"), **_DNS_ONLY),
    Fault("DNS slow (6 s)", "dns", *_wrong_dns("slow"), **_DNS_ONLY),
    Fault(
        "one target dead",
        NONE,
        *_drop("internet", "ip dead", "chain i { type filter hook input priority 0; "
               "ip daddr 9.9.9.9 drop; }"),
        shared=True,
        quick=True,
    ),
    Fault(
        "30 % of all packets lost",
        "degraded",
        *_drop("router", "ip lossy", "chain f { type filter hook forward priority -10; "
               "numgen random mod 100 < 30 drop; }"),
        hold_s=40,
        tolerance_rounds=6,
    ),
    Fault("bufferbloat (a buffer of 200 ms)", "degraded", _bloat, _no_bloat, hold_s=40,
          tolerance_rounds=6),
    Fault("captive portal, walled", "portal", *_portal(True)),
    Fault("captive portal, HTTP only", "portal", *_portal(False), **_HTTP_ONLY),
    Fault("TLS intercepted", "tls", _intercept_tls, _no_box, quick=True),
    Fault("broker down", "broker", _kill_broker, _start_broker, shared=True),
    Fault(
        "province unreachable",
        "broker",
        *_drop("internet", "ip gone", "chain f { type filter hook forward priority 0; "
               f"ip daddr {BROKER} drop; }}"),
        shared=True,
    ),
    Fault("clock wrong by 3 years", NONE, _wrong_clock, _right_clock, hold_s=20),
    # The device was last seen alive when a sample ended, of which one takes six rounds.
    Fault("power cut", POWER, _cut_power, _power_back, tolerance_rounds=6, quick=True),
)  # fmt: skip
