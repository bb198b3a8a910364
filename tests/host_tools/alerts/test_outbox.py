"""The outbox: nothing is lost, nothing comes twice where the channel can tell, at any kill."""

from __future__ import annotations

import hmac
import http.server
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from host_tools.alerts.channels import (
    KEY_HEADER,
    SIGNATURE_HEADER,
    HookSender,
    NotTaken,
    Sender,
    make_sender,
)
from host_tools.alerts.outbox import GIVE_UP_S, Outbox
from host_tools.alerts.records import DUE, FAILED, SENT, AlertRecords, open_records
from host_tools.alerts.settings import AlertSettings, load_settings
from host_tools.store import StoreFull
from tests import support
from tests.world.ingesting import wait_for

NOW = 1_767_240_000
SECRET = "a secret of some length"


class MailServer:
    """A real SMTP server; `answer` is what it says to a message that it does not take."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.answer = ""
        self._controller = Controller(
            *(self, "127.0.0.1", support.free_port()), ready_timeout=support.PATIENCE_S
        )
        self._controller.start()
        self.port = self._controller.port

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:
        if self.answer:
            return self.answer
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"

    def stop(self) -> None:
        self._controller.stop()


class Hook(http.server.ThreadingHTTPServer):
    """A web hook that keeps what comes; status: its answer.

    signatures: of each post, and what it is of with the secret of the tests.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.posts: list[tuple[str | None, dict[str, Any]]] = []
        self.signatures: list[tuple[str | None, str]] = []
        self.asked = 0
        self.status = 200
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        if self.server.status == 200:
            self.server.posts.append((self.headers[KEY_HEADER], json.loads(content)))
            expected = hmac.new(SECRET.encode(), content, "sha256").hexdigest()
            self.server.signatures.append((self.headers[SIGNATURE_HEADER], f"sha256={expected}"))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.stop()


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(tmp_path: Path, mail: MailServer, hook: Hook) -> AlertSettings:
    (tmp_path / "hook.url").write_text(f"json://127.0.0.1:{hook.server_port}/x\n")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "alerts.toml").write_text(f"""
[smtp]
host = "127.0.0.1"
port = {mail.port}
tls = "none"
sender = "alerts@desa.example"
[channels]
sari.mail = "sari@desa.example"
nobody.mail = "nobody@desa.example"
hook.url_file = "hook.url"
program.hook = "http://127.0.0.1:{hook.server_port}/x?y=1"
program.secret_file = "secret"
""")
    return load_settings(tmp_path)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[AlertRecords]:
    with open_records(tmp_path) as records:
        yield records


def outbox_of(records: AlertRecords, settings: AlertSettings, folder: Path) -> Outbox:
    return Outbox(
        records,
        lambda name: make_sender(settings, name, folder),
        patience_s=support.PATIENCE_S,
    )


def queue(records: AlertRecords, name: str, channel: str, reply_to: str = "") -> None:
    with records.transaction():
        records.queue(
            *("opened", name, channel, f"Desa Ä {name}", "tidak ada data\nsejak 14.05"),
            now=NOW,
            due=NOW,
            reply_to=reply_to,
        )


def test_mail_and_hook_take_what_is_due_once(records, settings, tmp_path, mail, hook):
    outbox = outbox_of(records, settings, tmp_path)
    queue(records, "1.opened", "sari")
    queue(records, "1.opened", "sari")  # the same once more
    queue(records, "1.recovered", "sari", reply_to="1.opened")
    queue(records, "2.opened", "hook")
    assert outbox.work(NOW - 1) == 0
    assert outbox.work(NOW) == 3 and outbox.work(NOW) == 0
    first, second = mail.mails
    assert first["Subject"] == "Desa Ä 1.opened" and first["To"] == "sari@desa.example"
    assert first.get_content().splitlines() == ["tidak ada data", "sejak 14.05"]
    assert first["Message-ID"].endswith(".1.opened@desa.example>")
    assert second["In-Reply-To"] == first["Message-ID"] != second["Message-ID"]
    ((key, posted),) = hook.posts
    assert key is not None and key.endswith(".2.opened")
    assert (posted["title"], posted["message"]) == (
        "Desa Ä 2.opened",
        "tidak ada data\nsejak 14.05",
    )
    assert {m.state for m in records.messages()} == {SENT}


def test_a_program_takes_signed_json_and_a_redirect_is_not_followed(
    records, settings, tmp_path, hook
):
    outbox = outbox_of(records, settings, tmp_path)
    queue(records, "1.opened", "program")
    queue(records, "1.recovered", "program", reply_to="1.opened")
    hook.status = 302
    assert outbox.work(NOW) == 0
    assert hook.asked == 1 and "302, a redirect" in records.messages()[-1].error
    hook.status = 503
    assert outbox.work(NOW + 300) == 0
    assert records.messages()[-1].error == "The other side answers 503."
    hook.status = 200
    assert outbox.work(NOW + 900) == 2
    (first, opened), (second, recovered) = hook.posts
    assert first == opened["id"] != second == recovered["id"]
    assert recovered["reply_to"] == opened["id"] and opened["reply_to"] is None
    assert (opened["what"], opened["alert"], opened["queued_at"]) == ("opened", None, NOW)
    assert opened["subject"] == "Desa Ä 1.opened"
    assert opened["text"] == "tidak ada data\nsejak 14.05"
    assert all(signature == expected for signature, expected in hook.signatures)
    queue(records, "3.opened", "program")
    (tmp_path / "secret").write_text("short\n")
    assert outbox.work(NOW + 900) == 0 and "less than 16" in records.messages()[0].error
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        for host in (f"127.0.0.1:{deaf.getsockname()[1]}", "127.0.0.1:99999"):
            with pytest.raises(NotTaken, match=host):
                HookSender(f"http://{host}", SECRET).send(records.messages()[0], "identity", "")


def test_what_is_not_taken_comes_again_later_and_is_given_up_after_a_day(
    records, settings, tmp_path, mail, hook
):
    outbox = outbox_of(records, settings, tmp_path)
    mail.answer, hook.status = "451 try later", 503
    for channel in ("sari", "hook", "nobody"):
        queue(records, channel, channel)
    queue(records, "later", "sari")
    assert outbox.work(NOW) == 0
    states = {m.name: m.state for m in records.messages()}
    assert states == {"sari": DUE, "hook": DUE, "later": DUE, "nobody": FAILED}
    errors = {m.name: m.error for m in records.messages()}
    assert "451 try later" in errors["sari"] and "550 no such user" in errors["nobody"]
    # One failure is enough to leave the others of its channel for the next round.
    assert [m.attempts for m in records.messages() if m.name == "later"] == [0]
    assert outbox.work(NOW + 30) == 0 and "503" in errors["hook"]
    hook.status = 200
    assert outbox.work(NOW + 300) == 1
    for hour in range(1, 30):
        outbox.work(NOW + hour * 3600)
    assert {m.name: m.state for m in records.messages()} == {
        **{"sari": FAILED, "later": FAILED, "nobody": FAILED},
        **{"hook": SENT},
    }
    assert NOW + 30 * 3600 > NOW + GIVE_UP_S


def test_a_channel_that_is_gone_or_wrong_is_named(records, tmp_path, settings):
    for name, said in (("gone", "no channel 'gone'"), ("wrong", "does not know this address")):
        with pytest.raises(NotTaken, match=said) as error:
            channels = {**settings.channels}
            channels["wrong"] = type(channels["hook"])(url="nosuch://x")
            its = type(settings)(
                settings.rules, settings.grouping, settings.calm, channels=channels
            )
            make_sender(its, name, tmp_path).send(records_message(records, name), "identity", "")
        assert error.value.for_good
    (tmp_path / "hook.url").unlink()
    with pytest.raises(NotTaken, match="hook.url can't be read") as error:
        make_sender(settings, "hook", tmp_path)
    assert not error.value.for_good


def test_a_channel_that_hangs_holds_up_no_other(records, settings, tmp_path, mail):
    answers = threading.Event()

    class Hangs:
        def send(self, *_: object) -> None:
            answers.wait(support.PATIENCE_S)

    def sender(name: str) -> Sender:
        return Hangs() if name == "program" else make_sender(settings, name, tmp_path)

    def sent(channel: str) -> int:
        outbox.work(NOW)
        return [m.state for m in records.messages() if m.channel == channel].count(SENT)

    outbox = Outbox(records, sender, patience_s=0.1)
    for name in ("1.opened", "2.opened"):
        queue(records, f"{name}.p", "program")
        queue(records, f"{name}.s", "sari")
    wait_for(lambda: sent("sari") == 2)
    assert sent("program") == 0 and len(mail.mails) == 2
    answers.set()
    wait_for(lambda: sent("program") == 2)
    assert [m.attempts for m in records.messages()] == [1] * 4


def test_a_disk_that_is_full_once_it_is_sent_does_not_make_it_come_again(
    records, settings, tmp_path, mail, monkeypatch
):
    def full(*_: object) -> None:
        raise StoreFull("no room")

    outbox = outbox_of(records, settings, tmp_path)
    queue(records, "1.opened", "sari")
    with monkeypatch.context() as room:
        room.setattr(records, "sent", full)
        for _ in range(3):
            with pytest.raises(StoreFull):
                outbox.work(NOW)
    assert outbox.work(NOW) == 1
    assert len(mail.mails) == 1 and [m.state for m in records.messages()] == [SENT]


def records_message(records: AlertRecords, name: str):
    queue(records, name, name)
    return records.messages()[0]


# ---- kills ---------------------------------------------------------------------------------

_STEPS = ("queue", "queued", "sending", "marked", "handed", "noted")


def killed_at(step: str, folder: Path, settings: AlertSettings, channel: str) -> None:
    """Queue and send a message in a process that is killed (-9) at a step."""

    def die(its: str) -> None:
        if its == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def child() -> None:
        records = open_records(folder)
        with records.transaction():
            records.queue(*("opened", "1.opened", channel, "subject", "body"), now=NOW, due=NOW)
            die("queue")  # before it is committed
        die("queued")

        class Dying:
            def send(self, *arguments) -> None:
                die("marked")
                make_sender(settings, channel, folder).send(*arguments)
                die("handed")

        def sender(_name: str):
            return Dying()

        marking: Callable[[int], bool] = records.sending

        def sending(id: int) -> bool:
            die("sending")
            return marking(id)

        records.sending = sending  # type: ignore[method-assign]
        Outbox(records, sender, patience_s=support.PATIENCE_S).work(NOW)
        die("noted")

    pid = os.fork()
    if pid == 0:
        try:
            child()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("channel", ["sari", "hook", "program"])
def test_a_kill_at_any_step_loses_nothing_and_repeats_nothing_unseen(
    tmp_path, settings, mail, hook, channel
):
    before = 0
    for step in _STEPS:
        folder = tmp_path / step
        folder.mkdir()
        for name in ("hook.url", "secret"):
            (folder / name).write_text((tmp_path / name).read_text())
        killed_at(step, folder, settings, channel)
        with open_records(folder) as records:
            # As the alert that it belongs to, a message that was not committed is made again.
            with records.transaction():
                again = records.queue(
                    *("opened", "1.opened", channel, "subject", "body"), now=NOW, due=NOW
                )
            assert again == (step == "queue")
            outbox_of(records, settings, folder).work(NOW + 1)
            assert [m.state for m in records.messages()] == [SENT]
        came = [m["Message-ID"] for m in mail.mails] + [key for key, _ in hook.posts]
        new, before = came[before:], len(came)
        # Only after this kill nobody knows that it came; both have the same identity.
        assert len(new) == (2 if step == "handed" else 1), step
        assert len(set(new)) == 1
