"""What a device does in the tests of MQTT and of the network, on CPython and MicroPython alike.

Run as `python mqtt_device.py CASE`, options as JSON in the environment's MQTT_DEVICE; prints one
JSON list [what, value] a line.
"""

import asyncio
import json
import os
import sys

from agent.device import interpreter
from agent.net import connection, dns, sntp, udp
from agent.net.errors import NetError
from agent.net.mqtt import Client
from agent.net.tls import tls_context


def say(what, value=None):
    print(json.dumps([what, value]))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()


def failed(error):
    return [error.stage, error.reason, error.errno]


def client(o, **more):
    tls = tls_context(*o["tls"]) if o.get("tls") else None
    for name in ("server_hostname", "keepalive_s", "connect_timeout_s", "ack_timeout_s"):
        if name in o:
            more[name] = o[name]
    return Client(o.get("host", "127.0.0.1"), o["port"], o.get("id", "6403112001-1"), tls, **more)


def files_open():
    return len(os.listdir("/proc/self/fd"))


async def connected(c):
    """Connect however long it takes; returns whether the session was present."""
    while True:
        try:
            return await c.connect()
        except NetError:
            await interpreter.sleep_ms(30)


async def until(condition):
    while not condition():
        await interpreter.sleep_ms(5)


class Clock:
    """Time that passes only in `advance`."""

    def __init__(self):
        self.now = 5000
        self._sleepers = []
        self._real = interpreter.sleep_ms
        interpreter.ticks_ms = lambda: self.now
        interpreter.sleep_ms = self._sleep

    async def _sleep(self, ms):
        if ms <= 0:
            await self._real(0)
            return
        sleeper = (self.now + ms, asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    async def advance(self, ms):
        end = self.now + ms
        while True:
            for _ in range(6):  # whoever woke gets to its next sleep
                await self._real(0)
            due = [s for s in self._sleepers if s[0] <= end and not s[1].is_set()]
            if not due:
                break
            first = min(due, key=lambda s: s[0])
            self.now = max(self.now, first[0])
            first[1].set()
        self.now = end

    async def until(self, condition):
        while not condition():
            await self._real(2)


async def connect(o):
    c = client(o)
    try:
        say("connected", await c.connect())
        await c.disconnect()
    except NetError as error:
        say("failed", failed(error))


async def round_trip(o):
    got = []
    c = client(o, on_message=lambda t, p, r: got.append([t, len(p), bytes(p[:4]).decode(), r]))
    await c.connect()
    await c.subscribe([("test/#", 1)])
    await c.publish("test/long", b"long" * 500)
    await c.publish("test/fast", b"fast", 0)
    await c.publish("test/kept", b"kept", 1, True)
    await until(lambda: len(got) == 3)
    await c.disconnect()
    say("got", sorted(got))
    say("reason", c.reason)
    got.clear()
    await c.connect()
    await c.subscribe([("test/kept", 0)])
    await until(lambda: got)
    say("kept", got)
    await c.disconnect()


async def watch(o):
    c = client(o, on_message=lambda t, p, r: say("message", [t, bytes(p).decode(), r]))
    await c.connect()
    await c.subscribe([("#", 1)])
    say("watching")
    await c.wait_closed()


async def with_will(o):
    c = client(o, will=("test/state", b"offline", 1, False))
    await c.connect()
    await c.publish("test/state", b"online")
    if o.get("leave"):
        await c.disconnect()
    else:
        await c.wait_closed()


async def refused_subscription(o):
    c = client(o)
    await c.connect()
    try:
        await c.subscribe([("test/ok", 1), ("test/forbidden", 1)])
    except NetError as error:
        say("failed", failed(error))
    say("still", c.connected)
    await c.disconnect()


async def interrupted(o):
    """Publish through a connection that ends before the acknowledgements; settle on the next."""
    c = client(o)
    await c.connect()

    async def send(text):
        try:
            await c.publish("test/x", text)
            return "acknowledged"
        except NetError as error:
            return error.reason

    tasks = [asyncio.create_task(send(b"message %d" % i)) for i in range(3)]
    await until(lambda: c.in_flight == 3)
    say("sent")
    say("ended", await c.wait_closed())
    say("present", await connected(c))
    say("results", await asyncio.gather(*tasks))
    await c.publish("test/x", b"again")
    say("in_flight", c.in_flight)
    await c.disconnect()


async def silent_broker(o):
    c = client(o)
    await c.connect()
    say("connected")
    say("ended", await c.wait_closed())


async def keepalive(o):
    clock = Clock()
    c = client(o, keepalive_s=10, ack_timeout_s=30)
    await c.connect()
    for _ in range(10):
        await c.publish("test/x", b"x")
        await clock.advance(4000)
    say("pings in traffic", c.pings)
    for _ in range(2):
        expected = c.bytes_in + 2
        await clock.advance(10000)
        await clock.until(lambda expected=expected: c.bytes_in >= expected)
    say("pings in silence", c.pings)
    task = asyncio.create_task(c.publish("test/mute", b"x"))
    await clock.until(lambda: c.in_flight)
    await clock.advance(60000)
    say("ended", await c.wait_closed())
    task.cancel()


async def no_puback(o):
    clock = Clock()
    c = client(o, keepalive_s=0)
    await c.connect()
    task = asyncio.create_task(c.publish("test/mute", b"x"))
    await clock.until(lambda: c.in_flight)
    await clock.advance(40000)
    say("ended", await c.wait_closed())
    say("present", await c.connect())
    await task
    say("acknowledged")
    await c.close()


async def scripts(o):
    """One connection after the other; what became of each."""
    got = []
    for _ in range(o["count"]):
        got.clear()
        c = client(o, on_message=lambda t, p, r: got.append(t))
        try:
            await c.connect()
            await c.wait_closed()
        except NetError:
            pass
        say("end", [c.error.stage, c.reason, c.error.errno, c.unknown, list(got)])
        if c.connected or c.in_flight:
            say("left over")


async def handler_raises(o):
    got = []

    def handler(topic, payload, retain):
        got.append(topic)
        raise ValueError("a bug")

    interpreter.log = lambda *words: say("log", words[-1])
    c = client(o, on_message=handler)
    await c.connect()
    await until(lambda: c.errors == 2)
    say("got", got)
    say("connected", c.connected)
    await c.close()


async def leaves_while_asked(o):
    """Leave; the broker closes the connection once it knows that this one was asked for a ping."""
    got = []
    c = client(o, on_message=lambda topic, payload, retain: got.append(topic))
    await c.connect()
    leaving = asyncio.create_task(c.disconnect(60000))
    await until(lambda: got)
    c.ping()
    say("asked")
    await leaving
    say("got", got)
    say("reason", c.reason)


async def window(o):
    c = client(o, window=3)
    await c.connect()
    most = 0

    async def send(i):
        nonlocal most
        task = asyncio.create_task(c.publish("test/x", b"%d" % i))
        await interpreter.sleep_ms(0)
        most = max(most, c.in_flight)
        await task

    await asyncio.gather(*[send(i) for i in range(20)])
    say("most", most)
    await c.disconnect()


async def cancelled(o):
    """Cancel connect, publish and subscribe after every number of turns and of milliseconds."""
    await one_life(o, 0, None)
    before = files_open()
    for turns in range(o["turns"]):
        await one_life(o, turns, 0)
    for ms in range(o["turns"] // 2):
        await one_life(o, 0, ms)
    await settled(before)
    say("files left", files_open() - before)
    tasks = 0
    if not interpreter.MICROPYTHON:
        tasks = len(asyncio.all_tasks()) - 1
    say("tasks left", tasks)
    say("unhandled", unhandled)


async def settled(files):
    """Wait until no more files are open than so many: closing takes the loop some turns."""
    for _ in range(3000):
        if files_open() <= files:
            return
        await interpreter.sleep_ms(10)


async def one_life(o, turns, ms):
    """Connect and publish until that is cancelled; ms None: a whole life, to the first PUBACK."""
    c = client(o, on_message=lambda t, p, r: None)

    published = []

    async def live():
        await c.connect()
        await c.subscribe([("test/#", 1)])
        while True:
            await c.publish("test/x", b"x" * 300)
            published.append(1)

    task = asyncio.create_task(live())
    for _ in range(turns):
        await interpreter.sleep_ms(0)
    if ms is None:
        await until(lambda: published or task.done())
    else:
        await interpreter.sleep_ms(ms)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    await c.close()


async def congested(o):
    """Write far more than the socket takes, from several tasks, before the reader reads."""
    c = client(o, window=16)
    await c.connect()

    async def send(i):
        await c.publish("test/long", bytes((i,)) * o["size"], i % 2)
        await c.publish("test/x", b"small")

    tasks = [asyncio.create_task(send(i)) for i in range(8)]
    await interpreter.sleep_ms(20)
    say("written")
    await asyncio.gather(*tasks)
    await c.disconnect()


async def publishes(o):
    c = client(o)
    await c.connect()
    for _ in range(o["count"]):
        await c.publish("desa/1/6403/6403112001-1/report", bytes(o["size"]))
    say("bytes", [c.bytes_out, c.bytes_in])
    await c.disconnect()


async def queries(o):
    for name, timeout_ms in o["names"]:
        try:
            rcode, addresses = await dns.query(o["server"], name, timeout_ms)
            say(name, [rcode, addresses])
        except OSError as error:
            say(name, error.errno)


async def times(o):
    for _ in range(o["count"]):
        try:
            say("time", await sntp.ask_time(o["server"], 60000))
        except OSError as error:
            say("failed", error.args[-1])


async def resolve(o):
    for name, resolvers, timeout_ms in o["lookups"]:
        try:
            say(name, await dns.resolve(name, resolvers, timeout_ms))
        except NetError as error:
            say(name, [error.stage, error.reason])


async def opens(o):
    """One connection after the other, each with its own resolvers."""
    tls = tls_context(*o["tls"]) if o.get("tls") else None
    before = files_open()
    for name, port, resolvers, timeout_ms in o["connections"]:
        try:
            reader, writer = await connection.open_connection(
                name, port, tls, None, resolvers, timeout_ms, b"hello"
            )
            connection.close(writer)
            say("opened")
        except NetError as error:
            say("failed", failed(error))
    await settled(before)
    say("files left", files_open() - before)


async def exchange(o):
    try:
        accept = (lambda data: data.startswith(b"good")) if o.get("accept") else None
        answer = await udp.exchange(o["host"], o["port"], b"hello", o["timeout_ms"], accept)
        say("answer", answer.decode())
    except OSError as error:
        say("failed", error.errno)


async def tls_errors(o):
    for paths in o["paths"]:
        try:
            tls_context(*paths)
            say("fine")
        except NetError as error:
            say("failed", [error.stage, error.reason])


unhandled = []


async def main(case, options):
    if not interpreter.MICROPYTHON:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: unhandled.append(str(context)))
    await globals()[case](options)
    if unhandled:
        say("unhandled", unhandled)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(os.getenv("MQTT_DEVICE"))))
