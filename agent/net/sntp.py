"""SNTP client (RFC 5905, section 14): what time it is, from servers that may be wrong."""

import os
import struct

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net import dns
from agent.net.traffic import own
from agent.net.udp import exchange
from agent.wire import ids

_NTP_TO_UNIX = 2208988800
_ERA = 1 << 32
_BUILT = 1767225600  # 2026-01-01: an earlier time is wrong
_AGREE_S = const(10)
_ANSWER_MS = const(3000)


async def synchronise(clock, servers, resolvers=()):
    """Set the clock. True if that is certain, False if it should be tried again soon.

    A time that is far from what is certain counts only if two servers agree on it. Where only one
    answers, its time is used, but it is not saved (Clock.certain)."""
    heard = []  # Unix time at the start, by each server
    for server in servers:
        try:
            unix = await ask_time(server, _ANSWER_MS, resolvers)
        except OSError as e:
            interpreter.log("clock:", e)
            continue
        zero = unix - clock.up()
        agreed = [one for one in heard if abs(one - zero) <= _AGREE_S]
        if agreed or unix >= clock.floor and clock.is_plausible(unix):
            return clock.set(unix, ids.CLOCK_NTP)
        heard.append(zero)
    for zero in heard:
        if clock.set(zero + clock.up(), ids.CLOCK_NTP, False):
            break
    return False


async def ask_time(server, timeout_ms, resolvers=()):
    """Unix time in seconds from `server` ("host" or "host:port", IPv4 or a name). Raises OSError.

    resolvers: as for `dns.resolve`."""
    host, _, port = server.partition(":")
    host = (await dns.resolve(host, resolvers, timeout_ms))[0]
    nonce = os.urandom(8)  # comes back as the origin timestamp: tells our answer from another's
    request = b"\x23" + bytes(39) + nonce
    own.add(152)  # two packets: IP 20, UDP 8, NTP 48
    answer = await exchange(host, int(port or 123), request, timeout_ms)
    if len(answer) < 48 or answer[24:32] != nonce or answer[0] & 7 != 4:
        raise OSError(71, "bad answer from time server " + server)
    # A transmit time of zero is none (RFC 4330, 5), and would be taken for the year 2036.
    if answer[0] >> 6 == 3 or not 1 <= answer[1] <= 15 or answer[40:48] == bytes(8):
        raise OSError(71, "time server %s is not synchronised" % server)
    unix = struct.unpack(">I", answer[40:44])[0] - _NTP_TO_UNIX
    if unix < 0:
        unix += _ERA  # NTP's second era, from 2036
    if unix < _BUILT:
        raise OSError(71, "the clock of time server %s is wrong" % server)
    return unix
