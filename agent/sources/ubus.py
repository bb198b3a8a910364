"""An OpenWrt router asked by ubus: on the router itself, or over HTTP from a companion device.

Over HTTP (rpcd, uhttpd-mod-ubus) an account is needed whose ACL has the read rights: system info,
network.interface dump, network.device status, hostapd.* get_clients.
"""

import json

from agent.net.errors import NetError
from agent.device.interpreter import const
from agent.sources import source
from agent.sources.counter import MAYBE, YES, Uptime
from agent.sources.jsonscan import Scanner
from agent.wire import ids

ORDER = 30
KEYS = """\
usage.ubus.url null str 1 253
usage.ubus.user "root" str 1 64
usage.ubus.password "" str 0 128
usage.ubus.command null str 1 200
usage.ubus.interface "wan" str 1 64
usage.ubus.wifi [] list 0 8"""
NEEDS = "usage.ubus.url http\nusage.ubus.command command"

_NOBODY = "0" * 32
_MOST_INTERFACES = const(32)


class Local:
    """ubus(8) on this machine."""

    _session = None

    def __init__(self, program, run):
        self._program = program
        self._run = run

    async def call(self, path, method, arguments, found):
        """Call `method` of the object `path` and hand the answer's values to found(path,
        value)."""
        words = (self._program, "-S", "call", path, method, json.dumps(arguments))
        scanner = Scanner(found)
        await self._run(words, scanner.feed)
        scanner.finish()

    def close(self):
        pass


class Remote:
    """ubus over HTTP: JSON-RPC with a session that is renewed when it has run out."""

    def __init__(self, http, user, password):
        self._http = http
        self._login = {"username": user, "password": password}
        self._session = None

    async def call(self, path, method, arguments, found):
        """As Local.call."""
        # One code says both "the session has run out" and "no right": only a new session tells
        # which.
        if self._session and await self._post(path, method, arguments, found):
            return
        self._session = None
        session = []

        def login(at, value):
            if at == [b"ubus_rpc_session"]:
                session.append(value)

        if not await self._post("session", "login", self._login, login):
            raise NetError("%s may not log in" % self._login["username"])
        if not session or not isinstance(session[0], bytes) or len(session[0]) != 32:
            raise NetError("the login's answer has no session")
        self._session = session[0].decode()
        if not await self._post(path, method, arguments, found):
            raise NetError("%s may not call %s %s" % (self._login["username"], path, method))

    async def _post(self, path, method, arguments, found):
        """False if access is denied."""
        codes = []

        def unwrap(at, value):
            if at[:1] == [b"result"]:
                if at in ([b"result"], [b"result", 0]):
                    codes.append(value)
                elif len(at) > 2 and at[1] == 1:
                    found(at[2:], value)
            elif at == [b"error", b"code"]:
                codes.append(value)

        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "call",
            "params": [self._session or _NOBODY, path, method, arguments],
        }
        scanner = Scanner(unwrap)
        kind = "Content-Type: application/json\r\n"
        body = json.dumps(call).encode()
        status = await self._http.request("POST", "/ubus", scanner.feed, kind, body)
        if status != 200:
            raise NetError("HTTP status %d from /ubus" % status)
        scanner.finish()
        if codes in ([-32002], [6]):  # JSON-RPC: access denied; UBUS_STATUS_PERMISSION_DENIED
            return False
        if codes != [0]:
            code = source.number(codes[0]) if codes else None
            raise NetError("%s %s failed with code %s" % (path, method, code))
        return True

    def close(self):
        self._http.close()


class UbusRouter(source.Source):
    """Source of what an OpenWrt router tells; `on_reset(metric)` is told of counters begun
    anew."""

    def __init__(self, ubus, interface, wifi, on_reset, unique):
        super().__init__("usage.ubus", on_reset, unique)
        self._ubus = ubus
        self._interface = interface.encode()
        self._wifi = wifi
        self._uptime = Uptime()
        self._device = None

    def lasts(self):
        return (self, ("_uptime", "_device")), (self._ubus, ("_session",))

    async def poll(self, levels):
        try:
            await self.each(self._uplink(levels), self._clients(levels))
        finally:
            self._ubus.close()

    async def _uplink(self, levels):
        uptimes = []
        found = {}

        def info(at, value):
            if at == [b"uptime"] and source.number(value):
                uptimes.append(value)

        def interfaces(at, value):
            if len(at) == 3 and at[0] == b"interface" and at[1] < _MOST_INTERFACES:
                if at[2] in (b"interface", b"l3_device", b"up"):
                    found.setdefault(at[1], {})[at[2]] = value

        await self._ubus.call("system", "info", {}, info)
        if uptimes:
            source.put(levels, ids.ROUTER_UPTIME, uptimes[0])
            if self._uptime.restarted(uptimes[0] * 100 & 0xFFFFFFFF):
                self.renewed(YES)
        await self._ubus.call("network.interface", "dump", {}, interfaces)
        for entry in found.values():
            if entry.get(b"interface") == self._interface:
                break
        else:
            raise NetError("has no interface " + self._interface.decode())
        up = entry.get(b"up")
        device = entry.get(b"l3_device")
        if up in (True, False):
            source.put(levels, ids.UPLINK_PORT, 1 if up else 2)
        if not isinstance(device, bytes):
            # Down: nothing passes. A dial-up comes back under the same name, and counts from zero.
            self.renewed(MAYBE)
            return
        octets = {}

        def status(at, value):
            if at[0] == b"statistics":
                octets[at[-1]] = source.number(value)

        await self._ubus.call("network.device", "status", {"name": device.decode()}, status)
        if self._device not in (None, device):
            self.renewed(YES)
        self._device = device
        self.octets(ids.BYTES_DOWN, octets.get(b"rx_bytes"), True)
        self.octets(ids.BYTES_UP, octets.get(b"tx_bytes"), True)

    async def _clients(self, levels):
        if not self._wifi:
            return
        count = [0]
        signals = []

        def clients(at, value):
            if len(at) != 3 or at[0] != b"clients":
                return
            if at[2] == b"authorized" and value is True:
                count[0] += 1
                self.seen(at[1])
            elif at[2] == b"signal" and (source.number(value) or 0) < 0:
                signals.append(source.number(value))

        for name in self._wifi:
            await self._ubus.call("hostapd." + name, "get_clients", {}, clients)
        for metric in (ids.CLIENTS, ids.ASSOCIATED):
            source.put(levels, metric, count[0])
        source.put_mean(levels, ids.CLIENT_SIGNAL, signals)


def make(config, clock, on_reset):
    """The source that the configuration asks for, or raises ValueError with a sentence."""
    url, user, password, program, interface, wifi = [
        config[row.split()[0]] for row in KEYS.split("\n")
    ]
    if url:
        from agent.sources.http import Http, base_path

        host, port, _ = base_path("usage.ubus.url", url, ("http",))
        ubus = Remote(Http(host, port), user, password)
    elif program:
        from agent.sources import command

        if not command.possible():
            raise ValueError("usage.ubus.command: this board runs no programs")
        ubus = Local(program, command.run)
    else:
        raise ValueError("usage.ubus.url is missing: expected it or usage.ubus.command")
    return UbusRouter(ubus, interface, wifi, on_reset, source.day_of(config, clock))
