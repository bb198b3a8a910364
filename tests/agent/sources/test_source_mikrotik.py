"""A MikroTik router asked by REST: strings everywhere, two menus for Wi-Fi, http and https."""

import base64
import datetime
import ipaddress
import ssl
import urllib.parse
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.sources.mikrotik import decimal, leading, seconds
from tests.agent.sources.source_lab import WAYS, Device, Request, http, response

every_way = pytest.mark.parametrize("interpreter", WAYS)


class RouterOS:
    """The REST menus that are asked; a menu that is not in `menus` does not exist."""

    def __init__(self) -> None:
        self.uptime = "1w2d3h4m5s"
        self.port = {"name": "ether1", "rx-byte": "8589934592", "tx-byte": "7", "running": "true"}
        self.menus: dict[str, object] = {
            "/ip/dhcp-server/lease": [{".id": "*1", "status": "bound"}] * 3,
            "/system/health": [
                {".id": "*D", "name": "voltage", "type": "V", "value": "24.1"},
                {".id": "*E", "name": "temperature", "type": "C", "value": "41"},
            ],
        }
        self.asked: list[str] = []
        self.password = "secret"

    def wifi(self, menu: str = "/interface/wifi", key: str = "signal") -> "RouterOS":
        self.menus[menu] = [{"name": "wifi1"}]
        stations = [{".id": f"*{n}", key: f"-6{n}", "mac-address": mac(n)} for n in range(4)]
        self.menus[menu + "/registration-table"] = stations
        return self

    def hotspot(self, users: int) -> "RouterOS":
        self.menus["/ip/hotspot"] = [{"name": "hs"}]
        self.menus["/ip/hotspot/active"] = [
            {".id": f"*{n}", "user": "siti", "mac-address": mac(n)} for n in range(users)
        ]
        return self

    def __call__(self, request: Request) -> bytes:
        login = base64.b64encode(f"watcher:{self.password}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return response({"error": 401, "message": "Unauthorized"}, 401)
        path, _, query = request.path.removeprefix("/rest").partition("?")
        self.asked.append(path)
        options = dict(urllib.parse.parse_qsl(query))
        wanted = options.pop(".proplist", "").split(",")
        if path == "/system/resource":
            rows: object = {"uptime": self.uptime}
        elif path == "/interface":
            rows = [self.port] if options["name"] == self.port["name"] else []
        elif path in self.menus:
            rows = self.menus[path]
        else:
            message = "no such command or directory"
            return response({"detail": message, "error": 400, "message": "Bad Request"}, 400)
        if request.method == "GET" and isinstance(rows, list):
            rows = [{k: v for k, v in row.items() if k in wanted} for row in rows]
        return response(rows)


def mac(n: int) -> str:
    return f"02:00:00:00:00:{n:02X}"


def start(interpreter: str, port: int, scheme: str = "http", **config: object) -> Device:
    options = {"mikrotik__user": "watcher", "mikrotik__password": "secret"}
    options |= {"mikrotik__interface": "ether1"} | config
    url = f"{scheme}://127.0.0.1:{port}"
    return Device(interpreter, "mikrotik", mikrotik__url=url, **options)


@every_way
def test_strings_become_numbers(interpreter: str):
    router = RouterOS().wifi().hotspot(2)
    router.menus["/interface/lte"] = [{"name": "lte1"}]
    radio = {"rssi": "-71", "rsrp": "-101", "sinr": "12", "current-operator": "x"}
    router.menus["/interface/lte/monitor"] = [radio]
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        router.port |= {"rx-byte": "8589934692", "tx-byte": "9"}
        row = device.sample()
    assert row == {
        "router_uptime": 788645,
        "uplink_port": 1,
        "bytes_down": 100,
        "bytes_up": 2,
        "clients": 2,
        "clients_peak": 2,
        "associated": 4,
        "client_signal": -62,
        "leases": 3,
        "router_voltage": 2410,
        "router_temperature": 41,
        "signal": -71,
        "lte_rsrp": -101,
        "lte_sinr": 12,
    }


@every_way
def test_the_older_wireless_menu_is_found(interpreter: str):
    router = RouterOS().wifi("/interface/wireless", "signal-strength")
    rows = router.menus["/interface/wireless/registration-table"]
    rows[0]["signal-strength"] = "-40dBm@HT20-6"
    with http(router) as port, start(interpreter, port) as device:
        row = device.sample()
    assert (row["associated"], row["clients"], row["client_signal"]) == (4, 4, -57)


@every_way
def test_a_router_without_radio_hotspot_or_server_gives_null(interpreter: str):
    router = RouterOS()
    router.menus = {"/interface/wifi": [], "/ip/hotspot": []}
    with http(router) as port, start(interpreter, port) as device:
        assert device.sample().keys() == {"router_uptime", "uplink_port"}


@every_way
def test_a_hotspot_without_users_has_zero(interpreter: str):
    with http(RouterOS().hotspot(0)) as port, start(interpreter, port) as device:
        assert device.sample()["clients"] == 0


@every_way
def test_menus_are_looked_up_once_and_after_a_restart(interpreter: str):
    router = RouterOS().wifi()
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        device.sample()
        assert router.asked.count("/interface/wifi") == 1
        router.uptime = "40s"
        router.hotspot(1)
        router.port |= {"rx-byte": "500"}
        row = device.sample()
    assert (row["bytes_down"], row["clients"]) == (500, 1)
    assert router.asked.count("/interface/wifi") == 2


@every_way
def test_a_restart_is_not_forgotten_while_the_interface_is_missing(interpreter: str):
    router = RouterOS()
    router.port["rx-byte"] = str(3 << 30)
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        router.uptime = "30s"
        router.port["name"] = "ether0"
        assert "bytes_down" not in device.sample()
        router.uptime = "1m"
        router.port |= {"name": "ether1", "rx-byte": "4000"}
        assert device.sample()["bytes_down"] == 4000


@every_way
def test_addresses_are_asked_for_only_to_count_different_clients(interpreter: str):
    router = RouterOS().wifi().hotspot(3)
    seen: list[str] = []

    def answer(request: Request) -> bytes:
        seen.append(request.path)
        return router(request)

    with http(answer) as port:
        with start(interpreter, port) as device:
            device.sample()
        assert not [path for path in seen if "mac-address" in path]
        url = f"http://127.0.0.1:{port}"
        options = {"mikrotik__user": "watcher", "mikrotik__password": "secret"}
        options |= {"mikrotik__url": url, "unique__most": 100}
        with Device(interpreter, ["mikrotik", "unique"], **options) as device:
            assert device.sample(now=1_800_000_000)["clients_day"] == 3


@every_way
def test_a_wrong_password_is_said_and_not_shown(interpreter: str):
    with http(RouterOS()) as port:
        with start(interpreter, port, mikrotik__password="wrong-one") as device:
            assert device.sample() == {}
            said = device.end()
    assert "usage.mikrotik: refuses user and password" in said
    assert "wrong-one" not in said


@every_way
@pytest.mark.parametrize("value", ["", "12x", "-5", None, True, 1.5, {"a": 1}, [], "9" * 40])
def test_a_value_of_another_type_costs_its_column_only(interpreter: str, value: object):
    router = RouterOS()
    with http(router) as port, start(interpreter, port) as device:
        device.sample()
        router.port["rx-byte"] = value  # type: ignore[assignment]
        router.menus["/system/health"] = value
        row = device.sample()
    assert "bytes_down" not in row and "router_voltage" not in row
    assert (row["bytes_up"], row["leases"]) == (0, 3)


def test_numbers_may_be_numbers_as_well():
    # One interpreter is enough: what comes of it is the same code.
    router = RouterOS()
    router.port |= {"rx-byte": 100, "running": True}  # type: ignore[dict-item]
    router.menus["/system/health"] = {"voltage": 24, "temperature": "40.5"}
    with http(router) as port, start("cpython", port) as device:
        device.sample()
        row = device.sample()
    assert (row["bytes_down"], row["uplink_port"]) == (0, 1)
    assert (row["router_voltage"], row["router_temperature"]) == (2400, 40)


@every_way
def test_an_interface_that_is_gone_costs_only_its_columns(interpreter: str):
    router = RouterOS().wifi()
    with http(router) as port, start(interpreter, port, mikrotik__interface="sfp1") as device:
        row = device.sample()
        assert "has no interface sfp1" in device.end()
    assert row["associated"] == 4 and "uplink_port" not in row


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate as a router makes one, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "router")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("router"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    ca, secret = folder / "router.pem", folder / "router.key"
    ca.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, secret)
    return ca, context


@every_way
def test_https_trusts_the_routers_own_certificate_and_no_other(interpreter: str, tmp_path: Path):
    (tmp_path / "other").mkdir()
    ca, context = certificate(tmp_path)
    other, _ = certificate(tmp_path / "other")

    def wrap(sock):
        return context.wrap_socket(sock, server_side=True)

    options = {"mikrotik__server_name": "router"}
    with http(RouterOS(), wrap) as port:
        with start(interpreter, port, "https", mikrotik__ca=str(ca), **options) as device:
            assert device.sample()["router_uptime"] == 788645
        with start(interpreter, port, "https", mikrotik__ca=str(other), **options) as device:
            assert device.sample() == {}


@every_way
@pytest.mark.parametrize(
    "config,reason",
    [
        (
            {"mikrotik__url": "router"},
            "usage.mikrotik.url: expected http://host[:port] or https://host[:port]",
        ),
        ({"mikrotik__url": "https://router"}, "usage.mikrotik.ca is missing"),
        ({"mikrotik__interface": "a&b"}, "usage.mikrotik.interface: expected letters"),
    ],
)
def test_a_bad_configuration_is_refused_in_words(interpreter: str, config: dict, reason: str):
    options = {"mikrotik__url": "http://router"} | config
    with Device(interpreter, "mikrotik", **options) as device:
        assert device.error.startswith(reason)


def test_durations_are_read():
    assert seconds(b"5s") == 5
    assert seconds(b"1w2d3h4m5s") == 788645
    assert [seconds(x) for x in (b"", b"5", b"x", b"1:02:03", 5, None, b"9" * 30 + b"s")] == [
        None
    ] * 7


def test_decimals_are_read_without_floating_point():
    assert decimal(b"24.1", 100) == 2410
    assert decimal(b"24.999", 100) == 2499
    assert decimal(b"-3.5", 10) == -35
    assert decimal(b"12", 100) == decimal(12, 100) == 1200
    assert [decimal(x, 1) for x in (b"", b"x", b"1.x", None, True, b"1e5")] == [None] * 6


def test_the_number_before_a_unit_is_read():
    assert leading(b"-61dBm@6Mbps") == leading(b"-61") == leading(-61) == -61
    assert [leading(x) for x in (b"", b"-", b"dBm", None, True)] == [None] * 5
