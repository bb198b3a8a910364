"""One connection to the province, made again whenever it ends.

The session knows none of the roles that use it. Each role adds its handlers and its work:

    begin    functions, called before each attempt to connect
    end      functions of the error with which an attempt or its connection ended
    topics   topic -> handler(payload, retain): subscribed to on every connection
    greet    coroutine functions, awaited one after the other when a connection begins
    work     coroutine functions that run while a connection lasts
"""

import asyncio

from agent.device import interpreter
from agent.device.interpreter import const
from agent.link.probes import classify
from agent.net.errors import CERTIFICATE, lacks_memory
from agent.net.tasks import reap, within
from agent.province.backoff import Backoff
from agent.wire import ids

_LOOP_MS = const(1000)


class Session:
    """`base`: the slot's topics up to their last word.

    For others to read: `connected`; `number` of this run's connections; `probe`: PROBE_ number of
    the province's broker, None while nothing is known; `attempts` to connect that have ended;
    `stage` that the last failed one reached; `beat`: seconds since start when it last showed that
    it is not stuck. To be set: `hold`: nothing may be sent; `hurry_ms`: the broker seems to be
    there (again): an attempt in so many milliseconds is welcome (0: not);
    `memory_short`: None, or a function that says whether there is too little memory for TLS."""

    def __init__(self, base, clock, client, backoff_max_s):
        self.base = base
        self.client = client
        self._up = clock.up
        self._backoff = Backoff(backoff_max_s * 1000)
        self._tasks = []  # of this connection
        self._error = None  # of one of them
        self.topics = {}
        self.begin = []
        self.end = []
        self.greet = []
        self.work = []
        self.connected = False
        self.number = 0
        self.probe = None
        self.attempts = 0
        self.stage = ""
        self.beat = 0
        self.hold = False
        self.hurry_ms = 0
        self.memory_short = None
        client.on_message = self._on_message

    async def run(self):
        """Connect, serve, wait, connect again; never returns.

        Only a cancellation and a lack of memory end this: the supervisor calls it again, and
        after too many of them starts the agent anew. It polls where it could wait for an event, as
        an event can be lost when memory runs out; a flag can't."""
        await self._wait()
        while True:
            began = interpreter.ticks_ms()
            error = None
            try:
                await self._connection()
            except Exception as e:
                error = e
            self._note(error)
            lasted_ms = interpreter.since(began)
            for end in self.end:
                end(error)
            self._backoff.ended(lasted_ms, error)
            if lacks_memory(error):
                raise error
            await self._wait()

    async def _wait(self):
        left = self._backoff.wait_ms()
        while left > 0 or self.hold:
            left = self._backoff.hurry(left, self.hurry_ms)
            self.beat = self._up()
            await interpreter.sleep_ms(min(left, _LOOP_MS) if left > 0 else _LOOP_MS)
            left -= _LOOP_MS

    def _note(self, error):
        """What an attempt's end says of the broker. A lack of memory says nothing."""
        self.stage = getattr(error, "stage", "")
        self.probe = None
        certificate = self.stage == "tls" and error.errno == CERTIFICATE
        # Where mbedTLS can't allocate while it verifies, it says that the certificate is wrong.
        short = certificate and self.memory_short and self.memory_short()
        if isinstance(error, OSError) and not lacks_memory(error) and not short:
            self.attempts += 1
            if self.stage == "name":
                self.probe = ids.PROBE_NO_NAME
            elif certificate:
                self.probe = ids.PROBE_CERTIFICATE
            else:
                self.probe = classify(error.errno)
        text = "too little memory for TLS:" if short else ""
        interpreter.log("broker:", text, error if self.stage else repr(error))

    async def _connection(self):
        client = self.client
        self._error = None
        for begin in self.begin:
            begin()
        try:
            await client.connect()
            self._backoff.accepted()
            self.number += 1
            self.start(self._serve)
            while client.connected and not self._error:
                self.beat = self._up()
                await interpreter.sleep_ms(_LOOP_MS)
            raise self._error if client.connected else client.error
        finally:
            self.connected = False
            await reap(*self._tasks)
            self._tasks = []
            await client.close()

    def start(self, work, *arguments):
        """Run a coroutine function while the connection lasts; if it fails, that ends."""
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(self._run(work, arguments)))

    async def _run(self, work, arguments):
        try:
            await work(*arguments)
        except Exception as e:
            self._error = self._error or e

    async def _serve(self):
        client = self.client
        # Also into a session that the broker kept: that is what brings retained messages.
        await client.subscribe([(topic, 0) for topic in self.topics])
        for greet in self.greet:
            await greet()
        await client.publish(self.base + "state", b"online", 1, True)
        self.probe = ids.PROBE_OK
        self.connected = True
        interpreter.log("broker: connected")
        for work in self.work:
            self.start(work)

    def _on_message(self, topic, payload, retain):
        handler = self.topics.get(topic)
        if handler:
            handler(payload, retain)

    @property
    def answered(self):
        """Whether the broker has answered the last `ping`."""
        return not self.client.pinging

    def ping(self):
        """Ask the broker for a sign of life."""
        self.client.ping()

    async def leave(self):
        """Say goodbye, so that the broker need not publish the will."""
        if self.connected:
            try:
                state = self.client.publish(self.base + "state", b"offline", 1, True)
                await within(1000, state)
                await self.client.disconnect(1000)
            except OSError:
                pass
