"""Bytes of a day's rounds at the device's interface, by what they ask.

The agent's own ladder and probes, on MicroPython with every rung on and the default settings, in a
network namespace; hosts and servers answer as those of the internet do. Rounds follow each other
at once: what is asked depends on their number only.
"""

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter

from agent.wire import ids
from tests import support
from tests.agent.link.portal_packets import NO_CONTENT
from tests.bench.namespaces import PROVINCE, enter, village

# Every rung's turn comes around in so many rounds: 3 (broker), 6 (both questions), 28 (portal).
CYCLE = 84
_ROUNDS_A_DAY = 8640
_GATEWAY, _NAMES, _PAGE, _BROKER = "192.0.2.254", "192.0.2.53", "192.0.2.80", "192.0.2.10"
_TARGETS = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
_PARTS = {_GATEWAY: "gateway", _NAMES: "names", _PAGE: "portal", _BROKER: "broker"}
_SLOW_S = 0.06  # so that the server's kernel acknowledges the request apart
_LATE_S = 0.3
# What example.com's servers add to "no such name": the zone's SOA (RFC 2308).
_SOA = (
    b"\xc0\x17\0\6\0\1\0\0\x07\x08\0\x36\7elliott\2ns\x0acloudflare\3com\0\3dns\xc0\x48"
    + struct.pack(">5I", 2400000000, 10000, 2400, 604800, 1800)
)


def run() -> dict[str, int]:
    """Bytes a day at the IP level: targets, broker, names, portal; gateway (these stay in the
    village); counted: what the agent itself counts."""
    said = subprocess.run(
        [*enter(), sys.executable, "-m", __name__],
        cwd=support.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    found: dict[str, int] = json.loads(said)
    return found


def _answer_names(server: socket.socket) -> None:
    while True:
        query, asker = server.recvfrom(512)
        if query[12:20] == b"\7example":
            tail = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x50"
            answer = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + tail
        else:
            answer = query[:2] + b"\x81\x83\0\1\0\0\0\1\0\0" + query[12:] + _SOA
        server.sendto(answer, asker)


def _answer_page(server: socket.socket) -> None:
    while True:
        connection, _ = server.accept()
        with connection:
            try:
                connection.recv(4096)
                time.sleep(_SLOW_S)
                connection.sendall(NO_CONTENT)
                connection.recv(1)
            except ConnectionError:
                pass


def _serve() -> None:
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((_NAMES, 53))
    for answer, server in (
        (_answer_names, names),
        (_answer_page, socket.create_server((_PAGE, 80))),
    ):
        threading.Thread(target=answer, args=(server,), daemon=True).start()


def _count(sniffer: socket.socket) -> Counter[str]:
    """Bytes of all packets that have come by."""
    counts: Counter[str] = Counter()
    while True:
        try:
            packet = sniffer.recv(65536)
        except TimeoutError:
            return counts
        if packet[0] >> 4 == 4:
            ends = {socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])}
            part = next((_PARTS[end] for end in ends if end in _PARTS), "targets")
            counts[part] += int.from_bytes(packet[2:4], "big")


def _measure() -> dict[str, int]:
    settings = {
        "link.gateway": _GATEWAY,
        "link.targets": _TARGETS,
        "link.dns": _NAMES,
        "link.portal": f"{_PAGE}/generate_204",
        "broker.host": _BROKER,
    }
    with village() as inside, socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0x300) as sniffer:
        for address in (_GATEWAY, _NAMES, _PAGE, _BROKER, *_TARGETS):
            add = ["ip", "address", "add", f"{address}/32", "dev", "village"]
            subprocess.run(add, check=True)
        route = ["ip", "route", "add", "default", "via", PROVINCE]
        subprocess.run([*inside, *route], check=True)
        _serve()
        sniffer.bind(("village", 3))
        sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sniffer.settimeout(_LATE_S)
        script = str(support.ROOT / "tests/bench/rounds_device.py")
        device = subprocess.Popen(
            [*inside, support.micropython(), script, json.dumps(settings)],
            env=support.micropython_env(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert device.stdin and device.stdout
        before = 0
        counts: Counter[str] = Counter()
        for rounds in (CYCLE, 3 * CYCLE):  # the first is a beginning
            device.stdin.write(f"{rounds}\n")
            device.stdin.flush()
            counted, state = map(int, device.stdout.readline().split())
            assert state == ids.UP
            counts = _count(sniffer)
            counts["counted"] = counted - before
            before = counted
        device.stdin.close()
        device.wait()
    return {part: count * _ROUNDS_A_DAY // (3 * CYCLE) for part, count in counts.items()}


if __name__ == "__main__":
    print(json.dumps(_measure()))
