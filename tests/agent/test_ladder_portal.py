"""The captive-portal check against pages, portals and servers that mean no good."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.link import portal
from agent.wire import ids

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _check(serve: Serve, timeout_ms: int = 2000) -> tuple[int | None, bytes]:
    """What the check says of a server, and what it had sent to it."""
    asked = b""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        try:
            asked = await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def run() -> int | None:
        server = await asyncio.start_server(client, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await portal.check(f"127.0.0.1:{port}/generate_204", timeout_ms)
        finally:
            server.close()

    return asyncio.run(run()), asked


def _saying(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return serve


def test_the_page_itself_is_no_portal():
    result, asked = _check(_saying(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert result == ids.PROBE_OK
    assert asked.startswith(b"GET /generate_204 HTTP/1.1\r\nHost: 127.0.0.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://log.in/\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 511 Network Authentication Required\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"204",
        b"\xff" * 100_000,
    ],
)
def test_whatever_else_answers_is_a_portal(answer):
    assert _check(_saying(answer))[0] == ids.PROBE_BAD_ANSWER


def test_a_server_that_says_nothing_proves_nothing():
    assert _check(_saying(b""))[0] is None


def test_a_server_that_never_answers_costs_the_deadline_only():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other side gives up

    assert _check(serve, timeout_ms=100)[0] is None


def test_a_server_that_trickles_without_end_is_given_up():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.transport.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    assert _check(serve, timeout_ms=300)[0] in (None, ids.PROBE_BAD_ANSWER)


def test_nobody_there_proves_nothing():
    assert asyncio.run(portal.check("127.0.0.1:1/", 500)) is None
