"""Captive portal: does plain HTTP bring the page that was asked for, or somebody else's?

The page (RFC 9110: 204, no content) is one that only the internet can give. Whatever else answers
in its place, with a redirect, a log-in page or an error, has taken over the village's traffic.

Each check makes a connection of its own, as a portal may let connections pass that are older than
itself. It must be cheap. So it reads twelve bytes of the answer and closes: with more unread,
systems reset the connection and need no packets to end it.
"""

import socket
from errno import EINPROGRESS

from agent.device import interpreter
from agent.net import dns
from agent.net.traffic import own
from agent.wire import ids
from agent.device.interpreter import const

_ANSWER = const(12)  # "HTTP/1.1 204"
# Bytes of a check without the request: the headers of its packets (Linux: six of 52 and 60, lwIP:
# eight of 40 and 44) are 328; a 204 has 100 to 300.
_BYTES = const(640)
_MORE = const(1000)  # and what another page may bring until it is stopped
_BELIEVED = const(2)

# Options of Linux, for which MicroPython has no names.
_TCP = const(6)
_QUICKACK = const(12)
_RCVBUF = const(8)  # a harmless one on MIPS


class Portal:
    """The rung of the ladder: when to check, and what checks without an answer mean."""

    def __init__(self, settings):
        section = "link.portal"
        self._page = settings[section]
        self._timeout_ms = settings["link.timeout_ms"]
        self._every = max(1, settings[section + "_s"] // settings["cadence.round_s"])
        self._left = 0  # rounds to the next check
        self._last = None  # PROBE_ number of the last answer that still counts
        self._silent = 0  # checks without an answer since

    async def probe(self, up, is_state):
        """A PROBE_ number; None: not checked, or no answer. `up`: nothing nearer is wrong, so a
        check from time to time is enough, unless there may be a portal. `is_state`: the link's
        state is this rung."""
        last = self._last
        if up and last != ids.PROBE_BAD_ANSWER:
            self._left -= 1
            if self._left > 0:
                return None
        self._left = self._every
        fresh = not up or last != ids.PROBE_OK or self._silent
        result = await check(self._page, self._timeout_ms, fresh)
        if result is not None:
            self._last = result
            self._silent = 0
            return result
        self._silent += 1
        if self._silent > _BELIEVED:
            self._last = None
            return None
        self._left = 1  # it may only be lost: check again in the next round
        # A lost check ends no portal. But a portal that has gone must not hide other faults.
        if last == ids.PROBE_BAD_ANSWER and is_state and (up or self._silent < _BELIEVED):
            return last
        return None


async def check(page, timeout_ms, fresh=True):
    """Ask for `page`, "host[:port]/path". PROBE_OK: it came; PROBE_BAD_ANSWER: something else;
    None: nothing came, which proves no portal. Unless the name must be looked up (`fresh`), the
    address that gave the page before is used."""
    where, _, path = page.partition("/")
    host, _, port = where.partition(":")
    request = ("GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, where)).encode()
    began = interpreter.ticks_ms()
    result = None
    try:
        address = None if fresh else dns.good.get(host)
        addresses = [address] if address else await dns.resolve(host, (), timeout_ms // 2)
        tries = len(addresses)
        for address in addresses:
            left = (timeout_ms - interpreter.since(began)) // tries
            tries -= 1
            result = await _ask(address, int(port or 80), request, left)
            if result is not None:
                break
    except OSError:
        return None
    if result == ids.PROBE_OK:
        dns.good[host] = address
    return result


async def _ask(address, port, request, timeout_ms):
    began = interpreter.ticks_ms()
    own.add(_BYTES + len(request))
    info = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)[0]
    s = socket.socket(info[0], socket.SOCK_STREAM)

    async def ready(write):
        left = timeout_ms - interpreter.since(began)
        return left > 0 and await interpreter.ready(s, write, left)

    try:
        s.setblocking(False)
        if not interpreter.LWIP:  # which has no such options, and prints a warning for each
            # Acknowledgements travel with data, and only the beginning of a long page comes.
            s.setsockopt(_TCP, _QUICKACK, 0)
            s.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUF", _RCVBUF), 1)
        try:
            s.connect(info[-1])
        except OSError as e:
            if e.errno != EINPROGRESS:
                raise
        if not await ready(True):
            return None
        s.send(request)
        got = b""
        while len(got) < _ANSWER:
            if not await ready(False):
                return None
            piece = s.recv(_ANSWER - len(got))
            if not piece:
                break
            got += piece
    except OSError:
        return None
    finally:
        s.close()
    if not got:
        return None
    if got[:7] == b"HTTP/1." and got[8:] == b" 204":
        return ids.PROBE_OK
    own.add(_MORE)
    return ids.PROBE_BAD_ANSWER
