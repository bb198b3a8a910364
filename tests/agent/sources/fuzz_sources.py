"""Random and mutated bytes into everything that the sources read from equipment.

Whatever comes, a parser gives integers within their bounds or one of its own errors, and a whole
source ends its turn without an exception, with a row of bounded integers, and with nothing of
what was sent in what it says.
"""

import asyncio
import contextlib
import io
import json
import random
import sys
import traceback
from collections.abc import Callable

from agent.net.errors import NetError
from agent.sources import (
    command,
    http,
    http2,
    mikrotik,
    opennds,
    profiles,
    protobuf,
    snmp,
    starlink,
    ubus,
    wifi,
)
from agent.sources.jsonscan import Scanner
from tests.agent.sources import snmp_agent
from tests.agent.sources.dish import everything
from tests.fuzzing import begin

_MARK = b"02:5e:c7:e7:ab:cd"
_NDS = b'{"client_list_length":"1","clients":{"%s":{"state":"Authenticated","ip":"1"}}}' % _MARK
_IW = b"Station %s (on wlan0)\n\tsignal: -54 [-57] dBm\n\tauthorized: yes\n" % _MARK
_CLIENTS = b'"clients":{"%s":{"authorized":true,"signal":-60}}' % _MARK
_UBUS = (
    b'{"jsonrpc":"2.0","id":1,"result":[0,{"ubus_rpc_session":"0123456789abcdef0123456789abcdef",'
    b'"uptime":5,"interface":[{"interface":"wan","up":true,"l3_device":"w"}],'
    b'"statistics":{"rx_bytes":7,"tx_bytes":8},%s}]}' % _CLIENTS
)
_REST = (
    b'[{".id":"*1","name":"voltage","value":"24.1","uptime":"1w2d","rx-byte":"1","tx-byte":"2",'
    b'"running":"true","signal":"-61","mac-address":"%s"}]' % _MARK
)
_DISH = everything()


def _frame(kind: int, flags: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, 1]) + body


_HTTP2 = (
    b"\0\0\0\4\0\0\0\0\0"
    + _frame(1, 4, b"\x88")
    + _frame(0, 0, b"\0" + len(_DISH).to_bytes(4, "big") + _DISH)
    + _frame(1, 5, b"\x00\x0bgrpc-status\x010")
)


def mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(out) + 1)
        choice = rng.randrange(5)
        if choice == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif choice == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x22, 0x5C, 0x7B, 0x7D, 0x7F, 0x80, 0xFF))
        elif choice == 2:
            out[at:at] = rng.randbytes(rng.choice((1, 2, 30)))
        elif choice == 3:
            del out[at : at + rng.choice((1, 2, 30))]
        elif choice == 4:
            piece = data[rng.randrange(len(data)) :][: rng.choice((4, 40))]
            out[at:at] = piece
    return bytes(out)


class _Stream:
    """Stands for both ends of a connection on which the equipment says `data`."""

    def __init__(self, data: bytes) -> None:
        self.reader = asyncio.StreamReader()
        self.reader.feed_data(data)
        self.reader.feed_eof()
        self.transport = self
        self.sent = 0

    def write(self, data: bytes) -> None:
        self.sent += len(data)

    def abort(self) -> None:
        pass


def _answering(rng: random.Random, body: bytes) -> Callable:
    """An open_connection whose server answers with a body, as HTTP, now and then spoilt."""

    async def opened(*args: object, **options: object) -> tuple:
        text = mutated(rng, body)
        if rng.random() < 0.3:
            parts = b"".join(b"%x\r\n%s\r\n" % (len(text[i : i + 50]), text[i : i + 50])
                             for i in range(0, len(text), 50))  # fmt: skip
            data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"
        else:
            data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        stream = _Stream((data if rng.random() < 0.7 else mutated(rng, data)) * 12)
        return stream.reader, stream

    return opened


def _router() -> snmp_agent.Agent:
    agent = snmp_agent.Agent()
    agent.set("1.3.6.1.2.1.1.3.0", snmp_agent.TICKS, 100)
    for column, tag, value in (
        ("31.1.1.1.1", snmp_agent.OCTETS, b"wan"),
        ("31.1.1.1.6", snmp_agent.COUNTER64, 1 << 40),
        ("31.1.1.1.10", snmp_agent.COUNTER64, 5),
        ("2.2.1.8", snmp_agent.INTEGER, 1),
    ):
        agent.set(f"1.3.6.1.2.1.{column}.1", tag, value)
    agent.set("1.3.6.1.4.1.14988.1.1.5.1.1.12.1", snmp_agent.COUNTER64, 1)
    agent.set("1.3.6.1.4.1.14988.1.1.5.1.1.6.1", snmp_agent.OCTETS, _MARK)
    return agent


def snmp_source(rng: random.Random) -> object:
    agent = _router()

    async def exchange(server, port, request, timeout_ms, accept):  # type: ignore
        for answer in agent(request):
            for data in (mutated(rng, answer), rng.randbytes(rng.randrange(60)), answer):
                if rng.random() < 0.7 and accept(data[:513]):
                    return data
        raise OSError(110, "no answer in time")

    snmp.exchange = exchange
    client = snmp.SnmpClient("127.0.0.1", 1, snmp.Community("public"))
    name = "mikrotik-hotspot"
    rows, addresses = profiles.PROFILES[name], profiles.ADDRESSES[name]
    return snmp.SnmpRouter(client, "wan", rows, addresses, _ignore, None)


def _ignore(metric: int) -> None:
    pass


def ubus_source(rng: random.Random) -> object:
    http.open_connection = _answering(rng, _UBUS)
    return ubus.UbusRouter(ubus.Remote(http.Http("h", 1), "u", "p"), "wan", ["w"], _ignore, None)


def mikrotik_source(rng: random.Random) -> object:
    http.open_connection = _answering(rng, rng.choice((_REST, _REST[1:-1])))
    return mikrotik.Mikrotik(http.Http("h", 1), "u", "p", "wan", _ignore, None)


def starlink_source(rng: random.Random) -> object:
    async def opened(*args: object, **options: object) -> tuple:
        stream = _Stream(mutated(rng, _HTTP2))
        return stream.reader, stream

    http2.open_connection = opened
    return starlink.Dish("h", 1)


def opennds_source(rng: random.Random) -> object:
    async def ask(sink: Callable[[bytes], None]) -> None:
        sink(mutated(rng, _NDS))

    return opennds.Opennds(ask, None)


def wifi_source(rng: random.Random) -> object:
    async def run(words: object, sink: Callable[[bytes], None]) -> None:
        sink(mutated(rng, _IW * 3))

    command.run = run
    return wifi.Wifi(["w"], "iw", None)


_SOURCES = (
    snmp_source,
    ubus_source,
    mikrotik_source,
    starlink_source,
    opennds_source,
    wifi_source,
)


async def run_source(source: object) -> None:
    """Two samples of a source; raises whatever escapes, or a row that is none."""
    for _ in range(2):
        row: dict[int, int] = {}
        source._at = None  # type: ignore[attr-defined]
        await source.sample(row)  # type: ignore[attr-defined]
        for metric, value in row.items():
            assert type(value) is int and abs(value) < 1 << 41 and 0 < metric < 64, row
    json.dumps(row)


def parsers(rng: random.Random) -> None:
    """Each parser on its own; raises what it does not foresee."""
    noise = rng.randbytes(rng.randrange(80))
    for run, data, errors in (
        (starlink.status, mutated(rng, _DISH), (ValueError, NetError)),
        (lambda d: list(protobuf.fields(d, 0, len(d))), noise, (ValueError,)),
        (http2.grpc_status, noise, (ValueError, IndexError)),
        (Scanner(lambda path, value: None).feed, mutated(rng, _UBUS), (ValueError,)),
        (mikrotik.seconds, noise, ()),
        (lambda d: mikrotik.decimal(d, 100), noise, ()),
        (mikrotik.leading, noise, ()),
    ):
        with contextlib.suppress(*errors):
            run(data)  # type: ignore[operator]


def main() -> int:
    fuzzing = begin(__doc__)
    rng = fuzzing.dice
    count = 0
    while fuzzing.goes_on():
        make = _SOURCES[count % len(_SOURCES)]
        log = io.StringIO()
        try:
            parsers(rng)
            with contextlib.redirect_stderr(log):
                source = make(rng)
                asyncio.run(asyncio.wait_for(run_source(source), 20))
            assert _MARK.decode() not in log.getvalue(), log.getvalue()
        except Exception as error:
            traceback.print_exc()
            print(f"{make.__name__} failed at input {count} of seed {fuzzing.seed}: {error!r}")
            return 1
        count += 1
    print(f"{count} rounds of hostile answers to the sources, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
