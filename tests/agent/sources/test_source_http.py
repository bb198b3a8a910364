"""The sources' HTTP client and JSON scanner: whole answers are read, all else ends bounded."""

import asyncio
import json
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.net.errors import NetError
from agent.net.tasks import within
from agent.sources.http import Http, base_path
from agent.sources.jsonscan import Scanner
from tests.agent.sources.source_lab import LONG_MS, Request, http, requests, response, tcp


def fetch(port: int, count: int = 1) -> list[tuple[int, bytes]]:
    """The status and body of so many requests one after the other."""

    async def run() -> list[tuple[int, bytes]]:
        client = Http("127.0.0.1", port)
        got = []
        try:
            for _ in range(count):
                body = bytearray()
                status = await within(LONG_MS, client.request("GET", "/x", body.extend))
                got.append((status, bytes(body)))
        finally:
            client.close()
        return got

    return asyncio.run(run())


def says(*pieces: bytes) -> Callable[[socket.socket], None]:
    """A server that answers each connection's first request with these bytes and hangs up."""

    def talk(sock: socket.socket) -> None:
        next(requests(sock))
        for piece in pieces:
            sock.sendall(piece)

    return talk


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 5\r\n\r\nhello",
        HEAD + b"content-length:5\n\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: 1\r\n\r\n",
        HEAD + b"\r\nhello",
        b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello",
    ],
)
def test_a_body_is_read_however_it_is_framed(answer: bytes):
    with tcp(says(answer)) as port:
        assert fetch(port) == [(200, b"hello")]
    with tcp(says(*(answer[i : i + 1] for i in range(len(answer))))) as port:
        assert fetch(port) == [(200, b"hello")]


def test_the_body_of_an_error_is_not_handed_on():
    with http(lambda request: response(b"<html>", 503)) as port:
        assert fetch(port) == [(503, b"")]


def test_requests_share_a_connection_and_survive_its_end():
    connections = []

    def talk(sock: socket.socket) -> None:
        connections.append(0)
        for _ in requests(sock):
            connections[-1] += 1
            sock.sendall(response(b"ok"))
            if connections[-1] == 2:
                return

    with tcp(talk) as port:
        assert fetch(port, 3) == [(200, b"ok")] * 3
    assert connections[:2] == [2, 1]


@pytest.mark.parametrize(
    "answer,reason",
    [
        (b"", "cut off"),
        (b"SSH-2.0-x\r\n", "no HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", "cut off"),
        (HEAD + b"Content-Length: 9\r\n\r\nhello", "cut off"),
        (HEAD + b"Content-Length: -1\r\n\r\n", "no number"),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", "too large"),
        (HEAD + b"X: " + b"a" * 5000, "too long"),
        (HEAD + b"X: a\r\n" * 100, "too many headers"),
        (b"HTTP/1.1 100 C\r\n\r\n" * 9, "interim"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "no length"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", "too large"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffff\r\n", "too large"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", "longer"),
    ],
)
def test_an_answer_that_is_none_ends_with_a_reason(answer: bytes, reason: str):
    with tcp(says(answer)) as port, pytest.raises(NetError, match=reason):
        fetch(port)


def test_an_endless_body_is_cut():
    def talk(sock: socket.socket) -> None:
        next(requests(sock))
        sock.sendall(HEAD + b"\r\n")
        while True:
            sock.sendall(bytes(65536))

    with tcp(talk) as port, pytest.raises(NetError, match="too large"):
        fetch(port)


def test_the_request_is_what_servers_expect():
    seen: list[Request] = []

    def answer(request: Request) -> bytes:
        seen.append(request)
        return response(b"ok")

    with http(answer) as port:
        fetch(port)
    assert (seen[0].method, seen[0].path) == ("GET", "/x")
    assert seen[0].headers["host"] == f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    "url",
    ["router", "ftp://router", "http://", "http://a:b", "http://a/b", "http://me:secret@router"],
)
def test_an_address_that_is_none_is_refused_by_its_key(url: str):
    with pytest.raises(ValueError) as error:
        base_path("usage.x.url", url)
    assert str(error.value).startswith("usage.x.url: ") and "secret" not in str(error.value)


def test_addresses_are_taken_apart():
    assert base_path("k", "http://192.168.1.1/") == ("192.168.1.1", 80, False)
    assert base_path("k", "https://router") == ("router", 443, True)
    assert base_path("k", "http://router:8080") == ("router", 8080, False)


# --- JSON


def scan(text: bytes, step: int = 1 << 20) -> list[tuple[list, object]]:
    found: list[tuple[list, object]] = []
    scanner = Scanner(lambda path, value: found.append((list(path), value)))
    for i in range(0, len(text), step):
        scanner.feed(text[i : i + step])
    scanner.finish()
    return found


def leaves(value: object, path: tuple = ()) -> list[tuple[list, object]]:
    if isinstance(value, dict):
        return [x for k, v in value.items() for x in leaves(v, (*path, k.encode()))]
    if isinstance(value, list):
        return [x for i, v in enumerate(value) for x in leaves(v, (*path, i))]
    return [(list(path), value.encode() if isinstance(value, str) else value)]


plain = st.text(
    st.characters(codec="utf-8", exclude_characters='"\\', min_codepoint=32), max_size=15
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain, inner, max_size=4),
    max_leaves=12,
)


@given(documents, st.integers(1, 9), st.sampled_from([None, 1]))
def test_every_value_is_found_where_it_is(document: object, step: int, indent: int | None):
    text = json.dumps(document, ensure_ascii=False, indent=indent).encode()
    if isinstance(document, int | float | str) or document is None or document is True:
        text = b" " + text + b" "
    depth = max((len(path) for path, _ in leaves(document)), default=0)
    if depth < 9:
        assert scan(text, step) == leaves(document)


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]",:\\ 01tru-'), max_size=40))
def test_whatever_comes_is_json_or_a_value_error(text: bytes | str):
    data = text if isinstance(text, bytes) else text.encode()
    try:
        scan(data)
    except ValueError:
        return


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[1", b'{"a"', b'{"a":1]', b"[}", b"nonsense", b"<html>", b'"', b"{1:2}", b"1 2"]
    + [b"[" * 11 + b"]" * 11, b"1,", b":", b"]"],
)
def test_what_is_no_json_is_refused(text: bytes):
    with pytest.raises(ValueError):
        scan(text)


def test_what_equipment_gets_wrong_is_passed_over():
    assert scan(b'{"a":"x",\n},\n'[:-2]) == [([b"a"], b"x")]
    assert scan(b"[1.5, 2e3]") == [([0], b"1.5"), ([1], b"2e3")]
    assert scan(rb'{"a\"b":"c\/d"}') == [([b'a"b'], b"c/d")]


def test_a_long_token_takes_no_memory():
    [(path, value)] = scan(b'{"' + b"k" * 10000 + b'":"' + b"v" * 10000 + b'"}')
    assert (path, value) == ([b"k" * 64], b"v" * 64)
