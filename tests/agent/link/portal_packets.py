"""Run by test_ladder_portal.py in a network namespace of its own: packets of looks at a page.

Its arguments are an interpreter's command. Prints a list with one object for each of ANSWERS:
`result` and `counted` as the agent has them, `packets` and `bytes` as they went over the
interface, IP headers and all, `flags` of the TCP packets in their order and direction.
"""

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any

from tests import support

NO_CONTENT = (
    b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n"
    b"Cross-Origin-Resource-Policy: cross-origin\r\nDate: Sat, 01 Jan 2022 00:00:00 GMT\r\n\r\n"
)
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://log.in/?next=/\r\nContent-Length: 0\r\n\r\n"
LOG_IN = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + bytes(90000)
ANSWERS = (NO_CONTENT, REDIRECT, LOG_IN)
SIX = [">S", "<SA", ">A", "<A", "<A", ">RA"]
PAGE = "connectivitycheck.example/generate_204"

_LOOK = """
import asyncio
from agent.net.traffic import own
from agent.link import portal
from agent.net import dns

dns.good["connectivitycheck.example"] = "127.0.0.1"
print(asyncio.run(portal.check("%s", 60000, False)), own.total)
"""
_FLAGS = {"F": 1, "S": 2, "R": 4, "A": 16}
_SLOW_S = 0.06  # so that the server's kernel acknowledges the request apart
_LATE_S = 0.3
# A busy machine has its kernels acknowledge apart what goes with the next packet, and takes more
# of a long answer before the agent ends the connection.
_TRIES = 20


def _serve(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(4096)
        time.sleep(_SLOW_S)
        try:
            connection.sendall(answer)
            connection.recv(1)  # it would keep the connection for another request
        except ConnectionError:
            pass


def _packets(sniffer: socket.socket) -> list[bytes]:
    packets = []
    while True:
        try:
            packet, address = sniffer.recvfrom(1 << 17)
        except TimeoutError:
            return packets
        if address[2] == socket.PACKET_OUTGOING and packet[9] == socket.IPPROTO_TCP:
            packets.append(packet)


def _flags(packet: bytes) -> str:
    ip = (packet[0] & 15) * 4
    (source,) = struct.unpack_from(">H", packet, ip)
    bits = packet[ip + 13]
    letters = [letter for letter, bit in _FLAGS.items() if bits & bit]
    return ("<" if source == 80 else ">") + "".join(letters)


def _look(server: socket.socket, sniffer: socket.socket, answer: bytes) -> dict[str, Any]:
    threading.Thread(target=_serve, args=(server, answer), daemon=True).start()
    said = subprocess.run(
        [*sys.argv[1:], _LOOK % PAGE],
        cwd=support.ROOT,
        env={**support.micropython_env(), "PYTHONPATH": str(support.ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    result, counted = said.split()
    packets = _packets(sniffer)
    return {
        "result": None if result == "None" else int(result),
        "counted": int(counted),
        "packets": len(packets),
        "bytes": sum(int.from_bytes(packet[2:4], "big") for packet in packets),
        "flags": [_flags(packet) for packet in packets],
    }


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500", "up"], check=True)
    told = []
    with (
        socket.create_server(("127.0.0.1", 80)) as server,
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as sniffer,
    ):
        sniffer.bind(("lo", 3))
        sniffer.settimeout(_LATE_S)
        for answer in ANSWERS:
            for _ in range(_TRIES):
                look = _look(server, sniffer, answer)
                flags = look["flags"] == SIX or answer is LOG_IN
                if flags and look["bytes"] <= look["counted"]:
                    break
            told.append(look)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
