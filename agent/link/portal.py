"""Captive portal: does plain HTTP bring the page that was asked for, or somebody else's?

The page (RFC 9110: 204, no content) is one that nothing but the internet can give. Whatever else
answers in its place, with a redirect, a log-in or an error of its own, has taken the village's
traffic.

A look has a connection of its own, as a portal lets those be that were there before it. It is
asked often and must be cheap, so it takes twelve bytes of the answer and closes: with more unread,
systems reset the connection instead of saying farewell.
"""

import socket
from errno import EINPROGRESS

from agent.device import interpreter
from agent.net import dns
from agent.net.traffic import own
from agent.device.interpreter import const

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_PROBE_OK = const(0)
_PROBE_BAD_ANSWER = const(5)

_ANSWER = const(12)  # "HTTP/1.1 204"
# Bytes of a look without the request: the heads of its packets (Linux: six of 52 and 60, lwIP:
# eight of 40 and 44) are 328; a 204 has 100 to 300.
_BYTES = const(640)
_MORE = const(1000)  # and what another page may bring until it is stopped
_BELIEVED = const(2)

# Options of Linux, which MicroPython has no names for; lwIP (ESP32) refuses the first.
_TCP = const(6)
_QUICKACK = const(12)
_RCVBUF = const(8)  # a harmless one on MIPS


class Portal:
    """The rung of the ladder: when to look, and what looks without an answer mean."""

    def __init__(self, settings):
        section = "link.portal"
        self._page = settings[section]
        self._timeout_ms = settings["link.timeout_ms"]
        self._every = max(1, settings[section + "_s"] // settings["cadence.round_s"])
        self._left = 0  # rounds to the next look
        self._last = None  # PROBE_ number of the last look; one without an answer may not count
        self._silent = 0  # looks without an answer since

    async def probe(self, up, told):
        """A PROBE_ number; None: not looked at, or nothing came. `up`: nothing nearer is wrong, so
        a look now and then will do, unless there may be a portal. `told`: it is the state."""
        last = self._last
        if up and last != _PROBE_BAD_ANSWER:
            self._left -= 1
            if self._left > 0:
                return None
        self._left = self._every
        result = await check(self._page, self._timeout_ms, not up or last != _PROBE_OK)
        if result is not None:
            self._last = result
            self._silent = 0
        elif last == _PROBE_BAD_ANSWER and self._silent < _BELIEVED:
            # A lost look shows no end. But a portal that is gone must not hide what else is wrong.
            self._silent += 1
            if told and (up or self._silent < _BELIEVED):
                return last
        else:
            self._last = None
        return result


async def check(page, timeout_ms, fresh=True):
    """Ask for `page`, "host[:port]/path". PROBE_OK: it came; PROBE_BAD_ANSWER: something else did;
    None: nothing came, which is no proof of a portal. Unless it must be `fresh`, the address that
    brought the page before will do for the name."""
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
            left = (timeout_ms - interpreter.ticks_diff(interpreter.ticks_ms(), began)) // tries
            tries -= 1
            result = await _look(address, int(port or 80), request, left)
            if result is not None:
                break
    except OSError:
        return None
    if result == _PROBE_OK:
        dns.good[host] = address
    return result


async def _look(address, port, request, timeout_ms):
    deadline = interpreter.ticks_add(interpreter.ticks_ms(), timeout_ms)
    own.add(_BYTES + len(request))
    info = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)[0]
    s = socket.socket(info[0], socket.SOCK_STREAM)

    async def ready(write):
        left = interpreter.ticks_diff(deadline, interpreter.ticks_ms())
        return left > 0 and await interpreter.ready(s, write, left)

    try:
        s.setblocking(False)
        try:
            # None of our acknowledgements travels alone, and of a long page only its begin comes.
            s.setsockopt(_TCP, _QUICKACK, 0)
            s.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUF", _RCVBUF), 1)
        except OSError:
            pass  # this system has no such options
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
        return _PROBE_OK
    own.add(_MORE)
    return _PROBE_BAD_ANSWER
