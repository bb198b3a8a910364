"""Names to addresses without blocking: an A query (RFC 1035) to each resolver under a deadline.

The interpreters' own look-up blocks the whole agent (MicroPython) or leaves a thread behind that
delays the exit by half a minute (CPython), and neither tells a dead resolver from a name that
does not exist."""

import errno
import os

from agent import compat
from agent.bounded import NetError, cause, exchange, is_address

_A = compat.const(1)
_CNAME = compat.const(5)
_NXDOMAIN = compat.const(3)
_MAX_RECORDS = compat.const(32)
_MAX_CHAIN = compat.const(8)
_MAX_REMEMBERED = compat.const(4)

_good = {}  # name -> the address that last worked: the fall-back while no resolver answers


def _question(name, qtype):
    question = b""
    for label in name.rstrip(".").encode().split(b"."):
        if not 0 < len(label) < 64 or len(question) + len(label) > 253:
            raise NetError("%s is not a host name" % name, "name", errno.EINVAL)
        question += bytes((len(label),)) + label
    return question + bytes((0, 0, qtype, 0, 1))


def _u16(data, pos):
    return data[pos] << 8 | data[pos + 1]


def _name(data, pos):
    """Read a name that may be compressed: (labels in lower case, position behind it).

    Bounded by 255 bytes and 16 jumps; raises ValueError or IndexError on hostile bytes."""
    labels = b""
    end = jumps = 0
    while True:
        n = data[pos]
        if n >= 0xC0:
            end = end or pos + 2
            pos = _u16(data, pos) & 0x3FFF
            jumps += 1
        elif n == 0:
            return labels, end or pos + 1
        else:
            labels += data[pos : pos + n + 1].lower()
            pos += n + 1
        if n >> 6 in (1, 2) or jumps > 16 or len(labels) > 254:
            raise ValueError


def _addresses(data, question):
    """The IPv4 addresses in an answer for the question's name, CNAMEs in the answer followed."""
    pos = 12 + len(question)
    records = []
    for _ in range(min(_u16(data, 6), _MAX_RECORDS)):
        owner, pos = _name(data, pos)
        rtype = _u16(data, pos)
        start = pos + 10
        pos = start + _u16(data, pos + 8)
        if pos > len(data):
            if data[2] & 2:  # cut by the server, which says so: what came whole counts
                break
            raise ValueError
        records.append((owner, rtype, start, pos))
    target = question[:-5].lower()
    for _ in range(_MAX_CHAIN):  # a resolver need not list a chain in order
        found = []
        alias = 0
        for owner, rtype, start, end in records:
            if owner == target:
                if rtype == _CNAME:
                    alias = start
                elif rtype == _A and end - start == 4:
                    found.append("%d.%d.%d.%d" % tuple(data[start:end]))
        if found or not alias:
            return found
        target = _name(data, alias)[0]
    return []


async def query(server, name, timeout_ms, qtype=_A):
    """Ask one DNS server: (rcode, [IPv4 address, ...]); other types than A (1) give only rcode.

    `server` is an address in digits, "address:port" for another port than 53 (IPv4 only).
    rcode 0 without addresses: the name has none; 3: no such name; 2: the server failed; 5: it
    refuses. Raises OSError: ETIMEDOUT when no answer came, ECONNREFUSED when
    nothing listens, EINVAL for an answer that can't be read or a name that can't be asked."""
    host, _, port = server.partition(":")
    if ":" in port:
        host, port = server, ""
    question = _question(name, qtype)
    ident = os.urandom(2)

    def accept(data):
        # Anything else is a late answer or somebody guessing; the right one may yet come.
        if len(data) < 12 or data[:2] != ident or data[2] & 0xF8 != 0x80:
            return False
        if _u16(data, 4) == 0:  # some servers send their refusal without the question
            return data[3] & 15 != 0
        return data[12 : 12 + len(question)].lower() == question.lower()

    request = ident + b"\1\0\0\1\0\0\0\0\0\0" + question  # recursion desired, one question
    data = await exchange(host, int(port or 53), request, timeout_ms, accept)
    rcode = data[3] & 15
    if rcode:
        return rcode, []
    try:
        return 0, _addresses(data, question)
    except (ValueError, IndexError):
        raise OSError(errno.EINVAL, "malformed answer") from None


def _lines(path):
    try:
        with open(path) as file:
            return [line.split("#")[0].split() for line in file]
    except (OSError, ValueError):
        return []


def _from_hosts(name):
    found = [line[0] for line in _lines("/etc/hosts") if name in line[1:]]
    if name == "localhost":
        found.append("127.0.0.1")
    return [address for address in found if ":" not in address] or found


def remember(name, address):
    """Note that a connection to this address of this name worked."""
    if len(_good) >= _MAX_REMEMBERED:
        _good.clear()
    _good[name] = address


async def _ask(name, servers, timeout_ms):
    deadline = compat.ticks_add(compat.ticks_ms(), timeout_ms)
    reason = "no DNS server is known"
    code = 0
    tries = 2 * len(servers)
    for i in range(tries):
        server = servers[i % len(servers)]
        left = compat.ticks_diff(deadline, compat.ticks_ms())
        try:
            code, addresses = await query(server, name, max(0, left) // (tries - i))
        except NetError:
            raise
        except OSError as error:
            code = error.errno
            reason = "%s: %s" % (server, cause(error))
            continue
        if addresses:
            return addresses
        text = {0: "no IPv4 address", _NXDOMAIN: "no such name"}.get(code)
        reason = "%s: %s" % (server, text or "failed with rcode %d" % code)
        if text:
            break
    raise NetError("DNS look-up of %s: %s" % (name, reason), "name", code)


async def resolve(name, resolvers=(), timeout_ms=15000):
    """The addresses of `name`, at least one; asked anew each time, nothing is pinned.

    `resolvers` is a sequence as for `query`, or a function that returns one (what DHCP gave last);
    when empty, /etc/resolv.conf. Every server is tried twice inside `timeout_ms`. If all that
    fails, the address that worked last. Raises NetError of stage "name"."""
    if is_address(name):
        return [name]
    found = _from_hosts(name)
    if found:
        return found
    servers = resolvers() if callable(resolvers) else resolvers
    if not servers:
        servers = [w[1] for w in _lines("/etc/resolv.conf") if w[:1] == ["nameserver"]][:3]
    try:
        return await _ask(name, servers, timeout_ms)
    except NetError:
        if name in _good:
            return [_good[name]]
        raise
