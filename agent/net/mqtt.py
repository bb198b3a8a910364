"""An MQTT 3.1.1 client (OASIS standard, 29 October 2014) over any connection, QoS 0 and 1."""

import asyncio
import errno

from agent.device import interpreter
from agent.net import connection, packet
from agent.device.interpreter import const
from agent.net.errors import CUT, NetError, cause, code_of
from agent.net.tasks import reap, within
from agent.net.traffic import own

_TLS = const(4200)  # TLS 1.3 with client certificates and tickets; 1.2 takes half


def count(data):
    """Count a packet that is about to be sent as the agent's own."""
    # IP and TCP with timestamps take 52, a TLS record 29; one in sixteen is for the heads of
    # further segments, and what TCP sends again.
    own.add(len(data) + (len(data) >> 4) + 81)


def _closed(who):
    return NetError(who + " closed the connection")


def _lost(error):
    return NetError("connection lost: " + cause(error), "session", code_of(error))


class _Waiting:
    # A PUBLISH or SUBSCRIBE that the broker has not acknowledged.
    def __init__(self, pid, data):
        self.pid = pid
        self.data = data
        self.over = asyncio.Event()
        self.error = self.codes = None

    def end(self, error):
        self.error = error
        self.over.set()


class Client:
    """One broker, one client id; `connect` may be called again and again.

    host, port, tls, server_hostname, resolvers: as for `open_connection`.
    keepalive_s: the broker is pinged when nothing was sent for so long (0: never).
    will: (topic, payload, qos, retain) or None.
    on_message(topic, payload, retain): a plain function; payload is a memoryview that is valid
    only during the call. If it raises, the message counts as delivered (else it would come back
    for ever); it is logged and counted in `errors`.
    window: QoS 1 publishes on their way at once. max_packet: bytes; a larger packet from the
    broker ends the connection. ack_timeout_s: how long the broker may owe an answer.
    `tls` may be replaced between connections.

    For the caller to read: connected; reason and error (NetError) of the last end; in_flight;
    bytes_in and bytes_out of MQTT; pings; `unknown`: acks of nothing."""

    def __init__(
        self,
        host,
        port,
        client_id,
        tls=None,
        server_hostname=None,
        keepalive_s=60,
        will=None,
        on_message=None,
        window=4,
        resolvers=(),
        max_packet=8192,
        ack_timeout_s=30,
        connect_timeout_s=30,
    ):
        self._address = host, port, server_hostname, resolvers
        self.tls = tls
        self.hello = packet.connect(client_id, int(keepalive_s), will)
        self.on_message = on_message
        self.window = window
        self.max_packet = max_packet
        self._keepalive_ms = int(keepalive_s * 1000)
        self._timeout_ms = int(ack_timeout_s * 1000)
        self._connect_ms = int(connect_timeout_s * 1000)
        self._buf = memoryview(bytearray(256))
        self._number = 0
        self._sent = []  # in the order sent: MicroPython's dict keeps none
        self._subscribing = []
        self._tasks = ()
        self.wake = self._closed = None  # Events, made when a loop runs
        self._gone = self.pinging = False
        self.reader = self.writer = None
        self._sent_at = self._heard = 0
        self.connected = False
        self.error = None
        self.bytes_in = self.bytes_out = self.pings = self.unknown = self.errors = 0

    @property
    def reason(self):
        return self.error.reason if self.error else ""

    @property
    def in_flight(self):
        """QoS 1 messages sent and not acknowledged."""
        return len(self._sent)

    async def connect(self):
        """Connect, and re-send what was on its way; returns whether the broker kept the session.
        Not to be called again before it has ended.

        If it did, publishes that were not acknowledged go out first, in order, with their ids
        and DUP (4.4); if not, their `publish` calls fail, and the caller has to subscribe again.
        Raises NetError: stage "name", "connect", "tls" or "mqtt"."""
        if self.connected:
            raise NetError("already connected")
        try:
            await reap(*self._tasks)
            present = await self._open()
        except NetError as error:
            if error.stage == "tls":
                own.add(_TLS)
            self.error = error
            raise
        self._gone = self.pinging = False
        self.wake = asyncio.Event()
        self._closed = asyncio.Event()
        self.connected = True
        self._heard = interpreter.ticks_ms()
        self._tasks = asyncio.create_task(self._read()), asyncio.create_task(self._rounds())
        if present:
            for waiting in self._sent:
                waiting.data[0] |= 8  # DUP
                self._send(waiting.data)
        else:
            self.abandon(NetError("the broker has lost the session: send again"))
        return present

    async def _open(self):
        began = interpreter.ticks_ms()
        host, port, hostname, resolvers = self._address
        tls = self.tls
        own.add(400)  # TCP's own packets
        self.reader, self.writer = await connection.open_connection(
            host, port, tls, hostname, resolvers, self._connect_ms, self.hello
        )
        own.add(_TLS)
        self.bytes_out += len(self.hello)
        self._sent_at = interpreter.ticks_ms()
        left = self._connect_ms - interpreter.ticks_diff(self._sent_at, began)
        code = 0
        stage = "mqtt"
        good = False
        try:
            kind, body = await within(max(0, left), self._packet())
            if kind != 0x20 or body[0] > (0 if body[1] else 1):
                text = "no CONNACK"
            elif body[1]:
                code = body[1]
                text = "CONNACK %d" % code
                if code == 5:
                    text = "not authorised: unknown or revoked certificate"
            else:
                good = True
                return body[0] == 1
        except EOFError:
            text = _closed("the broker").reason
        except NetError as error:
            text = error.reason
        except (OSError, MemoryError) as error:
            code = code_of(error)
            text = cause(error)
            # In TLS 1.3 (not on MicroPython yet) a certificate is refused after the client's side
            # is complete, by an alert that a reset may overtake.
            if code < 0 or getattr(error, "library", "") == "SSL":
                stage = "tls"
            elif code == errno.ECONNRESET and tls and not interpreter.MICROPYTHON:
                stage = "tls"
                text += CUT
        finally:
            if not good:
                connection.close(self.writer)
        raise NetError("broker %s: %s" % (host, text), stage, code)

    async def publish(self, topic, payload, qos=1, retain=False):
        """Send a message; with QoS 1 return when the broker has acknowledged it.

        Waits while the window is full. A QoS 1 message that is on its way when the connection
        ends stays so: this call goes on waiting, and the next `connect` settles it (so call it
        from another task than `connect`). Raises NetError when not connected, when the connection
        ends before the message was sent, when the broker lost the session, on `disconnect`. A
        cancelled call has sent its message or not; if it has, the message stays in the window."""
        self._check_open()
        if not qos:
            self._send(packet.publish(topic, payload, 0, retain))
            try:
                await self.writer.drain()
            except Exception as error:
                raise _lost(error) from None
            return
        while len(self._sent) >= self.window:
            self.wake.clear()
            await self.wake.wait()
            self._check_open()
        pid = self.next_id()
        data = packet.publish(topic, payload, pid, retain)
        await self._request(self._sent, pid, data)

    async def subscribe(self, topics):
        """Subscribe to [(filter, qos), ...], qos 0 or 1; raises NetError if one is refused."""
        self._check_open()
        pid = self.next_id()
        codes = await self._request(self._subscribing, pid, packet.subscribe(pid, topics))
        if len(codes) != len(topics) or max(codes) > 1:
            raise NetError("subscription refused: " + str(topics))

    async def disconnect(self, timeout_ms=2000):
        """Send DISCONNECT, wait until the broker closes, end every waiting call.

        The broker then does not publish the will. To stop a running `connect`, cancel it."""
        try:
            if self.connected and not self._gone:
                self._send(packet.DISCONNECT)
                self._gone = True
                await within(timeout_ms, self._closed.wait())
        except OSError:
            pass
        finally:
            error = _closed("this client")
            self._end(error)
            self.abandon(error)
            await reap(*self._tasks)

    async def close(self):
        """Drop the connection; messages on their way stay so, for the next `connect`."""
        self._end(_closed("this client"))
        await reap(*self._tasks)

    async def wait_closed(self):
        """Wait until the connection has ended and nothing of it is left; returns the reason."""
        if self._closed:
            await self._closed.wait()
            await reap(*self._tasks)
        return self.reason

    def _check_open(self):
        if not self.connected or self._gone:
            raise NetError("not connected: " + self.reason)

    def next_id(self):
        while True:
            self._number = self._number % 65535 + 1
            for waiting in self._sent + self._subscribing:
                if waiting.pid == self._number:
                    break
            else:
                return self._number

    async def _request(self, queue, pid, data):
        if not self._owed():
            self._heard = interpreter.ticks_ms()
        waiting = _Waiting(pid, data)
        queue.append(waiting)
        self._send(data)
        await waiting.over.wait()
        if waiting.error:
            raise waiting.error
        return waiting.codes

    def _send(self, data):
        if self.connected and not self._gone:  # nothing after DISCONNECT (3.14.4)
            self.bytes_out += len(data)
            count(data)
            self._sent_at = interpreter.ticks_ms()
            try:
                self.writer.write(data)
            except Exception as error:
                self._end(_lost(error))

    def _end(self, error):
        """End the connection, from whichever task noticed first; the first reason counts."""
        if not self.connected:
            return
        self.connected = False
        try:
            self.error = _closed("this client") if self._gone else error
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            connection.close(self.writer)
            for waiting in self._subscribing:
                waiting.end(error)
        finally:  # whatever fails here: nobody may go on waiting
            self._subscribing = []
            self.wake.set()
            self._closed.set()

    def abandon(self, error):
        for waiting in self._sent:
            waiting.end(error)
        self._sent = []

    def _owed(self):
        """What the broker still has to answer."""
        if self._sent:
            return "PUBACK"
        return "SUBACK" if self._subscribing else "PINGRESP" if self.pinging else ""

    async def _rounds(self):
        # Four looks per shortest period: a deadline is late by a quarter at most, and a ping
        # leaves early by as much, since the broker counts from the last packet that it got.
        step = max(20, min(self._keepalive_ms or self._timeout_ms, self._timeout_ms) // 4)
        while True:
            await interpreter.sleep_ms(step)
            now = interpreter.ticks_ms()
            owed = self._owed()
            if owed and interpreter.ticks_diff(now, self._heard) > self._timeout_ms:
                text = "no %s from the broker in %d s" % (owed, self._timeout_ms // 1000)
                self._end(NetError(text))
                return
            idle = interpreter.ticks_diff(now, self._sent_at)
            if self._keepalive_ms and idle + step > self._keepalive_ms and not self.pinging:
                self.ping()

    def ping(self):
        """Ask the broker for a sign of life: `pinging` until it has come."""
        if self.connected and not self.pinging:
            if not self._owed():
                self._heard = interpreter.ticks_ms()
            self.pinging = True
            self.pings += 1
            self._send(b"\xc0\0")

    async def _read(self):
        try:
            while True:
                kind, body = await self._packet()
                if kind & 0xF0 == 0x30:
                    self._on_message(kind, body)
                elif kind == 0x20:
                    raise packet.malformed("CONNACK")
                elif kind == 0xD0:
                    self.pinging = False
                    self._heard = interpreter.ticks_ms()
                else:
                    self._on_ack(self._sent if kind == 0x40 else self._subscribing, body)
        except NetError as error:
            self._end(error)
        except EOFError:
            self._end(_closed("the broker"))
        except Exception as error:
            self._end(_lost(error))

    async def _packet(self):
        """Read one packet: (first byte, body). Raises NetError, EOFError, OSError, MemoryError."""
        head = self._buf[:2]
        await connection.fill(self.reader, head)
        kind = head[0]
        n = head[1] & 127
        size = 0
        while head[1] & 128:
            size += 7
            if size > 21:
                raise packet.malformed("length")
            await connection.fill(self.reader, head[1:])
            n |= (head[1] & 127) << size
        self.bytes_in += 2 + size // 7 + n
        own.add(n + (n >> 4) + 137)  # as in `count`, MQTT's head, and TCP's acknowledgement
        packet.check_head(kind, n)
        if n > self.max_packet:
            raise packet.malformed("a packet of %d bytes" % n)
        # Larger packets are rare: their buffer goes when they are dealt with.
        body = self._buf[:n] if n <= len(self._buf) else memoryview(bytearray(n))
        await connection.fill(self.reader, body)
        return kind, body

    def _on_ack(self, queue, body):
        pid = body[0] << 8 | body[1]
        if not pid:
            raise packet.malformed("id 0")
        for waiting in queue:
            if waiting.pid == pid:
                self._heard = interpreter.ticks_ms()
                waiting.codes = bytes(body[2:])
                queue.remove(waiting)
                waiting.end(None)
                self.wake.set()
                return
        self.unknown += 1

    def _on_message(self, kind, body):
        topic, start = packet.parse_publish(kind, body)
        try:
            if self.on_message:
                self.on_message(topic, body[start:], bool(kind & 1))
        except Exception as error:
            self.errors += 1
            interpreter.log("mqtt: no handler took %s: %r" % (topic, error))
        if kind & 2:
            self._send(b"\x40\2" + bytes(body[start - 2 : start]))
