"""The session: what the end of an attempt says of the broker, and who gets which message."""

import asyncio
from typing import Any

import pytest

from agent.device import interpreter
from agent.net.errors import CERTIFICATE, NetError, lacks_memory
from agent.province.session import Session
from agent.wire import ids

BASE = "desa/1/6403/6403112001-1/"


class Client:
    """A client whose every attempt to connect ends with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.connected = self.tried = False
        self.on_message: Any = None

    async def connect(self) -> None:
        if self.tried:
            raise asyncio.CancelledError
        self.tried = True
        assert self.error
        raise self.error

    async def close(self) -> None:
        pass


class Clock:
    def up(self) -> int:
        return 7


def attempt(
    monkeypatch: pytest.MonkeyPatch, error: Exception, short: bool | None = None
) -> Session:
    """A session after one attempt that ended with `error`; the next one is cancelled.

    short: what the board says of its memory; None: it can't tell."""
    client = Client(error)
    session = Session(BASE, Clock(), client, 300)
    session.memory_short = None if short is None else lambda: short

    async def sleep_ms(ms: int) -> None:
        pass

    monkeypatch.setattr(interpreter, "sleep_ms", sleep_ms)
    with pytest.raises((asyncio.CancelledError, type(error))) as ended:
        asyncio.run(session.run())
    # The supervisor counts lacks of memory, and starts the agent anew after too many.
    assert (ended.value is error) is lacks_memory(error)
    return session


@pytest.mark.parametrize(
    ("error", "probe"),
    [
        (NetError("no such name", "name", 3), ids.PROBE_NO_NAME),
        (NetError("refused", "connect", 111), ids.PROBE_REFUSED),
        (NetError("no answer in time", "connect", 110), ids.PROBE_TIMEOUT),
        (NetError("not ours", "tls", CERTIFICATE), ids.PROBE_CERTIFICATE),
        (NetError("CONNACK 5", "mqtt", 5), ids.PROBE_ERROR),
    ],
)
def test_a_failed_attempt_is_evidence_of_its_cause(
    monkeypatch: pytest.MonkeyPatch, error: NetError, probe: int
) -> None:
    session = attempt(monkeypatch, error)
    assert (session.probe, session.attempts, session.stage) == (probe, 1, error.stage)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "ENOMEM"),
        NetError("TLS with broker: SSL - Memory allocation failed", "tls", -0x7F00),
        NetError("TLS with broker: X509 - Allocation of memory failed", "tls", -0x2880),
    ],
    ids=repr,
)
def test_a_lack_of_memory_is_no_evidence_of_the_broker(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    session = attempt(monkeypatch, error)
    assert (session.probe, session.attempts) == (None, 0)


@pytest.mark.parametrize(("short", "probe"), [(True, None), (False, ids.PROBE_CERTIFICATE)])
def test_a_certificate_that_looks_wrong_for_want_of_memory_is_no_interception(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    short: bool,
    probe: int | None,
) -> None:
    """mbedTLS says "not correctly signed" where it can't allocate while it verifies."""
    session = attempt(monkeypatch, NetError("not ours", "tls", CERTIFICATE), short)
    assert (session.probe, session.attempts) == (probe, 0 if short else 1)
    assert ("too little memory" in capsys.readouterr().err) is short


def test_each_topic_has_its_own_handler() -> None:
    got = []
    client = Client()
    session = Session(BASE, Clock(), client, 300)
    session.topics[BASE + "ack"] = lambda payload, retain: got.append(("ack", payload, retain))
    session.topics["desa/1/trust"] = lambda payload, retain: got.append(("trust", payload, retain))
    client.on_message("desa/1/trust", b"t", True)
    client.on_message(BASE + "ack", b"a", False)
    client.on_message(BASE + "command", b"?", False)
    assert got == [("trust", b"t", True), ("ack", b"a", False)]
