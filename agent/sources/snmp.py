"""A router asked by SNMP: version 2c here, version 3 in snmpv3.py (RFC 3416, 3417, 2863, 2790).

What every router tells (bytes, port state, uptime) is here, what only some makes tell is the data
of profiles.py. An answer counts if it comes from the router's address and port, carries the
request's number, and names the objects that were asked for.
"""

import os

from agent.device import heap
from agent.net import dns
from agent.net.errors import NetError
from agent.net.udp import exchange
from agent.device.interpreter import const
from agent.sources import ber, source
from agent.sources.counter import MAYBE, NO, YES, Uptime
from agent.wire import ids

ORDER = 20
KEYS = """\
usage.snmp.host - str 1 253
usage.snmp.port 161 int 1 65535
usage.snmp.community "public" str 1 64
usage.snmp.interface null str 1 64
usage.snmp.profile "generic" str 1 32
usage.snmp.user null str 1 32
usage.snmp.auth "sha256" str 1 8
usage.snmp.auth_password null str 8 64
usage.snmp.priv_password null str 8 64"""
NEEDS = "usage.snmp.user snmpv3"

# Kinds of rows in profiles.py, which is only loaded at start.
_SOME = const(1)
_FIRST = const(2)
_ROWS = const(4)

_GET = const(0xA0)
_GETNEXT = const(0xA1)
_RESPONSE = const(0xA2)
_GETBULK = const(0xA5)
_TOO_BIG = const(1)
_END_OF_VIEW = const(0x82)  # noSuchObject 0x80, noSuchInstance 0x81

_TRY_MS = const(1400)
_TRIES = const(2)
_SENDS = const(4)  # version 3: again with the router's identity, again with its time
_MOST_BYTES = const(512)  # of an answer that udp.exchange leaves whole
_ROWS_AT_ONCE = const(8)
_MOST_ROWS = const(512)

# Encoded names: ifTable's and ifXTable's columns (1.3.6.1.2.1.2.2.1, 1.3.6.1.2.1.31.1.1.1)
_IF = b"\x2b\6\1\2\1\2\2\1"
_IFX = b"\x2b\6\1\2\1\x1f\1\1\1"
# sysUpTime.0, hrSystemUptime.0
_UPTIMES = [b"\x2b\6\1\2\1\1\3\0", b"\x2b\6\1\2\1\x19\1\1\0"]
# ifHCInOctets, ifHCOutOctets, ifInOctets, ifOutOctets, ifCounterDiscontinuityTime, ifOperStatus
_COLUMNS = (
    _IFX + b"\6",
    _IFX + b"\x0a",
    _IF + b"\x0a",
    _IF + b"\x10",
    _IFX + b"\x13",
    _IF + b"\x08",
)
_NAMES = (_IFX + b"\1", _IFX + b"\x12", _IF + b"\2")  # ifName, ifAlias, ifDescr


class Community:
    """Version 2c's envelope: a community, in clear."""

    lasts = ()  # names of attributes, as Source.lasts

    def __init__(self, community):
        self._community = community.encode()

    async def ready(self, ask):
        """Whatever must be known before a request can be wrapped; `ask` is SnmpClient._ask."""

    def doubt(self):
        """Nothing that came was an answer."""

    def wrap(self, pdu):
        """The message around a PDU."""
        return ber.tlv(0x30, ber.integer(1), ber.tlv(4, self._community), pdu)

    def unwrap(self, data):
        """The PDU in an answer's bytes: (data, start, end). None: ask again. ValueError if it is
        not for us."""
        _, at, end = ber.read(data, 0, len(data), 0x30)
        version, at = ber.value(data, at, end)
        _, start, at = ber.read(data, at, end, 4)
        if version != 1 or data[start:at] != self._community:
            raise ValueError
        return data, at, end


class SnmpClient:
    """GET, GETNEXT and GETBULK on one router; objects are contents of encoded OIDs (ber.oid)."""

    def __init__(self, host, port, security):
        self._host = host
        self._port = port
        self.security = security

    async def get(self, oids):
        """[(tag, value), ...] for `oids`, whose tags tell noSuchObject (0x80) from noSuchInstance.

        value is an int, bytes, or None. If the router can't answer all at once (tooBig, or one
        object makes it fail) it is asked for fewer; an object that fails alone is (0, None)."""
        error, binds = await self._request(_GET, 0, 0, oids)
        if not error:
            if [bind[0] for bind in binds] != oids:
                raise NetError("answered something that it was not asked")
            return [bind[1:] for bind in binds]
        if len(oids) == 1:
            return [(0, None)]
        half = len(oids) // 2
        return await self.get(oids[:half]) + await self.get(oids[half:])

    async def walk(self, column, most=_MOST_ROWS):
        """[(index, tag, value), ...] of a column's rows, at most `most`; index is encoded, too."""
        rows = []
        last = column
        at_once = min(most, _ROWS_AT_ONCE)
        while len(rows) < most:
            if at_once > 1:
                error, binds = await self._request(_GETBULK, 0, at_once, [last])
                if error:
                    at_once = at_once // 2 if error == _TOO_BIG else 0
                    continue
            else:
                error, binds = await self._request(_GETNEXT, 0, 0, [last])
            if error or not binds:
                raise NetError("error-status %d" % error)
            for oid, tag, value in binds:
                if tag == _END_OF_VIEW or not oid.startswith(column):
                    return rows
                if ber.arcs(oid) <= ber.arcs(last):
                    raise NetError("its objects are not in order")
                last = oid
                rows.append((oid[len(column) :], tag, value))
        return rows[:most]

    async def _request(self, kind, first, second, oids):
        """(error-status, [(oid, tag, value), ...])"""
        await self.security.ready(self._ask)
        number = int.from_bytes(os.urandom(4), "big") >> 1
        pdu = _pdu(kind, number, first, second, oids)
        return await self._ask(
            lambda: self.security.wrap(pdu), lambda data: self._parse(data, number)
        )

    async def _ask(self, wrap, parse):
        """Send what `wrap()` gives until `parse(answer)` makes something of an answer."""
        address = (await dns.resolve(self._host, (), _TRY_MS))[0]
        found = []
        strange = []

        def accept(data):
            try:
                # One that was cut is asked for again in smaller parts.
                found.append((_TOO_BIG, ()) if len(data) > _MOST_BYTES else parse(data))
                return True
            except (ValueError, IndexError):
                strange.append(1)
                return False

        failures = []
        for _ in range(_SENDS):
            try:
                await exchange(address, self._port, wrap(), _TRY_MS, accept)
                if found[-1] is not None:
                    return found[-1]
            except OSError as error:
                failures.append(error)
                if len(failures) == _TRIES:
                    break
        if strange or not failures:
            self.security.doubt()
            raise NetError("sends answers that can't be read")
        raise failures[-1]

    def _parse(self, data, number):
        inner = self.security.unwrap(data)
        if not inner:
            return None
        data, at, end = inner
        _, at, end = ber.read(data, at, end, _RESPONSE)
        answered, at = ber.value(data, at, end)
        if answered != number:
            raise ValueError
        error, at = ber.value(data, at, end)
        _, at = ber.value(data, at, end)
        _, at, end = ber.read(data, at, end, 0x30)
        binds = []
        while at < end:
            _, at, stop = ber.read(data, at, end, 0x30)
            _, start, at = ber.read(data, at, stop, 6)
            oid = bytes(data[start:at])
            tag, start, _ = ber.read(data, at, stop)
            if tag == 2 or 0x41 <= tag <= 0x43 or tag == 0x46:
                value, _ = ber.value(data, at, stop, tag, tag == 2)
            else:
                value = bytes(data[start:stop]) if tag in (4, 6, 0x40) else None
            binds.append((oid, tag, value))
            at = stop
        return error, binds


def _pdu(kind, number, first, second, oids):
    """A request. Apart, so that its parts are gone when the answer comes."""
    binds = [ber.tlv(0x30, ber.tlv(6, oid), b"\5\0") for oid in oids]
    return ber.tlv(
        kind, ber.integer(number), ber.integer(first), ber.integer(second), ber.tlv(0x30, *binds)
    )


class SnmpRouter(source.Source):
    """Source of what a router tells by SNMP; `on_reset(metric)` is told of counters begun anew."""

    def __init__(self, client, interface, rows, addresses, on_reset, unique):
        """rows: of a profile; addresses: the object whose column holds those of clients, or
        None."""
        super().__init__("usage.snmp", on_reset, unique)
        self._client = client
        self._interface = interface
        self._row = None  # where the interface was found: (column of its name, index)
        self._counted = None  # where the last readings are from
        self._host_uptime = Uptime()
        self._agent_uptime = Uptime()
        self._discontinuity = None
        rows = [(row, ber.oid(row[2])) for row in rows]
        self._scalars = [row for row in rows if row[0][1] <= _SOME]
        self._tables = [row for row in rows if row[0][1] > _SOME]
        self._addresses = addresses
        self._oids = []

    def lasts(self):
        names = "_row", "_counted", "_discontinuity", "_host_uptime", "_agent_uptime"
        security = self._client.security
        return (self, names), (security, security.lasts)

    async def poll(self, levels):
        parts = [self._basics(levels)]
        for row, column in self._tables:
            parts.append(self._table(levels, row, column))
        if self.unique and self._addresses:
            parts.append(self._clients())
        await self.each(*parts)

    async def _basics(self, levels):
        """One request for the uptimes, the interface and the scalar objects."""
        row = self._row
        if self._interface and not row:
            row = self._row = await self._find()
            self._oids = []
        if not self._oids:
            self._oids = _UPTIMES[:]
            if row:
                self._oids.append(row[0] + row[1])
                self._oids += [column + row[1] for column in _COLUMNS]
            self._oids += [oid for _, oid in self._scalars]
        first = len(self._oids) - len(self._scalars)
        answers = await self._client.get(self._oids)
        for (entry, _), (_, value) in zip(self._scalars, answers[first:]):
            self._level(levels, entry, value)
        agent, host = [a[1] if a[0] == 0x43 else None for a in answers[:2]]
        uptime = agent if host is None else host
        if uptime is not None:
            source.put(levels, ids.ROUTER_UPTIME, uptime // 100)
        renewed = NO
        if agent is not None and self._agent_uptime.restarted(agent):
            renewed = MAYBE  # the router has, or only its SNMP agent
        if host is not None:
            renewed = YES if self._host_uptime.restarted(host) else NO
        self.renewed(renewed)
        if self._interface:
            if not row:
                raise NetError("has no interface " + self._interface)
            self._port(levels, answers[2:first])

    async def _find(self):
        """(column that holds the configured name, index) of the interface, or None."""
        if self._interface.isdigit():
            return _NAMES[0], ber.oid("1.3." + self._interface)[1:]
        name = self._interface.encode()
        for column in _NAMES:
            for index, _, value in await self._client.walk(column):
                if value == name:
                    return column, index
        return None

    def _port(self, levels, answers):
        """Bytes and state of the interface, from a name and _COLUMNS."""
        if answers[0][1] != self._interface.encode() and not self._interface.isdigit():
            self._row = None  # its number is another's now: look for it at the next turn
            raise NetError("has moved interface " + self._interface)
        if self._counted not in (None, self._row):
            self.renewed(YES)  # it was made anew, under another number
        self._counted = self._row
        discontinuity, state = [a[1] for a in answers[5:]]
        if discontinuity and self._discontinuity not in (None, discontinuity):
            self.renewed(YES)
        self._discontinuity = discontinuity
        if state in range(1, 8):
            source.put(levels, ids.UPLINK_PORT, state)
        for i, metric in ((0, ids.BYTES_DOWN), (1, ids.BYTES_UP)):
            tag, value = answers[i + 1]
            wide = tag == 0x46
            if not wide:
                tag, value = answers[i + 3]
            if wide or tag == 0x41:
                self.octets(metric, value, wide)

    def _level(self, levels, row, value):
        metric, kind, _, multiplier, divisor = row
        if isinstance(value, int) and (value or kind != _SOME):
            source.put(levels, metric, value * multiplier // divisor)

    async def _table(self, levels, row, column):
        rows = await self._client.walk(column, 1 if row[1] == _FIRST else _MOST_ROWS)
        values = [value for _, _, value in rows if isinstance(value, int)]
        if row[1] == _ROWS:
            self._level(levels, row, len(rows))
        elif values:
            self._level(levels, row, sum(values))

    async def _clients(self):
        for _, _, address in await self._client.walk(ber.oid(self._addresses)):
            self.seen(address)


def make(config, clock, on_reset):
    """The source that the configuration asks for, or raises ValueError with a sentence."""
    host, port, community, interface, profile, user, auth, password, privacy = [
        config[row.split()[0]] for row in KEYS.split("\n")
    ]
    from agent.sources import profiles

    if profile not in profiles.PROFILES:
        names = ", ".join(sorted(profiles.PROFILES))
        raise ValueError("usage.snmp.profile: expected one of %s, got %s" % (names, profile))
    if user:
        from agent.sources.snmpv3 import User

        security = User(user, auth, password, privacy)
        # Made again with this configuration, the source finds what takes long to make.
        config["usage.snmp.auth_password"] = security.auth_key
        config["usage.snmp.priv_password"] = security.priv_key
    else:
        security = Community(community)
    client = SnmpClient(host, port, security)
    rows = profiles.PROFILES[profile]
    addresses = profiles.ADDRESSES.get(profile)
    heap.unload("agent.sources.profiles")
    return SnmpRouter(client, interface, rows, addresses, on_reset, source.day_of(config, clock))
