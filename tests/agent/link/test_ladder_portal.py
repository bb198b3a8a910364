"""The captive-portal check against pages, portals and servers that mean no good."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from unittest import mock

import pytest

from agent.link import portal
from agent.net import dns
from agent.net.traffic import own
from agent.wire import ids
from tests import support
from tests.agent.link.portal_packets import SIX
from tests.agent.sources.source_lab import INTERPRETERS

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _check(serve: Serve, timeout_ms: int = 60_000) -> tuple[int | None, bytes]:
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
    assert asked.startswith(b"GET /generate_204 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://log.in/\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 511 Network Authentication Required\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"204",
        b"HTTP/1.1  204\r\n\r\n",
        b"\xff" * 100_000,
    ],
)
def test_whatever_else_answers_is_a_portal(answer):
    assert _check(_saying(answer))[0] == ids.PROBE_BAD_ANSWER


async def _never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the other side gives up


async def _trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not writer.transport.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("serve", [_saying(b""), _never])
def test_a_server_that_says_nothing_proves_nothing(serve):
    assert _check(serve, timeout_ms=300)[0] is None


def test_a_server_that_trickles_without_end_is_given_up():
    assert _check(_trickle, timeout_ms=300)[0] in (None, ids.PROBE_BAD_ANSWER)


def test_nobody_there_proves_nothing():
    assert asyncio.run(portal.check("127.0.0.1:1/", 60_000)) is None


def test_a_name_is_looked_up_until_it_brought_the_page_and_again_when_that_stops():
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    asked = []

    async def query(server: str, name: str, timeout_ms: int) -> tuple[int, list[str]]:
        asked.append(name)
        return 0, ["127.0.0.1"]

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def run() -> None:
        nonlocal answer
        server = await asyncio.start_server(client, "127.0.0.1", 0)
        page = f"page.example:{server.sockets[0].getsockname()[1]}/"
        settings = {
            "link.portal": page,
            "link.portal_s": 10,
            "link.timeout_ms": 60_000,
            "cadence.round_s": 10,
        }
        rung = portal.Portal(settings)
        for _ in range(5):
            assert await rung.probe(True, False) == ids.PROBE_OK
        assert len(asked) == 1
        # Where something nearer is wrong, the name server may be part of it.
        assert await rung.probe(False, False) == ids.PROBE_OK
        assert len(asked) == 2
        answer = b"HTTP/1.1 302 Found\r\n\r\n"
        for number in range(3):
            assert await rung.probe(True, False) == ids.PROBE_BAD_ANSWER
            assert len(asked) == 2 + number
        server.close()

    servers = mock.patch.object(dns, "system_servers", lambda: ["127.0.0.1"])
    with servers, mock.patch.object(dns, "query", query), mock.patch.dict(dns.good, clear=True):
        asyncio.run(run())


def test_beyond_the_month_s_budget_nothing_is_asked_and_nothing_is_proved():
    def beyond(_: int) -> None:
        raise OSError(28, "the month's budget is used up")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("asked")

    with mock.patch.object(own, "beyond", beyond), mock.patch.object(own, "most", 0):
        assert _check(serve) == (None, b"")


def _namespace() -> list[str]:
    enter = ["unshare", "--net"]
    if os.geteuid():
        enter.append("--map-root-user")
    try:
        if subprocess.run([*enter, "true"], capture_output=True).returncode == 0:
            return enter
    except OSError:
        pass
    pytest.skip("needs a network namespace of its own, which this machine refuses (unshare --net)")


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_look_is_six_packets_and_never_more_than_is_counted(interpreter: str):
    program = support.micropython() if interpreter == "micropython" else sys.executable
    said = subprocess.run(
        [*_namespace(), sys.executable, "-m", "tests.agent.link.portal_packets", program, "-c"],
        cwd=support.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=4 * support.PATIENCE_S,
        check=True,
    ).stdout
    page, redirect, log_in = json.loads(said)
    assert page["result"] == ids.PROBE_OK
    assert redirect["result"] == log_in["result"] == ids.PROBE_BAD_ANSWER
    assert page["flags"] == redirect["flags"] == SIX
    for look in (page, redirect, log_in):
        assert look["bytes"] <= look["counted"]
    # The months of docs/measuring.md rest upon it.
    assert page["counted"] <= 1.5 * page["bytes"]
