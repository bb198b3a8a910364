"""Streams over TCP and TLS, opened under one deadline.

The other network files' interface is here too, so that callers import one module."""

import asyncio
import socket

from agent import compat, dns
from agent.bounded import NetError, cause, code_of, exchange, within  # noqa: F401
from agent.dns import query  # noqa: F401
from agent.tls import tls_context  # noqa: F401

if compat.MICROPYTHON:
    from asyncio import core
    from errno import EALREADY, EINPROGRESS

    class _Stream(asyncio.StreamReader):
        """A stream whose `write` any task may call at any time.

        MicroPython's own joins a second write to one that TLS has not finished, which mbedTLS
        then reports as sent without sending it; and it forgets its place when cancelled."""

        def __init__(self, raw, s):
            super().__init__(s)
            self._raw = raw  # a failed handshake lets go of the socket without closing it
            self._out = []
            self._flusher = None
            self._error = None

        def write(self, buf):
            if not self._out and not self._error:
                done = self.s.write(buf) or 0
                if done == len(buf):
                    return
                buf = memoryview(buf)[done:]
            self._out.append(bytes(buf))
            if self._flusher is None or self._flusher.done():
                self._flusher = asyncio.create_task(self._flush())

        def _flush(self):
            try:
                while self._out:
                    yield core._io_queue.queue_write(self.s)
                    buf = self._out[0]
                    done = self.s.write(buf)  # TLS wants the same bytes again after None
                    if done == len(buf):
                        self._out.pop(0)
                    elif done:
                        self._out[0] = memoryview(buf)[done:]
            except Exception as error:
                self._error = error

        async def drain(self):
            while self._out and not self._error:
                await compat.sleep_ms(10)
            if self._error:
                raise self._error

        def fill(self, buf):
            at = 0
            while at < len(buf):
                yield core._io_queue.queue_read(self.s)
                got = self.s.readinto(buf[at:] if at else buf)
                if got == 0:
                    raise EOFError
                at += got or 0

        def close(self):
            if self._flusher:
                self._flusher.cancel()
            for s in (self.s, self._raw):
                try:
                    s.close()
                except OSError:
                    pass

    async def fill(reader, buf):
        """Fill the memoryview `buf` from a stream; EOFError if it ends before."""
        await reader.fill(buf)

    def close(writer):
        """Close a stream at once; what is not sent yet is dropped."""
        writer.close()

    async def _steps(at, info, tls, hostname, hello):
        sock = at.sock
        while True:
            try:
                sock.connect(info[-1])
                break
            except OSError as error:
                # EISCONN is not in MicroPython's errno: 106 on Linux, 127 in newlib (ESP32).
                if error.errno in (106, 127):
                    break
                if error.errno not in (EINPROGRESS, EALREADY):
                    raise
            # There is no getsockopt: connect() again tells how it went.
            await compat.writable(sock, 60000)
        s = sock
        if tls:
            at.stage = "tls"
            s = tls.wrap_socket(sock, server_hostname=hostname, do_handshake_on_connect=False)
        at.reader = at.writer = stream = _Stream(sock, s)
        stream.write(hello)
        await stream.drain()

else:

    async def fill(reader, buf):
        """Fill the memoryview `buf` from a stream; EOFError if it ends before."""
        buf[:] = await reader.readexactly(len(buf))

    def close(writer):
        """Close a stream at once; what is not sent yet is dropped.

        Without TLS's farewell: a dead peer would hold the socket until that times out."""
        writer.transport.abort()

    async def _steps(at, info, tls, hostname, hello):
        sock = at.sock
        await asyncio.get_running_loop().sock_connect(sock, info[-1])
        if tls:
            at.stage = "tls"
        opening = asyncio.ensure_future(
            asyncio.open_connection(sock=sock, ssl=tls, server_hostname=hostname if tls else None)
        )
        at.sock = None  # from here on it is asyncio's to close
        try:
            at.reader, at.writer = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # asyncio loses track of a handshake that is cancelled at its very beginning. At the
            # stream's end it tidies up.
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            while not opening.done():
                await asyncio.sleep(0)
            if not opening.exception():
                at.writer = opening.result()[1]
            raise
        at.writer.write(hello)


class _Progress:
    # How far an attempt came, and what there is to close if it fails.
    def __init__(self, sock):
        self.stage = "connect"
        self.sock = sock
        self.reader = self.writer = None


async def _open(address, port, tls, hostname, timeout_ms, hello):
    info = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)[0]  # digits: no look-up
    at = _Progress(socket.socket(info[0], socket.SOCK_STREAM))
    opened = False
    try:
        at.sock.setblocking(False)
        await within(timeout_ms, _steps(at, info, tls, hostname, hello))
        opened = True
        return at.reader, at.writer
    except (OSError, ValueError, EOFError, MemoryError) as error:
        text = "TLS with %s: " % hostname if at.stage == "tls" else ""
        text = "%s port %d: %s%s" % (address, port, text, cause(error))
        raise NetError(text, at.stage, code_of(error)) from None
    finally:
        if not opened:
            if at.writer:
                close(at.writer)
            if at.sock:
                at.sock.close()


async def open_stream(
    host, port, tls=None, server_hostname=None, resolvers=(), timeout_ms=30000, hello=b""
):
    """Look up `host`, connect, complete TLS and send `hello`: (reader, writer).

    All of it inside `timeout_ms`, of which the look-up gets half; the addresses are tried in turn.
    `tls` is from `tls_context`; the certificate must be for `server_hostname`, else `host`.
    On MicroPython the handshake is driven by the first bytes sent: give them as `hello`, or a
    failing handshake shows later. Raises NetError with its stage: "name", "connect" or "tls"."""
    began = compat.ticks_ms()
    addresses = await dns.resolve(host, resolvers, timeout_ms // 2)
    tries = len(addresses)
    for address in addresses:
        left = max(0, timeout_ms - compat.ticks_diff(compat.ticks_ms(), began)) // tries
        try:
            streams = await _open(address, port, tls, server_hostname or host, left, hello)
            dns.remember(host, address)
            return streams
        except NetError:
            tries -= 1
            if not tries:
                raise
