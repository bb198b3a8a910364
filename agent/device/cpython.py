"""What interpreter.py and net/connection.py have on CPython, apart: no device loads it."""

import asyncio
import os
import socket
import time

from agent.device.interpreter import MICROPYTHON

assert not MICROPYTHON


def const(value):
    return value


def ticks_ms():
    return time.monotonic_ns() // 1000000


def ticks_us():
    return time.monotonic_ns() // 1000


def ticks_add(ticks, delta):
    return ticks + delta


def ticks_diff(end, start):
    return end - start


async def sleep_ms(ms):
    await asyncio.sleep(ms / 1000)


def sync(file):
    """Commit a file's bytes to the medium (flush, then fsync)."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path):
    """Make a created file's name durable. MicroPython can't."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def ready(sock, write, timeout_ms):
    """Whether a non-blocking socket has something to read within `timeout_ms` milliseconds; if
    `write`, whether it takes bytes or failed to connect."""
    loop = asyncio.get_running_loop()
    happened = loop.create_future()

    def over(answer):
        if not happened.done():
            happened.set_result(answer)

    add = loop.add_writer if write else loop.add_reader
    add(sock.fileno(), over, True)
    timer = loop.call_later(timeout_ms / 1000, over, False)
    try:
        # Not asyncio.wait_for: before Python 3.12 it loses a cancellation that comes together with
        # the answer, and who has cancelled would wait for ever.
        return await happened
    finally:
        timer.cancel()
        (loop.remove_writer if write else loop.remove_reader)(sock.fileno())


async def fill(reader, buf):
    """Fill the memoryview `buf` from a connection; EOFError if it ends before."""
    buf[:] = await reader.readexactly(len(buf))


def close(writer):
    """Close a connection at once; what is not sent yet is dropped.

    Without TLS's farewell: a dead peer would hold the socket until that times out."""
    writer.transport.abort()


class Connection:
    """asyncio's two halves of a connection while they are opened; `stage`: how far that came."""

    def __init__(self, sock):
        self.stage = "connect"
        self.reader = self.writer = None
        self._sock = sock

    async def open(self, address, tls, hostname, hello):
        sock = self._sock
        await asyncio.get_running_loop().sock_connect(sock, address)
        if tls:
            self.stage = "tls"
        opening = asyncio.ensure_future(
            asyncio.open_connection(sock=sock, ssl=tls, server_hostname=hostname if tls else None)
        )
        self._sock = None  # from here on it is asyncio's to close
        try:
            self.reader, self.writer = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # asyncio loses track of a handshake that is cancelled at its very beginning. At the
            # connection's end it tidies up.
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            while not opening.done():
                await asyncio.sleep(0)
            if not opening.exception():
                self.writer = opening.result()[1]
            raise
        self.writer.write(hello)

    def close(self):
        if self.writer:
            close(self.writer)
        if self._sock:
            self._sock.close()
