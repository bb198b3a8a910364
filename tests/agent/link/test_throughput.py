"""Throughput: a download that is bounded whatever the server does, and what it tells."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.link.throughput import parse
from tests import support
from tests.agent.sources.source_lab import INTERPRETERS, Request, requests, tcp

KB = 300
SIZE = KB * 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

both = pytest.mark.parametrize("interpreter", INTERPRETERS)


class Measured:
    """What a device measured at a server that speaks as `talk` does."""

    def __init__(
        self,
        interpreter: str,
        talk: Callable[[socket.socket], None],
        kb: int = KB,
        deadline_ms: int = 60_000,
        times: int = 1,
    ) -> None:
        script = Path(__file__).with_name("throughput_device.py")
        with tcp(talk) as port:
            arguments = [f"http://127.0.0.1:{port}/file", str(kb), str(deadline_ms), str(times)]
            said = support.run_on(interpreter, script, *arguments, heapsize="160k", check=True)
        found = json.loads(said.stdout)
        self.values: list[int | None] = found["values"]
        self.own: int = found["own"]
        self.refused: bool = found["refused"]
        self.log = said.stderr

    def nothing(self, words: str) -> None:
        """Nothing was measured, for this reason, and less was spent than was allowed."""
        assert self.values == [None]
        assert words in self.log
        assert "Traceback" not in self.log
        assert self.refused or self.own < 250_000


def says(*pieces: bytes) -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        next(requests(sock))
        for piece in pieces:
            sock.sendall(piece)

    return talk


@both
def test_a_download_gives_a_rate_and_costs_what_was_asked_for(interpreter: str):
    asked: list[Request] = []

    def talk(sock: socket.socket) -> None:
        asked.append(next(requests(sock)))
        sock.sendall(OK.replace(b"200 OK", b"206 Partial Content") % SIZE + bytes(SIZE))

    measured = Measured(interpreter, talk, times=2)
    assert all(measured.values)
    assert 2 * SIZE * 1.05 < measured.own < 2 * SIZE * 1.1
    assert [request.path for request in asked] == ["/file", "/file"]
    assert asked[0].headers["range"] == f"bytes=0-{SIZE - 1}"
    assert asked[0].headers["host"].startswith("127.0.0.1:")


@both
def test_a_slow_start_does_not_count(interpreter: str):
    def talk(sock: socket.socket) -> None:
        next(requests(sock))
        sock.sendall(OK % SIZE)
        for _ in range(10):
            sock.sendall(bytes(SIZE // 200))
            time.sleep(0.4)
        sock.sendall(bytes(SIZE - 10 * (SIZE // 200)))

    # All of it takes four seconds at least, nearly all of it no time. On a busy machine that may
    # become three seconds.
    value = Measured(interpreter, talk).values[0]
    assert value and value > SIZE * 8 // 4000


@both
def test_a_steady_link_shows_its_rate(interpreter: str):
    def talk(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        next(requests(sock))
        sock.sendall(OK % SIZE)
        for _ in range(100):
            sock.sendall(bytes(SIZE // 100))
            time.sleep(0.04)

    # At most 3,000 bytes in 40 ms. A busy machine may make it less, and more where it stands still
    # for seconds before the reader begins to count.
    value = Measured(interpreter, talk).values[0]
    assert value and 0 < value < 600 * 3


@both
def test_what_came_until_the_deadline_will_do(interpreter: str):
    def talk(sock: socket.socket) -> None:
        next(requests(sock))
        sock.sendall(OK % SIZE)
        while True:
            sock.sendall(bytes(4096))
            time.sleep(0.05)

    measured = Measured(
        interpreter,
        lambda sock: talk(Claiming(sock, 30_000_000)),  # type: ignore[arg-type]
        kb=30000,
        deadline_ms=4000,
    )
    value = measured.values[0]
    assert value and value < 4096 * 8 // 50 * 3
    assert measured.own < 1_000_000


class Claiming:
    """A socket whose answers claim another length."""

    def __init__(self, sock: socket.socket, length: int) -> None:
        self._sock = sock
        self._length = length
        self.recv = sock.recv

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data.replace(b": %d" % SIZE, b": %d" % self._length))


@both
@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"], "status"),
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!"], "status"),
        ([b"HTTP/1.1\r\n\r\n"], "status"),
        ([bytes(100_000)], "too long"),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000], "too long"),
        ([OK % 100, bytes(100)], "too short"),
        ([OK % SIZE, bytes(SIZE // 2)], "cut off"),
        ([OK % SIZE], "cut off"),
        ([b""], "cut off"),
        ([OK % (SIZE + 1), bytes(SIZE + 1)], "not asked again"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", bytes(SIZE)], "not asked again"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"], "not asked again"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], "not asked again"),
        ([OK % SIZE, bytes(2 * SIZE)], "not asked again"),
    ],
)
def test_a_bad_answer_is_no_measurement(interpreter: str, pieces: list[bytes], words: str):
    Measured(interpreter, says(*pieces)).nothing(words)


@both
def test_a_server_that_sends_without_end_is_left_and_counted(interpreter: str):
    def talk(sock: socket.socket) -> None:
        next(requests(sock))
        sock.sendall(OK % SIZE)
        while True:
            sock.sendall(bytes(65536))

    measured = Measured(interpreter, talk)
    assert measured.values == [None]
    assert measured.refused
    assert measured.own >= 3 * SIZE


@both
def test_a_server_that_says_nothing_costs_the_deadline_only(interpreter: str):
    def talk(sock: socket.socket) -> None:
        while sock.recv(4096):
            pass

    Measured(interpreter, talk, deadline_ms=1000).nothing("no answer in time")


def test_addresses():
    assert parse("http://a.example:8080/x/y?z=1") == (
        "a.example",
        8080,
        "x/y?z=1",
        "a.example:8080",
    )
    assert parse("10.0.0.1/") == ("10.0.0.1", 80, "", "10.0.0.1")
    for bad in ("a", "https://a/", "http:///x", "a:b/", "a:0/", "a:70000/", "a/ b", "a/\r\nX: y"):
        with pytest.raises(ValueError):
            parse(bad)
