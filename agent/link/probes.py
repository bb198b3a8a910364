"""Probes: does a host answer, and after how long? Small coroutines with a deadline each.

Each returns the round-trip time in tenths of a millisecond, or raises OSError, from whose errno
`classify` makes a PROBE_ number. Linux and lwIP (ESP32) answer differently: the calls used here
are those whose answers mean the same on both.
"""

import asyncio
import errno
import os
import socket
import struct

from agent.device import interpreter
from agent.net import dns
from agent.net.errors import timed_out
from agent.net.tasks import reap
from agent.net.traffic import own
from agent.net.udp import arrival
from agent.wire import ids
from agent.device.interpreter import const


# An ESP32 has ten sockets. The session, a source, a time server and a name look-up take one each.
_AT_ONCE = const(4)

# Numbers for which MicroPython has no names. newlib's (ESP32) differ from Linux's.
_NO_ROUTE = (errno.EHOSTUNREACH,) + ((114, 115) if interpreter.LWIP else (101, 100))
_OWN_LACK = (errno.ENOMEM, errno.ENOBUFS, 23, 24)  # ENFILE, EMFILE

# Kinds of sockets for ICMP, without those that the platform has refused.
_kinds = [getattr(socket, "SOCK_RAW", 3), socket.SOCK_DGRAM]


def classify(code):
    """The PROBE_ number of an OSError's errno. None: this device had no socket or no memory to
    ask with, which says nothing of the link."""
    if code in _OWN_LACK:
        return None
    if code == errno.ECONNREFUSED or code == errno.ECONNRESET:
        return ids.PROBE_REFUSED
    if code in _NO_ROUTE:
        return ids.PROBE_UNREACHABLE
    if code == errno.ETIMEDOUT:
        return ids.PROBE_TIMEOUT
    return ids.PROBE_ERROR


def reach(target, timeout_ms, refusal=False):
    """A coroutine that probes "host" by ping, "dns:host[:port]" by a question to a name server, or
    "host:port" by TCP, which must accept, or at least refuse if a `refusal` is enough; IPv4
    addresses."""
    if target[:4] == "dns:":
        return _ask(target[4:], timeout_ms)
    host, colon, port = target.rpartition(":")
    if colon:
        return _tcp(host, int(port), timeout_ms, refusal)
    s = _icmp()
    if s:
        return _ping(s, target, timeout_ms)
    return _tcp(target, 9, timeout_ms, True)  # discard: a live host refuses it


async def answer(target, timeout_ms, refusal=False, near=False):
    """(round-trip time or None, PROBE_ number or None as `classify`). A target that is `near` is
    in the village, where bytes cost nothing."""
    if not near and target[:4] != "dns:":
        # At the IP level, both ways: an echo without data and its answer; a TCP handshake with its
        # end, or with two more tries.
        own.add(56 if _kinds and ":" not in target else 360)
    try:
        return await reach(target, timeout_ms, refusal), ids.PROBE_OK
    except OSError as e:
        return None, classify(e.errno)


async def together(tries):
    """The results of coroutines, in their order. At most _AT_ONCE run at a time, and all of them
    end with the caller."""
    if len(tries) == 1:
        return [await tries[0]]  # the usual case; a task would only take memory
    answers = [None] * len(tries)
    left = list(range(len(tries)))

    async def work():
        while left:
            i = left.pop(0)
            answers[i] = await tries[i]

    tasks = [asyncio.create_task(work()) for _ in range(min(len(tries), _AT_ONCE))]
    try:
        for task in tasks:
            await task
        return answers
    finally:
        await reap(*tasks)
        for i in left:
            tries[i].close()


def _icmp():
    """A socket for ICMP, None where the platform allows none. Raises OSError while it has none
    free."""
    while _kinds:
        try:
            if _kinds[0] == socket.SOCK_DGRAM:
                _refuse_any_protocol()
            return socket.socket(socket.AF_INET, _kinds[0], 1)  # ICMP
        except OSError as e:
            if classify(e.errno) is None:
                raise
            _kinds.pop(0)
    return None


def _refuse_any_protocol():
    """lwIP makes a UDP socket of any SOCK_DGRAM: raise OSError where a protocol that nobody has is
    accepted."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 254).close()  # reserved, RFC 3692
    except OSError as e:
        if classify(e.errno) is None:
            raise
        return
    raise OSError(errno.EOPNOTSUPP, "")


async def _ask(server, timeout_ms):
    began = interpreter.ticks_us()
    await dns.query(server, "example.com", timeout_ms)  # any answer will do
    return interpreter.ticks_diff(interpreter.ticks_us(), began) // 100


async def _ping(s, host, timeout_ms):
    """ICMP echo without data (RFC 792); closes the socket."""
    try:
        token = os.urandom(4)  # identifier and sequence number
        packet = bytearray(b"\x08\0\0\0") + token
        total = sum(struct.unpack(">4H", packet))  # Internet checksum (RFC 1071)
        total = (total >> 16) + (total & 0xFFFF)
        struct.pack_into(">H", packet, 2, ~(total + (total >> 16)) & 0xFFFF)
        s.setblocking(False)
        address = socket.getaddrinfo(host, 1)[0][-1]
        began = interpreter.ticks_us()
        began_ms = interpreter.ticks_ms()
        s.sendto(packet, address)
        while True:
            await arrival(s, began_ms, timeout_ms)
            answer = s.recv(128)
            took = interpreter.ticks_diff(interpreter.ticks_us(), began)
            if len(answer) >= 28:  # a raw socket gives the IP header, too
                answer = answer[(answer[0] & 15) * 4 :]
            elif answer[6:8] == token[2:]:  # Linux sets an identifier of its own, and checks it
                token = answer[4:8]
            if answer[:1] == b"\0" and answer[4:8] == token:
                return took // 100
            if answer[:1] == b"\3" and len(answer) >= 36:
                start = 12 + (answer[8] & 15) * 4
                if answer[start : start + 4] == token:
                    raise OSError(errno.EHOSTUNREACH, "")
    finally:
        s.close()


async def _tcp(host, port, timeout_ms, refusal):
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
            raise timed_out()
        took = interpreter.ticks_diff(interpreter.ticks_us(), began)
        try:
            # Of an open port there is nothing to read yet. Of a refused connection Linux says
            # ECONNREFUSED and lwIP ECONNRESET; lwIP says neither at connect() nor at send().
            s.recv(1)
        except OSError as e:
            refused = classify(e.errno) == ids.PROBE_REFUSED
            if e.errno != errno.EAGAIN and not (refusal and refused):
                raise
        return took // 100
    finally:
        s.close()
