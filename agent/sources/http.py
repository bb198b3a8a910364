"""A small HTTP/1.1 client (RFC 9112) for asking a router: bounded, and never more than one stream.

The body is handed on as it comes. The caller sets the deadline around the whole of it.
"""

from agent.device.interpreter import const
from agent.net.connection import close, open_connection
from agent.net.errors import NetError

_LONGEST_LINE = const(1024)
_MOST_LINES = const(64)
_MOST_BODY = const(131072)
_CHUNK = const(512)


def _bad(text):
    return NetError("HTTP: " + text)


def base_path(key, text, schemes=("http", "https")):
    """(host, port, TLS?) of "http://host[:port]" or "https://..."; ValueError that names `key` and
    quotes nothing of the text, in which a password may stand."""
    scheme, _, rest = text.partition("://")
    host, _, port = rest.rstrip("/").partition(":")
    if scheme in schemes and host and (port or "0").isdigit() and not set(host) & set("/@?#"):
        return host, int(port or (443 if scheme == "https" else 80)), scheme == "https"
    forms = " or ".join([name + "://host[:port]" for name in schemes])
    raise ValueError("%s: expected %s and nothing else" % (key, forms))


def _drop(piece):
    pass


class Http:
    """Requests to one server over a stream that is kept between them. Raises NetError."""

    def __init__(self, host, port, tls=None, server_name=None):
        self._at = host, port, tls, server_name
        self._streams = None
        self._buffer = b""
        host = host if port in (80, 443) else "%s:%d" % (host, port)
        self._head = "HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n" % host

    def close(self):
        if self._streams:
            close(self._streams[1])
            self._streams = None
        self._buffer = b""

    async def request(self, method, path, sink, headers="", body=b""):
        """Send a request; give the body of an answer with status 200 to sink(bytes), piece by
        piece. Returns the status. `headers` are lines that end with CR LF."""
        request = "%s %s %s%sContent-Length: %d\r\n\r\n" % (
            method,
            path,
            self._head,
            headers,
            len(body),
        )
        request = request.encode() + body
        kept = self._streams is not None
        try:
            status = await self._send(request)
        except (OSError, EOFError):
            self.close()
            if not kept:
                raise
            status = await self._send(request)  # the server had closed the stream meanwhile
        try:
            keep, size, chunked = await self._headers()
            if status != 200:
                sink = _drop
            if status in (204, 304):
                pass
            elif chunked:
                await self._chunks(sink)
            elif size is not None:
                await self._some(size, sink)
            else:
                keep = False
                await self._rest(sink)
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return status

    async def _send(self, request):
        host, port, tls, name = self._at
        if self._streams:
            self._streams[1].write(request)
        else:
            self._streams = await open_connection(host, port, tls, name, hello=request)
        for _ in range(4):
            words = (await self._line()).split(None, 2)
            if len(words) < 2 or words[0][:7] != b"HTTP/1." or not words[1].isdigit():
                raise _bad("the answer is no HTTP")
            status = int(words[1])
            if status >= 200:
                return status
            await self._headers()
        raise _bad("no answer behind interim answers")

    async def _headers(self):
        """(may the stream be kept, length or None, chunked?)"""
        keep = True
        size = None
        chunked = False
        for _ in range(_MOST_LINES):
            line = await self._line()
            if not line:
                return keep, size, chunked
            name, _, value = line.partition(b":")
            name = name.lower()
            value = value.strip().lower()
            if name == b"content-length":
                if not value.isdigit() or len(value) > 9:
                    raise _bad("the length is no number")
                size = int(value)
            elif name == b"transfer-encoding":
                chunked = value.endswith(b"chunked")
            elif name == b"connection":
                keep = value != b"close"
        raise _bad("too many headers")

    async def _fill(self):
        piece = await self._streams[0].read(_CHUNK)
        if not piece:
            raise _bad("the answer was cut off")
        self._buffer += piece

    async def _line(self):
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LONGEST_LINE:
                raise _bad("a line is too long")
            await self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    async def _some(self, size, sink):
        if size > _MOST_BODY:
            raise _bad("the answer is too large")
        while size:
            if not self._buffer:
                await self._fill()
            piece = self._buffer[:size]
            self._buffer = self._buffer[size:]
            size -= len(piece)
            sink(piece)

    async def _chunks(self, sink):
        total = 0
        while True:
            try:
                size = int((await self._line()).partition(b";")[0], 16)
            except ValueError:
                raise _bad("a chunk has no length")
            total += size
            if size < 0 or total > _MOST_BODY:
                raise _bad("the answer is too large")
            await self._some(size, sink)
            if not size:
                await self._headers()  # trailers, up to the empty line
                return
            if await self._line():
                raise _bad("a chunk is longer than it says")

    async def _rest(self, sink):
        total = 0
        while True:
            piece = self._buffer or await self._streams[0].read(_CHUNK)
            self._buffer = b""
            total += len(piece)
            if total > _MOST_BODY:
                raise _bad("the answer is too large")
            if not piece:
                return
            sink(piece)
