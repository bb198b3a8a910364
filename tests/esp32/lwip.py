"""The ESP32's socket layer (MicroPython's modsocket.c over lwIP), made up in memory.

Runs on MicroPython, whose own `select` and event loop it drives on a clock of its own. `install`
puts it in the place of the modules socket, select, errno, time and sys. Its answers were measured
on the real C code; test_lwip.py holds it to the table of them. What a wait costs is the ESP32's,
too: it lasts until the next tick of 10 ms, whatever comes in.
"""

import select as host_select
import sys
import time as host_time

TICK_US = 10000
POLL_US = 200  # what asking once takes
MOST_SOCKETS = 10
IN, OUT, ERR, HUP = 1, 4, 8, 16

# newlib's numbers. Only these names are in MicroPython's module.
NUMBERS = {
    "ENOENT": 2, "EIO": 5, "EAGAIN": 11, "ENOMEM": 12, "EACCES": 13, "EEXIST": 17, "ENODEV": 19,
    "EINVAL": 22, "EOPNOTSUPP": 95, "ECONNABORTED": 113, "ECONNRESET": 104, "ENOBUFS": 105,
    "ENOTCONN": 128, "ETIMEDOUT": 116, "ECONNREFUSED": 111, "EHOSTUNREACH": 118, "EALREADY": 120,
    "EINPROGRESS": 119, "EADDRINUSE": 112, "EPERM": 1, "EBADF": 9, "EISDIR": 21,
}  # fmt: skip
_ENFILE = 23
_EISCONN = 127


def _fail(name):
    raise OSError(NUMBERS[name] if name in NUMBERS else name, "")


class Host:
    """rtt_us: how far it is. pings, ports ("open", "closed", "filtered" by number; others are
    `other`), answers (port -> function from a datagram to the answer or None). rejected: a router
    says "host unreachable" in its place."""

    def __init__(self, rtt_us=1000, pings=True, ports=None, answers=None, other="closed"):
        self.rtt_us = rtt_us
        self.pings = pings
        self.ports = ports or {}
        self.answers = answers or {}
        self.other = other
        self.rejected = False
        self.page = b""  # what an open port sends when it was sent something
        self.cuts = False  # an open port resets the connection when it was sent something


class Net:
    """Everything beyond the socket layer, and what the tests ask of it."""

    def __init__(self):
        self.hosts = {}
        self.up = True
        self.now_us = 123456
        self.open = []
        self.most = 0  # sockets at once
        self.warnings = 0

    def host(self, address):
        host = self.hosts.get(address)
        return host if host else Host(pings=False, other="filtered")

    def wait_for_tick(self):
        self.now_us += TICK_US - self.now_us % TICK_US


net = Net()


class Socket:
    def __init__(self, family=2, kind=1, protocol=0):
        if len(net.open) >= MOST_SOCKETS:
            _fail(_ENFILE)
        net.open.append(self)
        net.most = max(net.most, len(net.open))
        self.kind = kind
        self.peer = None
        self.waits = True
        self.limit_us = None
        self.due = []  # (when, data) of what will come
        self.known_reset = False
        self.cut_us = None  # when it is reset

    # ---- state

    def port_state(self):
        """Of a TCP socket: "new", "pending", "open" or "closed"."""
        if not self.peer:
            return "new"
        host = net.host(self.peer[0])
        state = "filtered" if host.rejected else host.ports.get(self.peer[1], host.other)
        if state == "filtered" or net.now_us < self.begun_us + host.rtt_us:
            return "pending"
        return "closed" if self.cut_us is not None and net.now_us >= self.cut_us else state

    def arrived(self):
        return [item for item in self.due if item[0] <= net.now_us]

    def flags(self):
        if self.kind != 1:
            return OUT | (IN if self.arrived() else 0)
        state = self.port_state()
        if state == "open":
            return OUT | (IN if self.arrived() else 0)
        return {"new": OUT | HUP, "pending": 0, "closed": IN | OUT | HUP}[state]

    # ---- MicroPython's methods

    def setblocking(self, on):
        self.waits = on

    def settimeout(self, seconds):
        self.waits = seconds != 0
        self.limit_us = seconds * 1000000

    def setsockopt(self, level, option, value):
        if (level, option) != (0xFFF, 4):  # SO_REUSEADDR
            net.warnings += 1  # "lwip.setsockopt() option not implemented" on the console

    def connect(self, address):
        if self.kind != 1:
            self.peer = address
            return
        if not self.peer:
            if not net.up:
                _fail("EHOSTUNREACH")
            self.peer = address
            self.begun_us = net.now_us
            if not self.waits:
                _fail("EINPROGRESS")
            net.now_us += self.limit_us
            state = self.port_state()
            if state == "open":
                return
            _fail({"closed": "ECONNRESET", "pending": "ETIMEDOUT"}[state])
        state = self.port_state()
        _fail({"pending": "EALREADY", "open": _EISCONN, "closed": "ENOTCONN"}[state])

    def send(self, data):
        if not data:
            _fail("EAGAIN")
        if self.kind != 1:
            return self.sendto(data, self.peer)
        state = self.port_state()
        if state == "closed":
            known, self.known_reset = self.known_reset, True
            _fail("ENOTCONN" if known else "ECONNRESET")
        if state != "open":
            _fail("EAGAIN")
        if not net.up:
            _fail("EHOSTUNREACH")
        host = net.host(self.peer[0])
        if host.page:
            self.due.append((net.now_us + host.rtt_us, host.page))
        if host.cuts:
            self.cut_us = net.now_us + host.rtt_us
        return len(data)

    def sendto(self, data, address):
        if not net.up:
            _fail("EHOSTUNREACH")
        host = net.host(address[0])
        when = net.now_us + host.rtt_us
        if self.kind == 3:
            head = b"\x45" + bytes(8) + b"\x01" + bytes(10)
            answer = None
            if host.rejected:
                answer = head + b"\x03\x01" + bytes(6) + head + bytes(data)
            elif host.pings:
                answer = head + b"\0" + bytes(data)[1:]
            for each in net.open if answer else ():
                if each.kind == 3:  # each gets a copy of all
                    each.due.append((when, answer))
        else:
            # SOCK_DGRAM is UDP, whatever protocol was asked for. lwIP passes no ICMP errors on.
            answer = host.answers.get(address[1])
            answer = answer(bytes(data)) if answer else None
            if answer:
                self.due.append((when, answer))
        return len(data)

    def recv(self, size):
        if self.kind == 1:
            state = self.port_state()
            if state == "new":
                _fail("ENOTCONN")
            if state == "closed":
                self.known_reset = True
                _fail("ECONNRESET")
        for item in self.arrived():
            self.due.remove(item)
            if self.kind == 1 and len(item[1]) > size:
                self.due.insert(0, (item[0], item[1][size:]))
            return item[1][:size]
        _fail("EAGAIN")

    def close(self):
        if self in net.open:
            net.open.remove(self)


class Poll:
    def __init__(self):
        self._sockets = {}

    def register(self, sock, flags=IN | OUT):
        self._sockets[id(sock)] = sock, flags

    modify = register

    def unregister(self, sock):
        self._sockets.pop(id(sock), None)

    def poll(self, timeout_ms=-1):
        end = net.now_us + timeout_ms * 1000
        while True:
            net.now_us += POLL_US
            found = []
            for sock, flags in self._sockets.values():
                happened = sock.flags() & flags
                if happened:
                    found.append((sock, happened))
            if found or 0 <= timeout_ms and net.now_us >= end:
                return found
            if timeout_ms < 0:
                raise RuntimeError("waits for ever")
            if self._sockets:
                net.wait_for_tick()
            else:
                net.now_us = end  # nothing can come in before

    ipoll = poll


class Module:
    """Names that stand for a module's."""

    def __init__(self, base=None, **names):
        for name in dir(base) if base else ():
            if name[:2] != "__":
                setattr(self, name, getattr(base, name))
        for name in names:
            setattr(self, name, names[name])


def _getaddrinfo(host, port, family=0, kind=0, *_):
    return [(2, kind or 1, 0, "", (host, port))]


def install():
    """From now on the agent that is imported runs on an ESP32's sockets."""
    modules = sys.modules
    modules["errno"] = Module(**NUMBERS)
    modules["select"] = Module(
        host_select, poll=Poll, POLLIN=IN, POLLOUT=OUT, POLLERR=ERR, POLLHUP=HUP
    )
    modules["socket"] = Module(
        socket=Socket, getaddrinfo=_getaddrinfo, AF_INET=2, AF_INET6=10, SOCK_STREAM=1,
        SOCK_DGRAM=2, SOCK_RAW=3, SOL_SOCKET=0xFFF, SO_REUSEADDR=4, IPPROTO_TCP=6,
    )  # fmt: skip
    modules["time"] = Module(
        host_time, ticks_ms=lambda: net.now_us // 1000, ticks_us=lambda: net.now_us
    )
    modules["sys"] = Module(sys, platform="esp32")
    return net
