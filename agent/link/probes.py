"""Probes: does a host answer, and after how long? Small coroutines with a deadline each.

Each returns the round-trip time in tenths of a millisecond, or raises OSError, from whose errno
`classify` makes a PROBE_ number. Nothing here keeps state or knows a cause.
"""

import asyncio
import errno
import os
import socket
import struct

from agent.device import interpreter
from agent.net import dns
from agent.net.tasks import reap
from agent.net.traffic import own
from agent.device.interpreter import const

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_PROBE_OK = const(0)
_PROBE_TIMEOUT = const(1)
_PROBE_REFUSED = const(2)
_PROBE_UNREACHABLE = const(3)
_PROBE_ERROR = const(9)

_DNS = "dns:"
_ICMP = const(1)
_ECHO = const(8)
_PORT_CLOSED = const(9)  # discard: hosts that live refuse it
# Bytes at the IP level, both ways: an echo and its answer; what a TCP handshake takes, with its
# end or with two more tries.
_PING_BYTES = const(72)
_TCP_BYTES = const(360)

# Kinds of socket for ICMP, less what the platform has forbidden.
_kinds = [socket.SOCK_DGRAM, getattr(socket, "SOCK_RAW", 3)]


def classify(code):
    """The PROBE_ number of an OSError's errno."""
    if code == errno.ECONNREFUSED or code == errno.ECONNRESET:
        return _PROBE_REFUSED
    if code == errno.EHOSTUNREACH or code in (100, 101):  # ENETDOWN, ENETUNREACH on Linux
        return _PROBE_UNREACHABLE
    if code == errno.ETIMEDOUT:
        return _PROBE_TIMEOUT
    return _PROBE_ERROR


def reach(target, timeout_ms, refusal=False):
    """A coroutine that probes "host" by ping, "dns:host[:port]" by a question to a name server, or
    "host:port" by TCP, where somebody must accept, or at least refuse if a `refusal` will do; IPv4
    addresses."""
    if target[:4] == _DNS:
        return _ask(target[4:], timeout_ms)
    host, colon, port = target.rpartition(":")
    if colon:
        return _tcp(host, int(port), timeout_ms, refusal)
    while _kinds:
        try:
            s = socket.socket(socket.AF_INET, _kinds[0], _ICMP)
        except OSError as e:
            if e.errno in (errno.ENOMEM, 23, 24, 105):  # ENFILE, EMFILE, ENOBUFS: it passes
                raise
            _kinds.pop(0)
            continue
        return _ping(s, target, timeout_ms)
    # Where ping is forbidden, a port that nobody serves.
    return _tcp(target, _PORT_CLOSED, timeout_ms, True)


async def answer(target, timeout_ms, refusal=False, near=False):
    """(round-trip time or None, PROBE_ number). A port's `refusal` may be answer enough. What is
    `near` lies in the village and costs nothing."""
    if not near and target[:4] != _DNS:
        own.add(_PING_BYTES if _kinds and ":" not in target else _TCP_BYTES)
    try:
        return await reach(target, timeout_ms, refusal), _PROBE_OK
    except OSError as e:
        return None, classify(e.errno)


async def together(coros):
    """What the coroutines return, in their order; all of them end with the caller."""
    if len(coros) == 1:
        return [await coros[0]]  # mostly; a task would only take memory
    tasks = [asyncio.create_task(coro) for coro in coros]
    results = []
    try:
        for task in tasks:  # MicroPython takes no await in a comprehension
            results.append(await task)
        return results
    finally:
        await reap(*tasks)


async def _ask(server, timeout_ms):
    began = interpreter.ticks_us()
    await dns.query(server, "example.com", timeout_ms)  # whatever it says
    return interpreter.ticks_diff(interpreter.ticks_us(), began) // 100


async def _ping(s, host, timeout_ms):
    """ICMP echo (RFC 792) with 8 bytes; closes the socket."""
    try:
        token = os.urandom(8)
        packet = bytearray(8) + token
        packet[0] = _ECHO
        packet[4:8] = token[:4]  # identifier and sequence number
        total = sum(struct.unpack(">8H", packet))  # Internet checksum (RFC 1071)
        total = (total >> 16) + (total & 0xFFFF)
        struct.pack_into(">H", packet, 2, ~(total + (total >> 16)) & 0xFFFF)
        s.setblocking(False)
        address = socket.getaddrinfo(host, 1)[0][-1]
        began = interpreter.ticks_us()
        deadline = interpreter.ticks_add(interpreter.ticks_ms(), timeout_ms)
        s.sendto(packet, address)
        while True:
            left = interpreter.ticks_diff(deadline, interpreter.ticks_ms())
            if left <= 0 or not await interpreter.ready(s, False, left):
                raise OSError(errno.ETIMEDOUT, "")
            answer = s.recv(128)
            took = interpreter.ticks_diff(interpreter.ticks_us(), began)
            if len(answer) >= 28 and answer[0] >> 4 == 4:
                answer = answer[(answer[0] & 15) * 4 :]  # a raw socket gives the IP header too
            if answer[:1] == b"\0" and answer[8:16] == token:
                return took // 100
            if answer[:1] == b"\3" and answer[-8:] == token:
                raise OSError(errno.EHOSTUNREACH, "")
    finally:
        s.close()


async def _tcp(host, port, timeout_ms, refused_is_alive):
    """TCP handshake with `host`."""
    s = socket.socket()
    try:
        s.setblocking(False)
        began = interpreter.ticks_us()
        try:
            s.connect(socket.getaddrinfo(host, port)[0][-1])
        except OSError as e:
            if e.errno != errno.EINPROGRESS:
                raise
        if not await interpreter.ready(s, True, timeout_ms):
            raise OSError(errno.ETIMEDOUT, "")
        took = interpreter.ticks_diff(interpreter.ticks_us(), began)
        try:
            s.send(b"")  # nothing leaves; raises what became of the connection
        except OSError as e:
            if e.errno != errno.ECONNREFUSED or not refused_is_alive:
                raise
        return took // 100
    finally:
        s.close()
