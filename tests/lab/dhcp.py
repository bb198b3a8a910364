"""A village device's DHCP client (RFC 2131): `python -m tests.lab.dhcp INTERFACE RESOLV_CONF`.

Keeps the interface configured while there is a lease, and takes the address away when there is
none: at the end of the lease, and when the cable comes back and nobody offers one.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

_MAGIC = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER, _REQUEST, _ACK = 1, 2, 3, 5
_BROADCAST = 0x8000
_RENEW_S = 5.0
_ANSWER_S = 1.0


class Client:
    """The client of one interface."""

    def __init__(self, interface: str, resolv_conf: Path) -> None:
        self._interface = interface
        self._resolv_conf = resolv_conf
        text = Path(f"/sys/class/net/{interface}/address").read_text().strip()
        self._mac = bytes.fromhex(text.replace(":", ""))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        self._socket.bind(("0.0.0.0", 68))
        self._address: str | None = None

    def run(self) -> None:
        """Keep a lease for ever. A cable that was out is another network until a server has
        answered; one that stays in keeps its address to the end of the lease."""
        expires = 0.0
        while True:
            if not self._carrier():
                expires = min(expires, time.monotonic() + _ANSWER_S)
                time.sleep(0.1)
                continue
            offer = self._ask(_DISCOVER, _OFFER, {})
            lease = offer and self._ask(
                _REQUEST, _ACK, {50: socket.inet_aton(offer[0]), 54: offer[1][54]}
            )
            if lease:
                self._take(lease[0], lease[1])
                expires = time.monotonic() + int.from_bytes(lease[1][51], "big")
            elif time.monotonic() >= expires:
                self._drop()
                continue
            until = time.monotonic() + _RENEW_S
            while time.monotonic() < min(until, expires) and self._carrier():
                time.sleep(0.05)

    def _carrier(self) -> bool:
        try:
            return Path(f"/sys/class/net/{self._interface}/carrier").read_text().strip() == "1"
        except OSError:
            return False  # the interface is set down

    def _ask(
        self, kind: int, wanted: int, options: dict[int, bytes]
    ) -> tuple[str, dict[int, bytes]] | None:
        ident = random.getrandbits(32)
        head = struct.pack(">BBBBIHH", 1, 1, 6, 0, ident, 0, _BROADCAST)
        body = head + bytes(16) + self._mac + bytes(10 + 64 + 128) + _MAGIC
        told = {53: bytes((kind,)), 55: bytes((1, 3, 6)), **options}
        for code, value in told.items():
            body += bytes((code, len(value))) + value
        end = time.monotonic() + _ANSWER_S
        try:
            self._socket.sendto(body + b"\xff", ("255.255.255.255", 67))
            while (left := end - time.monotonic()) > 0:
                self._socket.settimeout(left)
                answer = self._socket.recv(1500)
                if len(answer) > 240 and struct.unpack(">I", answer[4:8])[0] == ident:
                    found = _options(answer[240:])
                    if found.get(53) == bytes((wanted,)):
                        return socket.inet_ntoa(answer[16:20]), found
        except OSError:
            time.sleep(0.2)
        return None

    def _take(self, address: str, options: dict[int, bytes]) -> None:
        if address == self._address and self._has_route():
            return
        self._ip("addr", "flush", "dev", self._interface)
        length = bin(int.from_bytes(options[1], "big")).count("1")
        self._ip("addr", "add", f"{address}/{length}", "dev", self._interface)
        self._ip("route", "replace", "default", "via", socket.inet_ntoa(options[3][:4]))
        self._resolv_conf.write_text(f"nameserver {socket.inet_ntoa(options[6][:4])}\n")
        self._address = address
        print("lease", address, flush=True)

    def _has_route(self) -> bool:
        shown = subprocess.run(["ip", "route", "show", "default"], capture_output=True, text=True)
        return "via" in shown.stdout

    def _drop(self) -> None:
        if self._address:
            print("no lease", flush=True)
            self._ip("addr", "flush", "dev", self._interface)
            self._address = None

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=False)


def _options(data: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return found


if __name__ == "__main__":
    os.environ.setdefault("PATH", os.defpath)
    Client(sys.argv[1], Path(sys.argv[2])).run()
