"""Runs one function of this file on MicroPython over the ESP32's sockets.

device.py FOLDER NAME JSON: the agent's .mpy files are in FOLDER. Prints the result as JSON.
"""

import json
import sys

sys.path[0] = sys.argv[1]  # was this folder

from tests.esp32 import lwip  # noqa: E402

net = lwip.install()

import asyncio  # noqa: E402
import random  # noqa: E402
import socket  # noqa: E402

from agent.device import interpreter  # noqa: E402
from agent.link import portal, probes  # noqa: E402
from agent.link.ladder import Link  # noqa: E402
from agent.net import errors  # noqa: E402
from agent.net.mqtt import Client  # noqa: E402
from agent.province.session import Session  # noqa: E402
from agent.wire import ids  # noqa: E402

GATEWAY, BROKER, PAGE = "192.168.1.1", "203.0.113.10", "198.51.100.80"
TARGETS = ["1.1.1.1", "8.8.8.8", "9.9.9.9"]
RTT_US = 23400


def _dns(query):
    """A right name server: example.com exists, and nothing below it."""
    if query[12:20] == b"\x07example":
        tail = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x50"
        return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + tail
    return query[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + query[12:]


def build():
    """A village where all is well."""
    net.hosts[GATEWAY] = lwip.Host(1200, ports={53: "open"}, answers={53: _dns})
    for address in TARGETS + [BROKER]:
        net.hosts[address] = lwip.Host(RTT_US, ports={8883: "open"})
    net.hosts["1.1.1.1"].answers[53] = _dns
    net.hosts[PAGE] = lwip.Host(RTT_US, ports={80: "open"})
    net.hosts[PAGE].page = b"HTTP/1.1 204 No Content\r\n\r\n"
    net.hosts["10.90.0.1"] = lwip.Host(RTT_US)
    net.hosts["10.90.0.1"].rejected = True


class _Clock:
    def up(self):
        return net.now_us // 1000000

    def right(self):
        return True


class _Delivery:
    """A session that is there."""

    probe = ids.PROBE_OK
    stage = ""
    answered = True
    attempts = hurry_ms = 0

    def ping(self):
        pass


def call(function, *args):
    """What a call returns, or the number of its OSError."""
    try:
        return function(*args)
    except OSError as e:
        return f"E{e.errno}"


def _open(kind=1, protocol=0):
    s = socket.socket(socket.AF_INET, kind, protocol)
    s.setblocking(False)
    return s


def table(port):
    """NOTES.md's column for a port: each row on a socket of its own where the call changes it."""
    build()
    net.hosts[GATEWAY].ports[81] = "filtered"
    address = GATEWAY, port
    poll = lwip.Poll()
    rows = {}

    def connected():
        s = _open()
        rows["connect"] = call(s.connect, address)
        net.now_us += 300000
        return s

    s = connected()
    for name, flags in (("poll out", lwip.OUT), ("poll all", 31)):
        poll.register(s, flags)
        found = poll.poll(0)
        rows[name] = found[0][1] if found else 0
    rows["connect again"] = call(s.connect, address)
    rows["send nothing"] = call(s.send, b"")
    s = connected()
    rows["recv"] = call(s.recv, 1)
    s = connected()
    rows["send"] = call(s.send, b"x")
    rows["send again"] = call(s.send, b"x")
    s = socket.socket()
    s.settimeout(2)
    rows["blocking connect"] = call(s.connect, address)
    return rows


def others():
    """What else NOTES.md says."""
    build()
    poll = lwip.Poll()
    s = _open()
    poll.register(s, 31)
    rows = {"new poll": poll.poll(0)[0][1]}
    raw = _open(socket.SOCK_RAW, 1)
    echo = b"\x08\0\xf7\xff\0\0\0\0"
    for name, host in (("raw ping", GATEWAY), ("raw ping rejected", "10.90.0.1")):
        raw.sendto(echo, (host, 1))
        net.now_us += 300000
        answer = raw.recv(128)
        rows[name] = [len(answer), answer[0], answer[20]]
    datagram = _open(socket.SOCK_DGRAM, 1)  # is UDP
    datagram.sendto(echo, (GATEWAY, 1))
    udp = _open(socket.SOCK_DGRAM)
    udp.connect((GATEWAY, 9))
    rows["udp send"] = call(udp.send, b"x")
    rows["udp send nothing"] = call(udp.send, b"")
    net.now_us += 300000
    rows["dgram ping"] = call(datagram.recv, 128)
    rows["udp closed port"] = call(udp.recv, 1)
    s.setsockopt(6, 12, 0)
    rows["warnings"] = net.warnings
    more = [call(socket.socket) for _ in range(7)]
    rows["11th socket"] = more[6]
    for s in more[:6]:
        s.close()
    net.up = False
    rows["connect while down"] = call(_open().connect, (GATEWAY, 80))
    rows["send while down"] = call(udp.send, b"x")
    rows["ping while down"] = call(raw.sendto, echo, (GATEWAY, 1))
    return rows


def probe(target, refusal=False, down=False):
    """[round-trip time, PROBE_ number] of a target."""
    build()
    net.hosts[GATEWAY].ports[81] = "filtered"
    net.up = not down
    return asyncio.run(probes.answer(target, 2000, refusal))


def together():
    """The same of all targets at once."""
    build()
    return asyncio.run(probes.together([probes.answer(t, 2000) for t in TARGETS]))


def page():
    """The portal's check: its result, and the warnings on the console."""
    build()
    return asyncio.run(portal.check(PAGE + "/generate_204", 2000)), net.warnings


def rounds(fault="", count=6, targets=0, taken=0):
    """Rounds of the ladder: state, evidence of outages, the most sockets, the sample's row.

    fault: a function of _FAULTS. targets: so many of them. taken: sockets of other parts."""
    build()
    addresses = TARGETS
    if targets:
        addresses = [f"10.1.1.{i}" for i in range(targets)]
        for address in addresses:
            net.hosts[address] = lwip.Host(RTT_US)
    settings = {
        "link.interface": None,
        "link.sys_class_net": "/nowhere",
        "link.proc_net_route": "/nowhere",
        "link.gateway": GATEWAY,
        "link.next_hop": None,
        "link.targets": addresses,
        "link.timeout_ms": 2000,
        "link.dns": GATEWAY,
        "link.dns_other": "1.1.1.1",
        "link.dns_name": "example.com",
        "link.portal": PAGE + "/generate_204",
        "link.portal_s": 10,
        "link.loss_limit": 10,
        "link.delay_limit_ms": 1500,
        "broker.host": BROKER,
        "broker.port": 8883,
        "cadence.round_s": 10,
    }
    link = Link(settings, _Clock())
    link.broker.delivery = _Delivery()
    evidence = []

    async def live():
        for i in range(2 * count):
            if i == count:
                _FAULTS[fault]()
                for _ in range(taken):
                    socket.socket()
            for _, _, detail in await link.round():
                evidence.append(detail.get(2))
            net.now_us += 10000000

    asyncio.run(live())
    row = {}
    link.put(row)
    return {
        "state": link.outages.state,
        "evidence": evidence,
        "most": net.most,
        "row": sorted(row.items()),
    }


class _Handshake:
    """mbedTLS over a socket: its first write begins the handshake, and says how that went."""

    def __init__(self, sock):
        self._socket = sock
        self.flags = sock.flags
        self.close = sock.close
        sock.send(b"hello")

    def write(self, data):
        try:
            self._socket.recv(1)
        except OSError as e:
            if e.errno != 11:
                raise


class _Tls:
    def wrap_socket(self, sock, **_):
        return _Handshake(sock)


def revoked(hours, rtt_us=RTT_US):
    """How often a device tries that the broker cuts off, and the end of its last attempt."""
    build()
    net.hosts[BROKER].cuts = True
    net.hosts[BROKER].rtt_us = rtt_us
    ends = []
    client = Client(BROKER, 8883, "6403112001-1", _Tls())
    session = Session("desa/1/6403/6403112001-1/", _Clock(), client, 300)
    session.hurry_ms = 10000  # the ladder finds the port open
    session.end.append(ends.append)
    random.seed(1)
    interpreter.random_below = lambda n: random.randrange(max(n, 1))

    async def live():
        task = asyncio.create_task(session.run())
        await asyncio.sleep(hours * 3600)
        task.cancel()

    asyncio.run(live())
    return session.attempts, ends[-1].stage, ends[-1].errno


def refused():
    """What an attempt says of a broker that does not run: stage, PROBE_ number and sentence."""
    build()
    net.hosts[BROKER].ports[8883] = "closed"
    client = Client(BROKER, 8883, "6403112001-1", _Tls())
    try:
        asyncio.run(client.connect())
    except OSError as error:
        return error.stage, probes.classify(error.errno), str(error)


def within_tls(code):
    """The PROBE_ number and the words of a socket's error that TLS has handed on."""
    error = OSError(code)
    return probes.classify(errors.code_of(error)), errors.cause(error)


def _silence(*kept):
    for address in list(net.hosts):
        if address not in kept:
            del net.hosts[address]


def _dns_gone():
    net.hosts[GATEWAY].answers.clear()


def _http_only():
    net.hosts[PAGE].page = b"HTTP/1.1 302 Found\r\nLocation: http://pay/\r\n\r\n"


_FAULTS = {
    "": lambda: None,
    "gateway": _silence,
    "provider": lambda: _silence(GATEWAY),
    "dns": _dns_gone,
    "portal": _http_only,
    "broker": lambda: _silence(GATEWAY, PAGE, *TARGETS),
    "netif": lambda: setattr(net, "up", False),
}

print(json.dumps(globals()[sys.argv[2]](**json.loads(sys.argv[3]))))
