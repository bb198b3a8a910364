"""The real server: what changes reaches an open page, with TLS of its own too."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from host_tools.pages.records import PagesError
from host_tools.pages.serving import run, server
from host_tools.pages.site import PagesSite
from host_tools.province.settings import PagesSettings
from host_tools.store import open_database
from tests import support
from tests.host_tools.conftest import Run
from tests.host_tools.pages.conftest import NOW, PASSWORD, VILLAGES, Pages

PATIENCE_S = 60


def of_port(pages: Pages, **settings: object) -> PagesSite:
    its = PagesSettings(port=support.free_port(), **settings)  # type: ignore[arg-type]
    return PagesSite(replace(pages.site.province, pages=its), pages.clock)


@contextmanager
def running(site: PagesSite) -> Iterator[None]:
    its = server(site)
    thread = threading.Thread(target=its.run)
    thread.start()
    try:
        until = time.monotonic() + PATIENCE_S
        while not its.started:
            assert thread.is_alive() and time.monotonic() < until
            time.sleep(0.02)
        yield
    finally:
        its.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def log_in(connection: http.client.HTTPConnection) -> str:
    """The cookie of a log-in."""
    body = f"name=viewer&password={PASSWORD.replace(' ', '+')}"
    kind = {"content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/login", body, kind)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 303
    return str(answer.headers["set-cookie"]).partition(";")[0]


def test_a_change_reaches_an_open_page(pages: Pages):
    site = of_port(pages)
    with running(site):
        connection = http.client.HTTPConnection("127.0.0.1", site.settings.port, PATIENCE_S)
        headers = {"cookie": log_in(connection), "accept-language": "en"}
        version = site.watcher.newest().version
        connection.request("GET", f"/live?version={version}", headers=headers)
        stream = connection.getresponse()
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.readline() == b"retry: 3000\n"
        with open_database(pages.directory / "province.db") as db, db.transaction():
            db.execute(
                "INSERT INTO outages (stream_id, boot, begin_up, cause, slot_id, flaps, t_begin, "
                "interrupted) VALUES (1, 9, 9, 5, 1, 0, ?, 0)",
                (NOW - 200,),
            )
        name = f"b{VILLAGES[0]}-1"
        while True:
            line = stream.readline()
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                message = json.loads(line[6:])
                if name in message["parts"]:
                    break
        assert 'class="box provider"' in message["parts"][name]
        assert message["dots"] == {f"m{VILLAGES[0]}": "provider"}
        assert f"b{VILLAGES[1]}-1" not in message["parts"]
        connection.close()


def test_a_stream_ends_with_its_session_and_an_account_has_only_so_many(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("host_tools.pages.live._QUIET_S", 0.2)
    monkeypatch.setattr("host_tools.pages.live._MOST_OF_ACCOUNT", 1)
    site = of_port(pages)
    with running(site):
        connection, other = (
            http.client.HTTPConnection("127.0.0.1", site.settings.port, timeout=PATIENCE_S)
            for _ in range(2)
        )
        headers = {"cookie": log_in(connection)}
        connection.request("GET", "/live", headers=headers)
        stream = connection.getresponse()
        assert stream.headers["x-content-type-options"] == "nosniff"
        assert stream.readline() == b"retry: 3000\n"
        other.request("GET", "/live", headers=headers)
        assert other.getresponse().status == 503
        with pages.book() as book:
            account = book.account("viewer")
            assert account is not None
            book.end_sessions(account.id)
        assert stream.read().endswith(b"\n\n")
        connection.close()
        other.close()


def test_a_body_that_comes_too_slowly_is_given_up(pages: Pages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("host_tools.pages.forms._BODY_S", -3.0)
    site = of_port(pages)
    with running(site), socket.create_connection(("127.0.0.1", site.settings.port)) as slow:
        slow.settimeout(PATIENCE_S)
        slow.sendall(b"POST /login HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\nname=")
        assert slow.recv(99).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
def test_a_connection_without_a_whole_request_ends(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, sent: bytes
):
    monkeypatch.setattr("host_tools.pages.connections._HEAD_S", 0.2)
    site = of_port(pages)
    with running(site):
        with socket.create_connection(("127.0.0.1", site.settings.port), PATIENCE_S) as idle:
            idle.sendall(sent)
            try:
                assert idle.recv(1) == b""
            except ConnectionResetError:
                pass


def test_an_address_has_only_so_many_connections(pages: Pages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("host_tools.pages.connections._MOST_OF_ADDRESS", 1)
    site = of_port(pages)
    with running(site):
        where = ("127.0.0.1", site.settings.port)
        first = http.client.HTTPConnection(*where, PATIENCE_S)
        first.request("GET", "/health")
        assert first.getresponse().read() == b"ok"
        with socket.create_connection(where, PATIENCE_S) as second:
            try:
                assert second.recv(1) == b""
            except ConnectionResetError:
                pass
        other = http.client.HTTPConnection(*where, PATIENCE_S, source_address=("127.0.0.2", 0))
        other.request("GET", "/health")
        assert other.getresponse().read() == b"ok"
        first.close()
        other.close()


def test_the_pages_speak_tls_of_their_own(pages: Pages):
    # The broker's certificate will do: its names hold localhost.
    site = of_port(pages, certificate="broker/server.crt", key="broker/server.key")
    trusted = ssl.create_default_context(cafile=str(pages.directory / "ca" / "ca.crt"))
    with running(site):
        connection = http.client.HTTPSConnection(
            "localhost", site.settings.port, timeout=PATIENCE_S, context=trusted
        )
        assert log_in(connection).startswith("__Host-desalink=")
        connection.request("GET", "/login")
        answer = connection.getresponse()
        assert "max-age" in str(answer.headers["strict-transport-security"])
        connection.close()


def test_a_port_or_certificate_that_can_not_be_used_is_told_in_a_sentence(
    pages: Pages, desalink: Run
):
    with running(of_port(pages, bind="127.0.0.1")) as _:
        pass
    taken = of_port(pages)
    with running(taken):
        ended = desalink("-C", pages.directory, "serve", "--port", taken.settings.port)
        assert ended.code == 1 and "The pages are at" not in ended.err, ended.err
        assert "can't listen on 127.0.0.1" in ended.err
    for settings in ({"certificate": "a.pem", "key": "b.pem"}, {"key": "broker/server.key"}):
        with pytest.raises(PagesError, match="certificate"):
            run(of_port(pages, **settings), lambda: None)


def test_settings_are_checked_where_they_are_written(pages: Pages, desalink: Run):
    settings = pages.directory / "province.toml"
    settings.write_text(settings.read_text() + "\n[pages]\nport = 99999\n")
    ended = desalink("-C", pages.directory, "serve")
    assert ended.code == 1 and "pages.port: expected a whole number from 1 to 65535" in ended.err
