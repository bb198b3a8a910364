"""Bounded look-ups, connections and TLS of the agent, on both interpreters."""

import contextlib
import errno
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import support
from tests.agent.net.mqtt_lab import (
    ACCEPTED,
    INTERPRETERS,
    Authority,
    Device,
    broker_lines,
    read_packet,
    run,
    serve,
)

pytestmark = pytest.mark.parametrize("interpreter", INTERPRETERS)

A, CNAME = 1, 5
LONG_MS = 60_000  # for an answer that comes
Answer = Callable[[bytes], list[bytes]]


@contextlib.contextmanager
def dns_server(answer: Callable[[str, bytes], list[bytes]]) -> Iterator[str]:
    """A scripted DNS server: `answer` gets the name and the query. Yields "address:port"."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def loop() -> None:
            while True:
                data, address = sock.recvfrom(600)
                if not data:
                    return
                for reply in answer(name_of(data), data):
                    if reply.startswith(b"elsewhere"):
                        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                            other.sendto(reply[9:], address)
                    else:
                        sock.sendto(reply, address)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"", sock.getsockname())
            thread.join()


def name_of(query: bytes) -> str:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels)


def name(text: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def record(owner: bytes, kind: int, data: bytes) -> bytes:
    return owner + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


def reply(
    query: bytes, *records: bytes, rcode: int = 0, flags: int = 0x80, count: int = -1
) -> bytes:
    n = len(records) if count < 0 else count
    head = query[:2] + bytes([flags | 1, 0x80 | rcode]) + struct.pack(">HHHH", 1, n, 0, 0)
    return head + query[12:] + b"".join(records)


HERE = b"\xc0\x0c"  # a pointer to the question's name
LOCAL = bytes([127, 0, 0, 1])
ADDRESS = record(HERE, A, bytes([192, 0, 2, 1]))
LONG = name(".".join(["y" * 60] * 3))
WRONG = record(HERE, A, bytes([192, 0, 2, 66]))

# name: (what the server sends, what `query` must make of it)
QUERIES: dict[str, tuple[Answer, object]] = {
    "ok.test": (lambda q: [reply(q, ADDRESS)], [0, ["192.0.2.1"]]),
    "OK.Test.": (lambda q: [reply(q[:12] + q[12:].lower(), ADDRESS)], [0, ["192.0.2.1"]]),
    "two.test": (
        lambda q: [reply(q, ADDRESS, record(HERE, A, bytes([192, 0, 2, 2])))],
        [0, ["192.0.2.1", "192.0.2.2"]],
    ),
    "none.test": (lambda q: [reply(q)], [0, []]),
    "nx.test": (lambda q: [reply(q, rcode=3)], [3, []]),
    "fails.test": (lambda q: [reply(q, rcode=2)], [2, []]),
    "bare.test": (lambda q: [q[:2] + b"\x81\x85" + bytes(8)], [5, []]),
    "silent.test": (lambda q: [], errno.ETIMEDOUT),
    "wrong-id.test": (
        lambda q: [reply(bytes([q[0] ^ 1]) + q[1:], WRONG), reply(q, ADDRESS)],
        [0, ["192.0.2.1"]],
    ),
    "wrong-question.test": (
        lambda q: [reply(q[:12] + name("x.test") + q[-4:], WRONG), reply(q, ADDRESS)],
        [0, ["192.0.2.1"]],
    ),
    "wrong-type.test": (
        lambda q: [reply(q[:-4] + b"\0\x1c\0\1", WRONG), reply(q, ADDRESS)],
        [0, ["192.0.2.1"]],
    ),
    "query-back.test": (lambda q: [q, reply(q, ADDRESS)], [0, ["192.0.2.1"]]),
    "elsewhere.test": (
        lambda q: [b"elsewhere" + reply(q, WRONG), reply(q, ADDRESS)],
        [0, ["192.0.2.1"]],
    ),
    "short.test": (lambda q: [q[:7], reply(q, ADDRESS)], [0, ["192.0.2.1"]]),
    "alias.test": (
        lambda q: [
            reply(
                q,
                record(HERE, CNAME, name("a.example")),
                record(name("a.example"), CNAME, name("B.example")),
                record(name("b.EXAMPLE"), A, bytes([192, 0, 2, 7])),
                record(name("other.example"), A, bytes([192, 0, 2, 66])),
            )
        ],
        [0, ["192.0.2.7"]],
    ),
    "backwards.test": (
        lambda q: [
            reply(
                q,
                record(name("b.example"), A, bytes([192, 0, 2, 7])),
                record(name("a.example"), CNAME, name("b.example")),
                record(HERE, CNAME, name("a.example")),
            )
        ],
        [0, ["192.0.2.7"]],
    ),
    "large.test": (
        lambda q: [reply(q, record(HERE, CNAME, LONG), record(LONG, A, bytes([192, 0, 2, 8])))],
        [0, ["192.0.2.8"]],
    ),
    "circle.test": (
        lambda q: [
            reply(q, record(HERE, CNAME, name("a.test")), record(name("a.test"), CNAME, HERE))
        ],
        [0, []],
    ),
    "unrelated.test": (lambda q: [reply(q, record(name("x.test"), A, LOCAL))], [0, []]),
    "pointer-loop.test": (
        lambda q: [reply(q, record(struct.pack(">H", 0xC000 | len(q)), A, LOCAL))],
        errno.EINVAL,
    ),
    "pointer-out.test": (lambda q: [reply(q, record(b"\xff\xff", A, LOCAL))], errno.EINVAL),
    "bad-label.test": (lambda q: [reply(q, record(b"\x80a\0", A, LOCAL))], errno.EINVAL),
    "long-name.test": (lambda q: [reply(q, record(b"\x3f" * 260, A, LOCAL))], errno.EINVAL),
    "cut.test": (lambda q: [reply(q, ADDRESS)[:-2]], errno.EINVAL),
    "too-few.test": (lambda q: [reply(q, ADDRESS, count=3)], errno.EINVAL),
    "truncated.test": (
        lambda q: [reply(q, ADDRESS, WRONG, flags=0x82)[:-2]],
        [0, ["192.0.2.1"]],
    ),
    "many.test": (
        lambda q: [reply(q, *[record(b"\0", CNAME, b"\0")] * 30, count=65535)],
        errno.EINVAL,
    ),
    "odd-size.test": (lambda q: [reply(q, record(HERE, A, b"12345"))], [0, []]),
    "a..b": (lambda q: [], errno.EINVAL),
    "x" * 64 + ".test": (lambda q: [], errno.EINVAL),
    ".".join(["x" * 60] * 5): (lambda q: [], errno.EINVAL),
}


def test_a_dns_server_is_asked_and_never_trusted(interpreter: str) -> None:
    def answer(asked: str, query: bytes) -> list[bytes]:
        return {**QUERIES, "OK.Test": QUERIES["OK.Test."]}[asked][0](query)

    with dns_server(answer) as server:
        names = [(name, 300 if name == "silent.test" else LONG_MS) for name in QUERIES]
        options = {"server": server, "names": names}
        said = dict(run(interpreter, "queries", **options))
    assert said == {asked: expected for asked, (_, expected) in QUERIES.items()}


def test_a_closed_dns_port_is_told_from_silence(interpreter: str) -> None:
    options = {"server": "127.0.0.1:1", "names": [("ok.test", LONG_MS)]}
    assert run(interpreter, "queries", **options) == [("ok.test", errno.ECONNREFUSED)]


def test_names_are_resolved_by_the_first_server_that_knows(interpreter: str) -> None:
    scripts: dict[str, list[bytes]] = {}

    def good(asked: str, query: bytes) -> list[bytes]:
        return [reply(query, rcode=3) if asked == "nx.test" else reply(query, ADDRESS)]

    with (
        dns_server(lambda asked, query: scripts.get(asked, [])) as silent,
        dns_server(lambda asked, query: [reply(query, rcode=2)]) as broken,
        dns_server(good) as working,
    ):
        lookups = [
            ("a.test", [working], LONG_MS),
            ("b.test", [silent, working], 8000),  # a quarter of it for each of two tries
            ("c.test", [broken, working], LONG_MS),
            ("d.test", [broken, silent], 800),
            ("nx.test", [working, broken], LONG_MS),
            ("192.0.2.9", [silent], LONG_MS),
            ("2001:db8::9", [silent], LONG_MS),
            ("localhost", [silent], LONG_MS),
            ("not a..name", [working], LONG_MS),
        ]
        said = dict(run(interpreter, "resolve", lookups=lookups))
    assert said["a.test"] == said["b.test"] == said["c.test"] == ["192.0.2.1"]
    assert said["d.test"] == [
        "name",
        f"DNS look-up of d.test: {silent}: no answer in time",
    ]
    assert said["nx.test"] == ["name", f"DNS look-up of nx.test: {working}: no such name"]
    assert said["192.0.2.9"] == ["192.0.2.9"]
    assert said["2001:db8::9"] == ["2001:db8::9"]
    assert "127.0.0.1" in said["localhost"]  # type: ignore[operator]
    assert said["not a..name"] == ["name", "not a..name is not a host name"]


def test_the_last_good_address_serves_while_dns_is_dead_and_is_never_pinned(
    interpreter: str,
) -> None:
    moved = record(HERE, A, bytes([127, 0, 0, 2]))

    with (
        dns_server(lambda asked, query: [reply(query, moved, record(HERE, A, LOCAL))]) as both,
        dns_server(lambda asked, query: []) as dead,
        dns_server(lambda asked, query: [reply(query, moved)]) as other,
        serve(lambda sock, number: None) as port,
    ):
        # Of the time half is for the look-up: the third has two seconds left to connect.
        servers = [(dead, 600), (both, LONG_MS), (dead, 4000), (other, LONG_MS)]
        connections = [("b.test", port, [where], limit) for where, limit in servers]
        said = run(interpreter, "opens", connections=connections)
    assert [what for what, _ in said] == ["failed", "opened", "opened", "failed", "files left"]
    assert said[0][1][0] == "name"  # type: ignore[index]
    assert said[3][1][0] == "connect"  # type: ignore[index]
    assert f"127.0.0.2 port {port}: connection refused" in said[3][1][1]  # type: ignore[index]


def test_a_dead_host_a_closed_port_and_silence_after_connecting_are_told_apart(
    interpreter: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    tls = [str(authority.path), *authority.issue("device")]
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # nobody accepts: the rest of the world finds no way in
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        silent = stack.enter_context(
            serve(lambda sock, number: sock.recv(1 << 16) and sock.recv(1))
        )
        plain = stack.enter_context(serve(lambda sock, number: sock.sendall(b"HTTP/1.1 400\r\n")))
        gone = stack.enter_context(serve(lambda sock, number: None))
        # Three seconds for the silent one: it must have connected before they are over.
        ports = {full.getsockname()[1]: 400, 1: LONG_MS, silent: 3000}
        ports |= {plain: LONG_MS, gone: LONG_MS}
        connections = [("127.0.0.1", port, [], limit) for port, limit in ports.items()]
        said = run(interpreter, "opens", connections=connections, tls=tls)
    assert said.pop() == ("files left", 0)
    assert [what for what, _ in said] == ["failed"] * 5
    stages = [(stage, code) for stage, _, code in (value for _, value in said)]  # type: ignore
    assert stages[:3] == [
        ("connect", errno.ETIMEDOUT),
        ("connect", errno.ECONNREFUSED),
        ("tls", errno.ETIMEDOUT),
    ]
    assert [stage for stage, _ in stages[3:]] == ["tls", "tls"]


def test_a_broker_that_never_says_connack_is_given_up(interpreter: str) -> None:
    def handler(sock: socket.socket, number: int) -> None:
        while sock.recv(100):
            pass

    with serve(handler) as port:
        ((what, failure),) = run(interpreter, "connect", port=port, connect_timeout_s=3)
    assert (what, failure[0], failure[2]) == ("failed", "mqtt", errno.ETIMEDOUT)  # type: ignore
    assert failure[1].endswith("no answer in time")  # type: ignore[index]


@pytest.mark.parametrize("accept", [False, True])
def test_datagrams_are_exchanged_with_one_peer_until_an_answer_is_accepted(
    interpreter: str, accept: bool
) -> None:
    with dns_server_raw([b"bad", b"good"]) as port:
        options = {"host": "127.0.0.1", "port": port, "timeout_ms": LONG_MS, "accept": accept}
        assert run(interpreter, "exchange", **options) == [("answer", "good" if accept else "bad")]


@contextlib.contextmanager
def dns_server_raw(answers: list[bytes]) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: _answer_once(sock, answers))
        thread.start()
        yield sock.getsockname()[1]
        thread.join()


def _answer_once(sock: socket.socket, answers: list[bytes]) -> None:
    _, address = sock.recvfrom(100)
    for answer in answers:
        sock.sendto(answer, address)


def test_a_tls_file_that_is_wrong_is_named_with_what_is_wrong(
    interpreter: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("device")
    _, other_key = authority.issue("other")
    pem = Path(cert).read_text()
    der = tmp_path / "ca.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(authority.path.read_text()))
    made = {
        "cut": pem[: len(pem) // 2],
        "empty": "",
        "encrypted": Path(key).read_text().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        "garbage": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "several": authority.path.read_text() + Authority(tmp_path, "next").path.read_text(),
        "params": "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + Path(key).read_text(),
    }
    for file, text in made.items():
        (tmp_path / file).write_text(text)
    ca, at = str(authority.path), str(tmp_path)
    cases = {
        (ca, cert, key): "",
        (str(der), cert, key): "",
        (f"{at}/several", cert, key): "",
        (ca, cert, f"{at}/params"): "",
        (f"{at}/none", cert, key): f"CA {at}/none: no such file",
        (ca, f"{at}/cut", key): f"certificate {at}/cut: is cut off",
        (ca, f"{at}/empty", key): f"certificate {at}/empty: holds no PEM CERTIFICATE",
        (ca, key, key): f"certificate {key}: holds no PEM CERTIFICATE",
        (ca, cert, cert): f"key {cert}: holds no PEM PRIVATE KEY",
        (ca, cert, f"{at}/encrypted"): f"key {at}/encrypted: is encrypted",
        (f"{at}/garbage", cert, key): f"CA {at}/garbage: ",
        (ca, f"{at}/garbage", key): f"certificate {at}/garbage: with key {key}: ",
    }
    if interpreter == "cpython":  # mbedTLS does not compare them
        cases[ca, cert, other_key] = f"certificate {cert}: with key {other_key}: KEY_VALUES"
    said = run(interpreter, "tls_errors", paths=list(cases))
    for (what, value), (paths, expected) in zip(said, cases.items(), strict=True):
        assert (what == "failed") == bool(expected), (paths, value)
        if expected:
            stage, reason = value  # type: ignore[misc]
            assert stage == "tls" and reason.startswith(expected)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_nothing_is_lost_or_mixed_when_the_socket_takes_no_more(
    interpreter: str, secure: bool, tmp_path: Path
) -> None:
    size = 1_200_000  # loopback takes some 2.5 MB before it says no
    written = threading.Event()
    got: list[bytes] = []

    def handler(sock: socket.socket, number: int) -> None:
        read_packet(sock)
        sock.sendall(ACCEPTED)
        written.wait(support.PATIENCE_S)
        while True:
            packet = read_packet(sock)
            if packet[0] == 0xE0:
                return
            payload = packet[-5:] if packet.endswith(b"small") else packet[-size:]
            got.append(payload)
            if packet[0] & 2:
                pid = packet[-len(payload) - 2 : -len(payload)]
                sock.sendall(b"\x40\x02" + pid)

    options: dict[str, object] = {"size": size, "ack_timeout_s": 120}
    context = None
    if secure:
        authority = Authority(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("broker", ["broker.test"]))
        options["tls"] = [str(authority.path), *authority.issue("device")]
        options["server_hostname"] = "broker.test"
    with serve(handler, context, SO_RCVBUF=4096) as port:
        with Device(interpreter, "congested", heapsize="64m", port=port, **options) as device:
            device.expect("written")
            written.set()
            device.finish()
    assert sorted(got) == sorted([b"small"] * 8 + [bytes([i]) * size for i in range(8)])


def test_a_message_leaves_as_one_tls_record(interpreter: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("broker.test", ["broker.test"])
    with support.start_mosquitto(tmp_path, broker_lines(authority, server)) as broker:
        out, back = bytearray(), bytearray()

        def handler(near: socket.socket, number: int) -> None:
            with socket.create_connection(("127.0.0.1", broker.port)) as far:
                thread = threading.Thread(target=_copy, args=(far, near, back))
                thread.start()
                _copy(near, far, out)
                thread.join()

        options = {
            "tls": [str(authority.path), *authority.issue("device")],
            "server_hostname": "broker.test",
            "size": 700,
        }
        with serve(handler) as port:
            run(interpreter, "publishes", port=port, count=10, **options)
    assert _records(out, 1 + 2 + 2 + 31 + 2 + 700) == 10
    assert _records(back, 4) == 1 + 10  # CONNACK is as long as a PUBACK


def _copy(source: socket.socket, sink: socket.socket, copy: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            copy += data
            sink.sendall(data)
    for sock in (source, sink):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _records(stream: bytearray, size: int) -> int:
    """How many TLS records carry exactly `size` bytes of application data."""
    count = at = 0
    while at < len(stream):
        length = int.from_bytes(stream[at + 3 : at + 5], "big")
        # A tag of 16 bytes, and 8 of nonce in TLS 1.2, one of type in TLS 1.3.
        count += stream[at] == 23 and length - size in (17, 24)
        at += 5 + length
    return count
