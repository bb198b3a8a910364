"""SNTP client (RFC 5905, section 14): one question, one time."""

import os
import struct

from agent.net.traffic import own
from agent.net.udp import exchange

_NTP_TO_UNIX = 2208988800
_ERA = 1 << 32
_BUILT = 1767225600  # 2026-01-01: an earlier time is wrong


async def query(server, timeout_ms):
    """Unix time in seconds from `server` (an IPv4 address, "address:port"). Raises OSError."""
    host, _, port = server.partition(":")
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
