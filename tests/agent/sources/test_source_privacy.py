"""Nothing of a user leaves a source: not in a row, not in a log, whatever the equipment sends.

The equipment here puts a user's address, name and IP into every place that it can, also where a
number belongs, so that an error message that quotes what it could not read would give them away.
"""

import contextlib
import json
from pathlib import Path

import pytest

from tests.agent.sources.dish import dish, everything, message
from tests.agent.sources.snmp_agent import COUNTER64, OCTETS, TICKS, Agent
from tests.agent.sources.source_lab import WAYS, Device, Request, http, response, udp
from tests.agent.sources.test_source_local import ARP, NOON, control_socket, program

MAC = "02:5e:c7:e7:ab:cd"
FORMS = [MAC, MAC.upper(), MAC.replace(":", "-"), MAC.replace(":", ""), "5e:c7:e7"]
SECRETS = [*FORMS, "10.77.66.55", "siti-zubaidah", "025ec7e7abcd", "router-password"]
RAW = bytes.fromhex(MAC.replace(":", ""))
USER = {"mac-address": MAC, "user": "siti-zubaidah", "address": "10.77.66.55"}

every_way = pytest.mark.parametrize("interpreter", WAYS)


def held_back(device: Device) -> str:
    said = device.end()
    for secret in SECRETS:
        assert secret.lower() not in said.lower(), f"{secret} was told:\n{said}"
    return said


def openwrt(request: Request) -> bytes:
    """Answers everything with users, at every depth that is looked at."""
    call = json.loads(request.body)["params"]
    if call[2] == "login":
        return response({"result": [0, {"ubus_rpc_session": "s" * 32}]})
    client = {"authorized": True, "signal": MAC, "hostname": "siti-zubaidah"}
    lies = {
        "uptime": MAC,
        "interface": [{"interface": "wan", "up": True, "l3_device": "wan"}, {"interface": MAC}],
        "statistics": {"rx_bytes": "10.77.66.55", "tx_bytes": MAC},
        "clients": {MAC: client, "10.77.66.55": client},
    }
    return response({"result": [0, lies], "siti-zubaidah": MAC})


def routeros(request: Request) -> bytes:
    if request.path.startswith("/rest/system/resource"):
        return response({"uptime": "5m", "siti-zubaidah": MAC})
    lie = dict.fromkeys(("name", "value", "rx-byte", "tx-byte", "running", "signal", "rssi"), MAC)
    return response([USER | lie, USER | {"name": "10.77.66.55", "value": "siti-zubaidah"}])


def snmp_router() -> Agent:
    agent = Agent()
    agent.set("1.3.6.1.2.1.1.3.0", TICKS, 100)
    m = "1.3.6.1.4.1.14988.1.1"
    agent.set(f"{m}.5.1.1.6.1", OCTETS, RAW)
    agent.set(f"{m}.5.1.1.12.1", COUNTER64, 1)
    for place in ("6.1.0", "3.8.0", "16.1.1.2.1", "1.3.1.6.1"):
        agent.set(f"{m}.{place}", OCTETS, MAC.encode())
    for column in ("31.1.1.1.1", "31.1.1.1.18", "2.2.1.2"):
        agent.set(f"1.3.6.1.2.1.{column}.1", OCTETS, b"siti-zubaidah")
    return agent


@every_way
def test_all_sources_at_once_tell_numbers_only(interpreter: str, tmp_path: Path):
    portal = {"client_list_length": "1", "clients": {MAC: USER | {"state": "Authenticated"}}}
    iw = f"Station {MAC} (on wlan0)\n\tsignal: {MAC}\n\tauthorized: yes\n10.77.66.55 siti-zubaidah"
    (tmp_path / "iw.txt").write_text(iw)
    (tmp_path / "arp").write_text(
        ARP + f"10.77.66.55 0x1 0x2 {MAC} * br-lan\n{MAC} x y z {MAC} b\n"
    )
    with contextlib.ExitStack() as stack:
        lies = message(1, MAC.encode()) + message(5000, b"siti-zubaidah")
        port = stack.enter_context(udp(snmp_router()))
        options = {
            "snmp__host": "127.0.0.1",
            "snmp__port": port,
            "snmp__profile": "mikrotik-hotspot",
            "snmp__interface": "wan",
            "ubus__url": f"http://127.0.0.1:{stack.enter_context(http(openwrt))}",
            "ubus__password": "router-password",
            "ubus__wifi": ["wlan0"],
            "mikrotik__url": f"http://127.0.0.1:{stack.enter_context(http(routeros))}",
            "mikrotik__password": "router-password",
            "mikrotik__interface": "ether1",
            "starlink__host": "127.0.0.1",
            "starlink__port": stack.enter_context(dish(lambda *_: everything(device_info=lies))),
            "opennds__socket": str(tmp_path / "nds"),
            "wifi__interfaces": ["wlan0"],
            "wifi__command": program(tmp_path, "iw", f"cat {tmp_path}/iw.txt"),
            "arp": str(tmp_path / "arp"),
            "unique__most": 100,
        }
        stack.enter_context(control_socket(tmp_path / "nds", json.dumps(portal).encode()))
        modules = ["snmp", "ubus", "mikrotik", "starlink", "opennds", "wifi", "unique"]
        files = set(tmp_path.iterdir())
        device = stack.enter_context(Device(interpreter, modules, **options))
        for _ in range(2):
            row = device.sample(now=NOON)
        said = held_back(device)
        assert set(tmp_path.iterdir()) == files  # nothing was written either
    # All of them were asked, and one user was seen by most: it counts once.
    assert {"clients", "associated", "dish_rtt", "router_uptime", "clients_day"} <= row.keys()
    assert row["clients_day"] == 1
    assert "no interface wan" in said


@every_way
@pytest.mark.parametrize(
    "module,url,body",
    [
        ("ubus", "ubus__url", MAC.encode()),
        ("ubus", "ubus__url", f'{{"result":[0,{{"{MAC}": {MAC}}}]}}'.encode()),
        ("ubus", "ubus__url", f'{{"result":["{MAC}"]}}'.encode()),
        ("mikrotik", "mikrotik__url", f'{{"uptime":"{MAC}"}}'.encode()),
        ("mikrotik", "mikrotik__url", f"siti-zubaidah {MAC}".encode()),
    ],
)
def test_an_error_does_not_quote_an_answer(interpreter: str, module: str, url: str, body: bytes):
    config = {f"{module}__password": "router-password"}
    with http(lambda request: response(body)) as port:
        with Device(interpreter, module, **config, **{url: f"http://127.0.0.1:{port}"}) as device:
            assert device.sample() == {}
            held_back(device)
