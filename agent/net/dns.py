"""Names to addresses without blocking: an A query (RFC 1035) to each resolver under a deadline.

The interpreters' own look-up blocks the whole agent (MicroPython) or leaves a thread behind that
delays the exit by half a minute (CPython), and neither tells a dead resolver from a name that
does not exist."""

import errno
import os

from agent.device import interpreter
from agent.net.errors import NetError, cause
from agent.net.traffic import own
from agent.net.udp import exchange, is_address


good = {}  # name -> the address that last worked: the fall-back while no resolver answers


def _question(name):
    question = b""
    for label in name.rstrip(".").encode().split(b"."):
        if not 0 < len(label) < 64 or len(question) + len(label) > 253:
            raise NetError("%s is not a host name" % name, "name", errno.EINVAL)
        question += bytes((len(label),)) + label
    return question + b"\0\0\1\0\1"  # type A, class IN


def _u16(data, pos):
    return data[pos] << 8 | data[pos + 1]


def _name(data, pos):
    """Read a name that may be compressed: (labels in lower case, position behind it).

    Bounded by 255 bytes and 16 jumps; raises ValueError or IndexError on hostile bytes."""
    words = b""
    end = count = 0
    while True:
        n = data[pos]
        if n >= 0xC0:
            end = end or pos + 2
            pos = _u16(data, pos) & 0x3FFF
            count += 1
        elif n == 0:
            return words, end or pos + 1
        else:
            words += data[pos : pos + n + 1].lower()
            pos += n + 1
        if n >> 6 in (1, 2) or count > 16 or len(words) > 254:
            raise ValueError


def _addresses(data, question):
    """The IPv4 addresses in an answer for the question's name, CNAMEs in the answer followed."""
    pos = 12 + len(question)
    records = []
    for _ in range(min(_u16(data, 6), 32)):
        owner, pos = _name(data, pos)
        kind = _u16(data, pos)
        start = pos + 10
        pos = start + _u16(data, pos + 8)
        if pos > len(data):
            if data[2] & 2:  # cut by the server, which says so: what came whole counts
                break
            raise ValueError
        records.append((owner, kind, start, pos))
    target = question[:-5].lower()
    for _ in range(8):  # a resolver need not list a chain in order
        found = []
        alias = 0
        for owner, kind, start, end in records:
            if owner == target:
                if kind == 5:  # CNAME
                    alias = start
                elif kind == 1 and end - start == 4:  # A
                    found.append("%d.%d.%d.%d" % tuple(data[start:end]))
        if found or not alias:
            return found
        target = _name(data, alias)[0]
    return []


async def query(server, name, timeout_ms):
    """Ask one DNS server: (rcode, [IPv4 address, ...]).

    `server` is an address in digits, "address:port" for another port than 53 (IPv4 only).
    rcode 0 without addresses: the name has none; 3: no such name; 2: the server failed; 5: it
    refuses. Raises OSError: ETIMEDOUT when no answer came, ECONNREFUSED when
    nothing listens, EINVAL for an answer that can't be read or a name that can't be asked."""
    host, _, port = server.partition(":")
    if ":" in port:
        host, port = server, ""
    question = _question(name)
    token = os.urandom(2)

    def accept(data):
        # Anything else is a late answer or somebody guessing; the right one may yet come.
        if len(data) < 12 or data[:2] != token or data[2] & 0xF8 != 0x80:
            return False
        if _u16(data, 4) == 0:  # some servers send their refusal without the question
            return data[3] & 15 != 0
        return data[12 : 12 + len(question)].lower() == question.lower()

    request = token + b"\1\0\0\1\0\0\0\0\0\0" + question  # recursion desired, one question
    for most in (256, 512):  # a full heap has seldom a hole for the second
        own.add(2 * (28 + len(request)))  # IP and UDP; the answer repeats the question
        data = await exchange(host, int(port or 53), request, timeout_ms, accept, most)
        own.add(len(data) - len(request))
        if len(data) <= most:
            break
    try:
        return data[3] & 15, [] if data[3] & 15 else _addresses(data, question)
    except (ValueError, IndexError):
        raise OSError(errno.EINVAL, "malformed answer") from None


def _column(path, text, i):
    """Word number `i` of each line of a file in which `word` stands."""
    found = []
    try:
        with open(path) as file:
            for line in file:
                words = line.split("#")[0].split()
                if text in words:
                    found.append(words[i])
    except (OSError, ValueError, IndexError):
        pass
    return found


def system_servers():
    """The name servers that the operating system uses."""
    return _column("/etc/resolv.conf", "nameserver", 1)


async def resolve(name, resolvers=(), timeout_ms=15000):
    """The addresses of `name`, at least one; asked anew each time, nothing is pinned.

    `resolvers` is a sequence as for `query`, or a function that returns one (what DHCP gave last);
    when empty, the system's. Every server is tried twice inside `timeout_ms`. If all that
    fails, the address that worked last. Raises NetError of stage "name"."""
    if is_address(name):
        return [name]
    found = _column("/etc/hosts", name, 0)
    if name == "localhost":
        found.append("127.0.0.1")
    if found:
        return [address for address in found if ":" not in address] or found
    servers = resolvers() if callable(resolvers) else resolvers
    servers = servers or system_servers()[:3]
    began = interpreter.ticks_ms()
    reason = "no DNS server is known"
    code = 0
    tries = 2 * len(servers)
    for i in range(tries):
        server = servers[i % len(servers)]
        left = timeout_ms - interpreter.since(began)
        try:
            code, found = await query(server, name, max(0, left) // (tries - i))
        except NetError:
            raise
        except OSError as error:
            code = error.errno
            reason = "%s: %s" % (server, cause(error))
            continue
        if found:
            return found
        reason = server + ": no such name"
        if code == 0:
            reason = server + ": no IPv4 address"
        elif code != 3:  # NXDOMAIN
            reason = "%s: failed with rcode %d" % (server, code)
            continue
        break
    if name in good:
        return [good[name]]
    raise NetError("DNS look-up of %s: %s" % (name, reason), "name", code)
