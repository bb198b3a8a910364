"""An OpenWrt router asked by ubus: over HTTP with its sessions, and by its own program."""

import json
from pathlib import Path

import pytest

from tests.agent.sources.source_lab import WAYS, Device, Request, http, response

pytestmark = pytest.mark.parametrize("interpreter", WAYS)

MACS = [f"02:00:00:00:00:{n:02x}" for n in range(9)]
SESSION = "0123456789abcdef" * 2


class OpenWrt:
    """rpcd behind uhttpd, as far as it is asked."""

    def __init__(self) -> None:
        self.uptime = 5000
        self.down, self.up = 1 << 33, 70
        self.device: str | None = "pppoe-wan"
        self.clients = {mac: {"authorized": True, "signal": -60 - i} for i, mac in enumerate(MACS)}
        self.session = SESSION
        self.logins = 0
        self.denied: set[str] = set()
        self.password = "secret"

    def result(self, path: str, method: str, arguments: dict) -> object:
        match path, method:
            case "system", "info":
                return {"localtime": 1, "uptime": self.uptime, "load": [1, 2, 3]}
            case "network.interface", "dump":
                wan = {"interface": "wan", "up": self.device is not None, "proto": "pppoe"}
                if self.device:
                    wan["l3_device"] = self.device
                lan = {"interface": "lan", "up": True, "l3_device": "br-lan"}
                return {"interface": [lan, wan | {"ipv4-address": [{"address": "10.9.8.7"}]}]}
            case "network.device", "status":
                assert arguments == {"name": self.device}
                octets = {"rx_bytes": self.down, "tx_bytes": self.up, "rx_packets": 1}
                return {"carrier": True, "statistics": octets}
            case "hostapd.wlan0" | "hostapd.wlan1", "get_clients":
                mine = self.clients if path == "hostapd.wlan0" else {}
                return {"freq": 2412, "clients": mine}
        return None

    def __call__(self, request: Request) -> bytes:
        assert (request.method, request.path) == ("POST", "/ubus")
        call = json.loads(request.body)
        session, path, method, arguments = call["params"]
        answer = {"jsonrpc": "2.0", "id": call["id"]}
        if (path, method) == ("session", "login"):
            self.logins += 1
            if arguments["password"] != self.password:
                return response(answer | {"result": [6]})
            rights = {"acls": {"ubus": {"*": ["*"]}}, "data": {"username": "root"}}
            login = {"ubus_rpc_session": self.session, "timeout": 300, "expires": 299}
            return response(answer | {"result": [0, login | rights]})
        if session != self.session or path in self.denied:
            error = {"code": -32002, "message": "Access denied"}
            return response(answer | {"error": error})
        result = self.result(path, method, arguments)
        return response(answer | {"result": [4] if result is None else [0, result]})


def start(interpreter: str, port: int, **config: object) -> Device:
    url = f"http://127.0.0.1:{port}"
    options = {"ubus__password": "secret", "ubus__wifi": ["wlan0", "wlan1"]} | config
    return Device(interpreter, "ubus", ubus__url=url, **options)


def test_bytes_port_uptime_and_clients_are_told(interpreter: str):
    router = OpenWrt()
    router.clients[MACS[0]] = {"authorized": False, "signal": -99}
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        router.down += 123456
        router.up += 9
        row = device.sample()
    assert row == {
        "router_uptime": 5000,
        "uplink_port": 1,
        "bytes_down": 123456,
        "bytes_up": 9,
        "clients": 8,
        "clients_peak": 8,
        "associated": 8,
        "client_signal": -69,  # of all that are associated: -99, -61 ... -68
    }
    assert router.logins == 1


def test_a_session_that_ran_out_is_renewed(interpreter: str):
    router = OpenWrt()
    with http(router) as port, start(interpreter, port) as device:
        assert device.sample()["clients"] == 9
        router.session = SESSION[::-1]
        assert device.sample()["clients"] == 9
    assert router.logins == 2


def test_a_missing_right_costs_its_columns_and_is_named(interpreter: str):
    router = OpenWrt()
    router.denied = {"hostapd.wlan1"}
    with http(router) as port, start(interpreter, port) as device:
        row = device.sample()
        said = device.end()
    assert "clients" not in row and row["uplink_port"] == 1
    assert "root may not call hostapd.wlan1 get_clients" in said


def test_a_wrong_password_is_said_and_not_shown(interpreter: str):
    router = OpenWrt()
    with http(router) as port:
        with start(interpreter, port, ubus__password="wrong-one") as device:
            assert device.sample() == {}
            said = device.end()
    assert "usage.ubus: root may not log in" in said
    assert "wrong-one" not in said


def test_older_builds_tell_neither_bytes_nor_signal(interpreter: str):
    router = OpenWrt()
    router.clients = {mac: {"auth": True, "assoc": True, "authorized": True} for mac in MACS}
    with http(router) as port, start(interpreter, port) as device:
        row = device.sample()
    assert row["associated"] == 9 and "client_signal" not in row


def test_an_access_point_that_is_gone_makes_the_count_null(interpreter: str):
    router = OpenWrt()
    with http(router) as port:
        with start(interpreter, port, ubus__wifi=["wlan0", "wlan7"]) as device:
            row = device.sample()
            assert "clients" not in row and "router_uptime" in row


def test_a_dial_up_that_comes_back_counts_from_zero(interpreter: str):
    router = OpenWrt()
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        router.device = None
        row = device.sample()
        assert row["uplink_port"] == 2 and "bytes_down" not in row
        router.device, router.down, router.up = "ppp1", 500, 80
        row = device.sample()
        assert (row["bytes_down"], row["bytes_up"]) == (500, 80)
        assert device.resets == ["bytes_down", "bytes_up"]


def test_a_restart_of_the_router_counts_from_zero(interpreter: str):
    router = OpenWrt()
    router.down = 1000
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        router.uptime, router.down, router.session = 30, 4000, SESSION[::-1]
        assert device.sample()["bytes_down"] == 4000


def test_a_router_that_restarts_counts_from_zero_once_its_uplink_is_there(interpreter: str):
    router = OpenWrt()
    router.down = 3 << 30  # where a step back could be a counter of 32 bits that wraps
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        router.uptime, router.device = 30, None
        assert "bytes_down" not in device.sample()
        router.uptime, router.device, router.down = 60, "pppoe-wan", 4000
        assert device.sample()["bytes_down"] == 4000


def test_a_dial_up_that_comes_back_under_its_name_counts_from_zero(interpreter: str):
    router = OpenWrt()
    router.down = 3 << 30
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        router.device = None
        device.sample()
        router.device, router.down = "pppoe-wan", 4000
        assert device.sample()["bytes_down"] == 4000


def test_a_crowd_fits_into_a_small_heap(interpreter: str):
    router = OpenWrt()
    details = {"bytes": {"rx": 1 << 40, "tx": 1}, "extended_capabilities": list(range(40))}
    router.clients = {
        f"02:00:00:00:{n // 256:02x}:{n % 256:02x}": {"authorized": True, "signal": -70} | details
        for n in range(250)
    }
    # In turn it is compiled from source for each look here, which takes more than a crowd does.
    # CPython's heap is never small.
    way, heapsize = ("in turn", "200k") if interpreter == "in turn" else ("micropython", "160k")
    with http(router) as port, start(way, port, heapsize=heapsize) as device:
        for _ in range(2):
            assert device.sample()["clients"] == 250


@pytest.mark.parametrize(
    "body",
    [b"<html>LuCI</html>", b'{"result":[0,{"uptime":', b"[]", b'{"result":7}', b"{}", b"\0" * 99]
    + [b'{"result":[0,' + b"[" * 500 + b"]" * 500 + b"]}", b'{"result":[0,{"uptime":"x"}]}'],
)
def test_answers_that_lie_leave_null(interpreter: str, body: bytes):
    router = OpenWrt()

    def answer(request: Request) -> bytes:
        return response(body) if b'"info"' in request.body else router(request)

    with http(answer) as port, start(interpreter, port) as device:
        row = device.sample()
        assert "router_uptime" not in row
        assert row["clients"] == 9


def test_a_page_that_is_missing_is_said(interpreter: str):
    with http(lambda request: response(b"Not found", 404)) as port:
        with start(interpreter, port) as device:
            assert device.sample() == {}
            assert "HTTP status 404 from /ubus" in device.end()


def test_a_server_that_hangs_costs_its_columns_only(interpreter: str):
    def hang(request: Request) -> bytes:
        raise EOFError if request.body == b"" else TimeoutError  # closes without a word

    with http(hang) as port, start(interpreter, port) as device:
        assert device.sample() == {}


# --- on the router itself


PROGRAM = """#!/bin/sh
[ "$1 $2" = "-S call" ] || exit 9
case "$3 $4 $5" in
  "system info {}") echo '{"uptime":77}' ;;
  "network.interface dump {}")
    echo '{"interface":[{"interface":"wan","up":true,"l3_device":"e"}]}' ;;
  'network.device status {"name": "e"}') cat %s ;;
  "hostapd.wlan0 get_clients {}") echo '{"clients":{"02:00:00:00:00:01":{"authorized":true}}}' ;;
  *) exit 4 ;;
esac
"""


def program(folder: Path) -> tuple[str, Path]:
    octets = folder / "octets"
    path = folder / "ubus"
    path.write_text(PROGRAM % octets)
    path.chmod(0o755)
    return str(path), octets


def test_the_routers_own_program_tells_the_same(interpreter: str, tmp_path: Path):
    path, octets = program(tmp_path)
    octets.write_text('{"statistics":{"rx_bytes":100,"tx_bytes":5}}')
    with Device(interpreter, "ubus", ubus__command=path, ubus__wifi=["wlan0"]) as device:
        device.sample()
        octets.write_text('{"statistics":{"rx_bytes":1100,"tx_bytes":5}}')
        row = device.sample()
    assert (row["bytes_down"], row["bytes_up"], row["clients"]) == (1000, 0, 1)


def test_a_call_that_fails_names_the_program(interpreter: str, tmp_path: Path):
    path, octets = program(tmp_path)
    octets.write_text("{}")
    with Device(interpreter, "ubus", ubus__command=path, ubus__wifi=["wlan9"]) as device:
        row = device.sample()
        assert row == {"router_uptime": 77, "uplink_port": 1}
        assert "failed with status 4" in device.end()


def test_a_url_that_is_none_is_refused(interpreter: str):
    with Device(interpreter, "ubus", ubus__url="192.168.1.1") as device:
        assert device.error == "usage.ubus.url: expected http://host[:port] and nothing else"
