"""Random and mutated bytes into the MQTT client and the DNS parser.

Whatever comes, the connection ends with a reason, no exception escapes, and no more memory is
taken than the largest packet allows.
"""

import asyncio
import random
import sys
import traceback

from agent.net import connection, dns
from agent.net.errors import NetError
from agent.net.mqtt import Client
from tests.fuzzing import begin

_MAX_PACKET = 512
_SEEDS = [
    b"\x20\x02\x00\x00",
    b"\x20\x02\x01\x00",
    b"\x30\x06\x00\x03a/bx",
    b"\x32\x09\x00\x03a/b\x00\x07xy",
    b"\x31\x96\x01\x00\x03a/b" + bytes(145),
    b"\x32\xff\x03\x00\x03a/b\x12\x34" + bytes(504),
    b"\x40\x02\x00\x01",
    b"\x90\x03\x00\x02\x01",
    b"\xd0\x00",
    b"\x30\xff\xff\xff\x7f",
]
_DNS = bytes.fromhex(
    "1234818000010003000000000161047465737400"  # a.test
    "00010001"
    "c00c000500010000003c0004 0162c00e".replace(" ", "")
    + "c024000100010000003c0004c0000201"
    + "c024000100010000003c0004c0000202"
)
_QUESTION = _DNS[12:24]


class _Writer:
    """Stands for a transport: counts, and never blocks."""

    def __init__(self) -> None:
        self.transport = self
        self.closed = False

    def write(self, data: bytes) -> None:
        assert len(data) < 65536

    def abort(self) -> None:
        self.closed = True

    async def drain(self) -> None:
        pass


def _mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(out) + 1)
        choice = rng.randrange(5)
        if choice == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif choice == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF))
        elif choice == 2:
            out[at:at] = rng.randbytes(rng.choice((1, 2, 30)))
        elif choice == 3:
            del out[at : at + rng.choice((1, 2, 30))]
        elif choice == 4:
            out[at:at] = rng.choice(_SEEDS)
    return bytes(out)


def mqtt_input(rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(200))
    packets = [_SEEDS[0], *rng.choices(_SEEDS[2:], k=rng.randrange(6))]
    first = packets[0] if rng.random() < 0.9 else _mutated(rng, packets[0])
    return first + _mutated(rng, b"".join(packets[1:]))


async def run_mqtt(data: bytes) -> None:
    """One connection on which the broker says `data`; raises whatever escapes."""
    escaped: list[object] = []
    tasks = len(asyncio.all_tasks())
    asyncio.get_running_loop().set_exception_handler(lambda loop, c: escaped.append(c))
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    writer = _Writer()

    async def opened(*args: object, **options: object) -> tuple[asyncio.StreamReader, _Writer]:
        return reader, writer

    connection.open_connection = opened
    delivered = 0

    def on_message(topic: str, payload: memoryview, retain: bool) -> None:
        nonlocal delivered
        assert topic and "#" not in topic and len(payload) <= _MAX_PACKET
        delivered += len(topic) + len(payload)

    client = Client("test", 1, "id", on_message=on_message, max_packet=_MAX_PACKET, window=2)
    waiting = []
    try:
        await client.connect()
        waiting = [
            asyncio.ensure_future(client.publish("a", b"b")),
            asyncio.ensure_future(client.subscribe([("a", 1)])),
        ]
        await client.wait_closed()
    except NetError as error:
        assert error.stage in ("mqtt", "session")
    assert client.reason and writer.closed and not client.connected
    assert delivered <= len(data) and client.bytes_in <= len(data) + 268435460
    assert client.errors == 0
    await client.disconnect()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert result is None or isinstance(result, NetError), result
    assert len(asyncio.all_tasks()) == tasks
    assert not escaped, escaped


def run_dns(data: bytes) -> None:
    """One DNS answer; raises what `query` does not catch."""
    try:
        addresses = dns._addresses(data, _QUESTION)
        assert len(addresses) <= 32
    except (ValueError, IndexError):
        pass


def main() -> int:
    fuzzing = begin(__doc__)
    rng = fuzzing.dice
    count = 0
    assert dns._addresses(_DNS, _QUESTION) == ["192.0.2.1", "192.0.2.2"]
    while fuzzing.goes_on():
        for run, data in (("mqtt", mqtt_input(rng)), ("dns", _mutated(rng, _DNS))):
            try:
                if run == "dns":
                    run_dns(data)
                else:
                    asyncio.run(asyncio.wait_for(run_mqtt(data), 20))
            except Exception as error:
                traceback.print_exc()
                print(f"{run} failed with seed {fuzzing.seed}: {error!r}\ninput {data.hex()}")
                return 1
            count += 1
    print(f"{count} inputs to the MQTT client and the DNS parser, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
