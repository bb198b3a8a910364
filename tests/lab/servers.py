"""Servers of the laboratory's internet, each a process: `python -m tests.lab.servers KIND ...`.

dns ADDRESS PORT MODE NAME=ADDRESS ...   MODE: right, servfail, nxdomain, hijack, slow
http ADDRESS PORT MODE                   MODE: no-content (204), portal (a redirect to a log-in)
tls ADDRESS PORT CERTIFICATE KEY         shows a certificate, then closes
ntp ADDRESS PORT                         SNTP (RFC 5905) with this machine's clock
download ADDRESS PORT BYTES              fetches from a sink, from here; `upload` sends to it
sink ADDRESS PORT                        reads and drops what it is sent; "GET n" sends n bytes
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import struct
import sys
import time

_SLOW_S = 6.0
_HIJACKER = "192.0.2.66"
_TTL_S = 600
_NTP_TO_UNIX = 2208988800


class Dns(asyncio.DatagramProtocol):
    """Answers A queries (RFC 1035) from a table, or wrongly in one of the usual ways."""

    def __init__(self, mode: str, names: dict[str, str]) -> None:
        self._mode = mode
        self._names = names
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, sender: tuple[str | object, int]) -> None:
        delay = _SLOW_S if self._mode == "slow" else 0
        asyncio.get_running_loop().call_later(delay, self._answer, data, sender)

    def _answer(self, data: bytes, sender: tuple[str | object, int]) -> None:
        if len(data) < 17 or self._transport is None:
            return
        labels = []
        at = 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question = data[12 : at + 5]
        name = ".".join(labels).lower()
        address = self._names.get(name)
        rcode = 0 if address else 3
        if self._mode == "hijack":
            address, rcode = _HIJACKER, 0
        elif self._mode in ("servfail", "nxdomain"):
            address, rcode = None, 2 if self._mode == "servfail" else 3
        records = b""
        if address and question[-3] == 1:
            packed = ipaddress.IPv4Address(address).packed
            records = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, _TTL_S, 4) + packed
        head = struct.pack(
            ">HHHHHH", data[0] << 8 | data[1], 0x8180 | rcode, 1, bool(records), 0, 0
        )
        self._transport.sendto(head + question + records, sender)


class Ntp(asyncio.DatagramProtocol):
    """Tells the time of this machine."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, sender: tuple[str | object, int]) -> None:
        now = struct.pack(">II", int(time.time()) + _NTP_TO_UNIX, 0)
        answer = b"\x24\x01\x00\xec" + bytes(8) + b"LAB " + now + data[40:48] + now + now
        self._transport.sendto(answer, sender)  # type: ignore[attr-defined]


async def _http(mode: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        if mode == "no-content":
            writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        else:
            place = b"Location: http://login.portal/?next=/\r\n"
            writer.write(b"HTTP/1.1 302 Found\r\n" + place + b"Content-Length: 5\r\n\r\nlogin")
        await writer.drain()
    except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        first = await reader.readline()
        if first.startswith(b"GET "):
            left = int(first[4:])
            while left > 0:
                writer.write(bytes(min(left, 65536)))
                await writer.drain()
                left -= 65536
        else:
            while await reader.read(65536):
                pass
    except (OSError, ValueError):
        pass
    finally:
        writer.close()


async def _download(address: str, port: int, size: int) -> None:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET %d\n" % size)
    while await reader.read(65536):
        pass
    writer.close()


async def _upload(address: str, port: int, size: int) -> None:
    _, writer = await asyncio.open_connection(address, port)
    writer.write(b"PUT\n")
    for left in range(size, 0, -65536):
        writer.write(bytes(min(left, 65536)))
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def serve(kind: str, address: str, port: int, arguments: list[str]) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    where = (address, port)
    if kind == "dns":
        names = dict(name.split("=") for name in arguments[1:])
        await loop.create_datagram_endpoint(lambda: Dns(arguments[0], names), local_addr=where)
    elif kind == "ntp":
        await loop.create_datagram_endpoint(Ntp, local_addr=where)
    elif kind == "http":
        await asyncio.start_server(lambda r, w: _http(arguments[0], r, w), *where)
    elif kind == "download":
        return await _download(address, port, int(arguments[0]))
    elif kind == "upload":
        return await _upload(address, port, int(arguments[0]))
    elif kind == "sink":
        await asyncio.start_server(_sink, *where)
    elif kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments)
        await asyncio.start_server(_close, *where, ssl=context)
    else:
        raise SystemExit(f"unknown kind of server: {kind}")
    print(kind, *where, "serving", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
