"""Captive portal: does plain HTTP bring the page that was asked for, or somebody else's?

The page (RFC 9110: 204, no content) is one that nothing but the internet can give. Whatever else
answers in its place, with a redirect, a log-in or an error of its own, has taken the village's
traffic.
"""

from agent.bounded import own, within
from agent.net import close, open_stream
from agent.compat import const

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_PROBE_OK = const(0)
_PROBE_BAD_ANSWER = const(5)

_LONGEST = const(256)
_BYTES = const(800)  # a connection's, without the request; a 204 has 100 to 300


async def check(page, timeout_ms):
    """Ask for `page`, "host[:port]/path". PROBE_OK: it came; PROBE_BAD_ANSWER: something else did;
    None: nothing came, which is no proof of a portal."""
    where, _, path = page.partition("/")
    host, _, port = where.partition(":")
    request = "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (path, host)
    own.add(_BYTES + len(request))
    try:
        reader, writer = await open_stream(
            host, int(port or 80), timeout_ms=timeout_ms, hello=request.encode()
        )
    except OSError:
        return None
    try:
        status = await within(timeout_ms, _status(reader))
    except (OSError, EOFError):
        return None
    finally:
        close(writer)
    return _PROBE_OK if status == b"204" else _PROBE_BAD_ANSWER


async def _status(reader):
    """The three digits of a status line, b"" for bytes that are none. EOFError: nothing came."""
    got = b""
    while b"\n" not in got and len(got) < _LONGEST:
        piece = await reader.read(64)
        if not piece:
            break
        got += piece
    if not got:
        raise EOFError
    words = got.split(None, 2)
    return words[1] if len(words) > 1 and words[0][:7] == b"HTTP/1." else b""
