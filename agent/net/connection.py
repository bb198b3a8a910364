"""Connections over TCP and TLS, opened under one deadline."""

import asyncio
import errno
import socket

from agent.device import interpreter
from agent.net import dns
from agent.net.errors import CERTIFICATE, CUT, NetError, cause, code_of
from agent.net.tasks import within

if interpreter.MICROPYTHON:
    import gc
    from asyncio import core

    class Connection:
        """A connection whose `write` any task may call at any time.

        MicroPython's own joins a second write to one that TLS has not finished, which mbedTLS
        then reports as sent without sending it; and it forgets its place when cancelled.

        `stage`: how far its opening came."""

        def __init__(self, sock):
            self.stage = "connect"
            self.reader = self.writer = self
            # Two, as a failed handshake lets go of the socket without closing it.
            self._s = self._raw = sock
            self._out = []
            self._flusher = None
            self._error = None

        async def open(self, address, tls, hostname, hello):
            while True:
                try:
                    self._raw.connect(address)
                    break
                except OSError as error:
                    # EISCONN is not in MicroPython's errno: 106 on Linux, 127 in newlib (ESP32).
                    if error.errno in (106, 127):
                        break
                    if error.errno == errno.ENOTCONN:  # lwIP, of a refused connection
                        raise OSError(errno.ECONNREFUSED, "") from None
                    if error.errno not in (errno.EINPROGRESS, errno.EALREADY):
                        raise
                # There is no getsockopt: connect() again tells how it went.
                await interpreter.ready(self._raw, True, 60000)
            if tls:
                self.stage = "tls"
                gc.collect()  # what is free, an ESP32 can give to TLS
                self._s = tls.wrap_socket(
                    self._raw, server_hostname=hostname, do_handshake_on_connect=False
                )
            self.write(hello)
            await self.drain()

        def write(self, buf):
            if not self._out and not self._error:
                done = self._s.write(buf) or 0
                if done == len(buf):
                    return
                buf = memoryview(buf)[done:]
            self._out.append(bytes(buf))
            if self._flusher is None or self._flusher.done():
                self._flusher = asyncio.create_task(self._flush())

        def _flush(self):
            try:
                while self._out:
                    yield core._io_queue.queue_write(self._s)
                    buf = self._out[0]
                    done = self._s.write(buf)  # TLS wants the same bytes again after None
                    if done == len(buf):
                        self._out.pop(0)
                    elif done:
                        self._out[0] = memoryview(buf)[done:]
            except Exception as error:
                self._error = error

        async def drain(self):
            while self._out and not self._error:
                await interpreter.sleep_ms(10)
            if self._error:
                raise self._error

        def renew(self):
            """Forget what waited in an event loop that is no more."""
            self._flusher = None

        def read(self, n):
            got = None
            while got is None:
                yield core._io_queue.queue_read(self._s)
                got = self._s.read(n)
            return got

        def fill(self, buf):
            """Fill the memoryview `buf`; EOFError if the connection ends before."""
            at = 0
            while at < len(buf):
                yield core._io_queue.queue_read(self._s)
                got = self._s.readinto(buf[at:] if at else buf)
                if got == 0:
                    raise EOFError
                at += got or 0

        def close(self):
            """Close at once; what is not sent yet is dropped."""
            if self._flusher:
                self._flusher.cancel()
            for s in (self._s, self._raw):
                try:
                    s.close()
                except OSError:
                    pass

    fill = Connection.fill
    close = Connection.close

else:
    from agent.device.cpython import Connection, close, fill  # noqa: F401


async def _open(address, port, tls, hostname, timeout_ms, hello):
    info = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)[0]  # digits: no look-up
    sock = socket.socket(info[0], socket.SOCK_STREAM)
    opening = Connection(sock)
    opened = False
    try:
        sock.setblocking(False)
        await within(timeout_ms, opening.open(info[-1], tls, hostname, hello))
        opened = True
        return opening.reader, opening.writer
    except (OSError, ValueError, EOFError, MemoryError) as error:
        text = "%s port %d: " % (address, port)
        if opening.stage == "tls":
            text += "TLS with %s: " % hostname
        text += cause(error)
        if opening.stage == "tls" and code_of(error) in (errno.ECONNRESET, 32):  # EPIPE
            text += CUT
        refused = opening.stage == "tls" and isinstance(error, ValueError)  # on both interpreters
        raise NetError(text, opening.stage, CERTIFICATE if refused else code_of(error)) from None
    finally:
        if not opened:
            opening.close()


async def open_connection(
    host, port, tls=None, server_hostname=None, resolvers=(), timeout_ms=30000, hello=b""
):
    """Look up `host`, connect, complete TLS and send `hello`: (reader, writer), for `fill` and
    `close`; a writer's `write` only begins to send, `drain` waits.

    All of it inside `timeout_ms`, of which the look-up gets half; the addresses are tried in turn.
    `tls` is from `tls_context`; the certificate must be for `server_hostname`, else `host`.
    On MicroPython the handshake is driven by the first bytes sent: give them as `hello`, or a
    failing handshake shows later. Raises NetError with its stage: "name", "connect" or "tls"."""
    began = interpreter.ticks_ms()
    addresses = await dns.resolve(host, resolvers, timeout_ms // 2)
    tries = len(addresses)
    for address in addresses:
        left = max(0, timeout_ms - interpreter.since(began)) // tries
        try:
            pair = await _open(address, port, tls, server_hostname or host, left, hello)
            dns.good[host] = address
            return pair
        except NetError:
            tries -= 1
            if not tries:
                raise
