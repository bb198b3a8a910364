"""A MikroTik router with RouterOS 7 asked by its REST interface.

The account needs the policies read, test and rest-api. Every value is a text there. Which of the
menus the router has (hotspot, new or old Wi-Fi, LTE) is found out at the start, and anew each
hour.
"""

import binascii

from agent.device import heap
from agent.net.errors import NetError
from agent.device.interpreter import const
from agent.sources import source
from agent.sources.counter import YES, Uptime
from agent.sources.http import Http, base_path
from agent.sources.jsonscan import Scanner
from agent.wire import ids

ORDER = 40
KEYS = """\
usage.mikrotik.url - str 1 253
usage.mikrotik.ca null path 1 200
usage.mikrotik.server_name null str 1 253
usage.mikrotik.user "admin" str 1 64
usage.mikrotik.password "" str 0 128
usage.mikrotik.interface null str 1 64"""

_HOUR = const(120)  # polls


def seconds(text):
    """RouterOS's "1w2d3h4m5s" in seconds, None if it is anything else."""
    if not isinstance(text, bytes):
        return None
    total = part = 0
    unit = True
    for byte in text:
        if 0x30 <= byte <= 0x39:
            part = part * 10 + byte - 0x30
            unit = False
        elif byte in b"wdhms":
            total += part * {0x77: 604800, 0x64: 86400, 0x68: 3600, 0x6D: 60, 0x73: 1}[byte]
            part = 0
            unit = True
        else:
            return None
    return total if unit and text and total < 1 << 32 else None


def decimal(text, scale):
    """A decimal number such as "24.1" times `scale`, as an integer; None if it is none."""
    if not isinstance(text, bytes):
        text = b"%d" % text if source.number(text) is not None else b""
    text = text.strip()
    whole, _, rest = text.lstrip(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 9 or not (rest + b"0").isdigit():
        return None
    value = int(whole) * scale + int(rest[:4] or b"0") * scale // 10 ** min(len(rest), 4)
    return -value if text[:1] == b"-" else value


def leading(text):
    """The number at the beginning of a text such as "-61dBm@6Mbps", or None."""
    number = source.number(text)
    if number is None and isinstance(text, bytes):
        end = 1
        while text[end : end + 1].isdigit():
            end += 1
        number = source.number(text[:end])
    return number


class Mikrotik(source.Source):
    """Source of what RouterOS tells; `on_reset(metric)` is told of counters begun anew."""

    def __init__(self, http, user, password, interface, on_reset, unique):
        super().__init__("usage.mikrotik", on_reset, unique)
        self._http = http
        login = binascii.b2a_base64(("%s:%s" % (user, password)).encode()).decode().strip()
        self._headers = "Authorization: Basic %s\r\n" % login.replace("\n", "")
        self._interface = interface
        self._uptime = Uptime()
        self._polls = 0
        self._wifi = self._hotspot = self._lte = None

    def lasts(self):
        return ((self, ("_uptime", "_polls", "_wifi", "_hotspot", "_lte")),)

    async def poll(self, levels):
        try:
            await self._system(levels)
            if self._polls % _HOUR == 0:
                await self._menus()
            self._polls += 1
            await self.each(
                self._port(levels),
                self._users(levels),
                self._stations(levels),
                self._leases(levels),
                self._health(levels),
                self._modem(levels),
            )
        finally:
            self._http.close()

    async def _get(self, path, properties, found, body=None):
        """Read a menu: found(property, value) for each row's. The number of rows, None if there
        is no such menu."""
        rows = set()

        def each(at, value):
            if at and isinstance(at[-1], bytes) and len(at) <= 2:
                rows.add(at[0] if len(at) == 2 else 0)
                found(at[-1], value)

        scanner = Scanner(each)
        if body is None:
            path += "%s.proplist=%s" % ("&" if "?" in path else "?", properties)
        status = await self._http.request(
            "POST" if body else "GET",
            "/rest" + path,
            scanner.feed,
            self._headers + ("Content-Type: application/json\r\n" if body else ""),
            body or b"",
        )
        if status == 401:
            raise NetError("refuses user and password")
        if status in (400, 404):
            return None
        if status != 200:
            raise NetError("HTTP status %d from %s" % (status, path.partition("?")[0]))
        scanner.finish()
        return len(rows)

    async def _system(self, levels):
        uptime = []
        await self._get(
            "/system/resource", "uptime", lambda key, value: uptime.append(seconds(value))
        )
        if not uptime or uptime[0] is None:
            raise NetError("does not tell its uptime")
        source.put(levels, ids.ROUTER_UPTIME, uptime[0])
        if self._uptime.restarted(uptime[0] * 100 & 0xFFFFFFFF):
            self._polls = 0
            self.renewed(YES)

    async def _menus(self):
        def ignore(key, value):
            pass

        self._hotspot = await self._get("/ip/hotspot", "name", ignore)
        self._wifi = None
        for menu in ("/interface/wifi", "/interface/wireless"):
            if not self._wifi and await self._get(menu, "name", ignore):
                self._wifi = menu
        names = []
        await self._get("/interface/lte", "name", lambda key, value: names.append(value))
        self._lte = names[0].decode() if names and isinstance(names[0], bytes) else None

    async def _port(self, levels):
        if not self._interface:
            return
        octets = {}
        path = "/interface?name=" + self._interface
        rows = await self._get(path, "rx-byte,tx-byte,running", octets.__setitem__)
        if not rows:
            raise NetError("has no interface " + self._interface)
        running = octets.get(b"running")
        if running in (b"true", b"false", True, False):
            source.put(levels, ids.UPLINK_PORT, 1 if running in (b"true", True) else 2)
        for key, metric in ((b"rx-byte", ids.BYTES_DOWN), (b"tx-byte", ids.BYTES_UP)):
            self.octets(metric, source.number(octets.get(key)), True)

    def _address(self, key, value):
        if key == b"mac-address" and isinstance(value, bytes):
            self.seen(value)

    async def _users(self, levels):
        if self._hotspot:
            wanted = ".id,mac-address" if self.unique else ".id"
            users = await self._get("/ip/hotspot/active", wanted, self._address)
            source.put(levels, ids.CLIENTS, users)

    async def _stations(self, levels):
        if not self._wifi:
            return
        signals = []

        def station(key, value):
            if key in (b"signal", b"signal-strength"):
                value = leading(value)
                if value is not None and value < 0:
                    signals.append(value)
            elif not self._hotspot:
                self._address(key, value)

        wanted = ".id,signal,signal-strength"
        if self.unique and not self._hotspot:
            wanted += ",mac-address"
        rows = await self._get(self._wifi + "/registration-table", wanted, station)
        source.put(levels, ids.ASSOCIATED, rows)
        if not self._hotspot:
            source.put(levels, ids.CLIENTS, rows)
        source.put_mean(levels, ids.CLIENT_SIGNAL, signals)

    async def _leases(self, levels):
        path = "/ip/dhcp-server/lease?status=bound"
        source.put(levels, ids.LEASES, await self._get(path, ".id", lambda key, value: None))

    async def _health(self, levels):
        name = [None]

        def health(key, value):
            if key == b"name":
                name[0] = value
                return
            key = name[0] if key == b"value" else key  # older versions: one row, by name
            if key == b"voltage":
                source.put(levels, ids.ROUTER_VOLTAGE, decimal(value, 100) or None)
            elif key in (b"temperature", b"cpu-temperature"):
                source.put(levels, ids.ROUTER_TEMPERATURE, decimal(value, 1) or None)

        await self._get("/system/health", "name,value,voltage,temperature", health)

    async def _modem(self, levels):
        if not self._lte:
            return

        def modem(key, value):
            metric = {b"rssi": ids.SIGNAL, b"rsrp": ids.LTE_RSRP, b"sinr": ids.LTE_SINR}.get(key)
            if metric:
                source.put(levels, metric, leading(value))

        body = '{"numbers":"%s","once":""}' % self._lte
        await self._get("/interface/lte/monitor", "", modem, body.encode())


def make(config, clock, on_reset):
    """The source that the configuration asks for, or raises ValueError with a sentence."""
    url, ca, server_name, user, password, interface = [
        config[row.split()[0]] for row in KEYS.split("\n")
    ]
    host, port, tls = base_path("usage.mikrotik.url", url)
    if interface and not all([c.isalpha() or c.isdigit() or c in "-_." for c in interface]):
        raise ValueError("usage.mikrotik.interface: expected letters, digits, - _ and . only")
    context = None
    if tls:
        if not ca:
            raise ValueError("usage.mikrotik.ca is missing: https needs the router's CA")
        try:
            # Made again with this configuration, the source finds what takes long to make.
            if isinstance(ca, str):
                ca = config["usage.mikrotik.ca"] = heap.seldom("agent.net.tls").trusting(ca)
        except NetError as error:
            raise ValueError("usage.mikrotik.ca: %s" % error) from None
        context = ca
    http = Http(host, port, context, server_name)
    return Mikrotik(http, user, password, interface, on_reset, source.day_of(config, clock))
