"""A province for one simulated device: verifies what arrives, keeps it, and acknowledges it.

It follows docs/wire.md, "Delivery", on the device's simulated clock, which the real ingest can't.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

import paho.mqtt.client as mqtt

from host_tools import wire
from tests.sim import world
from tests.support import PATIENCE_S

_ACK_REPORTS = 24
_ACK_S = 7200


class Message(NamedTuple):
    """One that verified: the whole of it, its payload's bytes, and what they say."""

    topic: str
    signed: bytes
    payload: bytes
    content: wire.Report | wire.Birth


class Province:
    """Connected to the broker from `connect` to `close`.

    Attributes:
        messages: every birth and report as it came, oldest first, duplicates too.
        reports: stream to seq to report, as stored.
        acks: every ack that was published.
        states: every state, as bytes.
        duplicates: how often a report came that was stored already.
        refused: what could not be verified or understood.
        now: the simulated Unix time, to be set by whoever runs the simulation.
    """

    def __init__(
        self, slot: str, public_key: bytes, kid: bytes, prepare: Callable[[mqtt.Client], None]
    ) -> None:
        """`prepare` gives a client TLS, or whatever else the broker demands."""
        self._base = f"desa/1/{slot[:4]}/{slot}/"
        self._verifier = wire.Verifier({kid: wire.Key(public_key, slot, True)})
        self._prepare = prepare
        self._news = threading.Condition()
        self._client: mqtt.Client | None = None
        self._unacknowledged = 0
        self._acknowledged_at = 0.0
        self._marks = 0
        self._mark = b""
        self.messages: list[Message] = []
        self.reports: dict[bytes, dict[int, wire.Report]] = {}
        self.acks: list[bytes] = []
        self.states: list[bytes] = []
        self.duplicates = 0
        self.refused: list[str] = []
        self.now = world.begin()

    def connect(self, host: str, port: int) -> None:
        """Connect and subscribe; returns when the broker has confirmed it."""
        ready = threading.Event()
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            "province",
            clean_session=False,
            reconnect_on_failure=False,
        )
        self._prepare(client)
        client.on_connect = lambda *_: client.subscribe(self._base + "+", 1)
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = self._on_message
        client.connect_timeout = PATIENCE_S
        client.connect(host, port)
        # Before messages come, which are to be acknowledged.
        self._client = client
        client.loop_start()
        if not ready.wait(PATIENCE_S):
            raise AssertionError("the broker does not answer the province")

    def close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def minute(self, now: float) -> None:
        """Set the simulated Unix time; an ack that is due goes out.

        When it returns, all that the broker had before has arrived, and the broker has handed all
        acks on: what happens in which minute does not depend on the machine."""
        self.catch_up()
        with self._news:
            self.now = now
            due = self._unacknowledged and now - self._acknowledged_at >= _ACK_S
            if due and self._client is not None:
                for stream in self.reports:
                    self._acknowledge(stream)
        if due:
            self.catch_up()

    def catch_up(self) -> None:
        """Wait until all has arrived that the broker has taken so far, and all acks have left it:
        until what is published now comes back, and that after the last ack."""
        acks = -1
        while self._client is not None and acks != len(self.acks):
            acks = len(self.acks)
            self._marks += 1
            mark = b"%d" % self._marks
            self._client.publish(self._base + "mark", mark, 1)
            assert self.wait(lambda mark=mark: self._mark == mark), "the broker does not answer"

    def wait(self, condition: Callable[[], bool], timeout: float = PATIENCE_S) -> bool:
        """Wait until a condition on what has arrived holds; whether it does."""
        with self._news:
            return self._news.wait_for(condition, timeout)

    def _on_message(
        self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage
    ) -> None:
        kind = message.topic.rpartition("/")[2]
        with self._news:
            if kind == "state":
                self.states.append(message.payload)
            if kind == "mark":
                self._mark = message.payload
            self._news.notify_all()
            if kind not in ("birth", "report"):
                return
            try:
                payload = self._verifier.verify(message.topic, message.payload).payload
                content: wire.Report | wire.Birth
                if kind == "birth":
                    content = wire.parse_birth(payload)
                    self._birth(content)
                else:
                    content = wire.parse_report(payload)
                    self._report(content)
                self.messages.append(Message(message.topic, message.payload, payload, content))
            except wire.Refused as refused:
                self.refused.append(str(refused))

    def _birth(self, birth: wire.Birth) -> None:
        self._acknowledge(birth.stream, (birth.boot, birth.conn))

    def _report(self, report: wire.Report) -> None:
        stored = self.reports.setdefault(report.stream, {})
        if report.seq in stored:
            self.duplicates += 1
        out_of_order = report.seq in stored or (report.seq - 1 not in stored and report.seq > 1)
        stored[report.seq] = report
        self._unacknowledged += 1
        if out_of_order or self._unacknowledged >= _ACK_REPORTS:
            self._acknowledge(report.stream)

    def _acknowledge(self, stream: bytes, answers: tuple[int, int] | None = None) -> None:
        ranges: list[tuple[int, int]] = [(0, 0)]
        for seq in sorted(self.reports.get(stream, ())):
            if seq == ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], seq)
            else:
                ranges.append((seq, seq))
        ack = wire.encode_ack(stream, ranges[0][1], ranges[1:], int(self.now), answers)
        self.acks.append(ack)
        assert self._client is not None
        self._client.publish(self._base + "ack", ack, 1, True)
        self._unacknowledged = 0
        self._acknowledged_at = self.now
