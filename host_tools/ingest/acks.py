"""When an ack for a stream is published (docs/wire.md, "Delivery", 4)."""

from __future__ import annotations

from collections.abc import Callable

from host_tools.store.streams import Stream
from host_tools.wire import ack_topic, encode_ack

_RANGES = 16

Published = tuple[str, bytes]  # topic, payload


class Acks:
    """Streams for which an ack is due now or later; at most one ack a stream."""

    def __init__(self, every_reports: int, every_seconds: float) -> None:
        self._every_reports = every_reports
        self._every_seconds = every_seconds
        # Reports stored since the last ack, and since when: in the order of that time.
        self._waiting: dict[Stream, tuple[int, float]] = {}
        self._due: dict[Stream, tuple[int, int] | None] = {}
        self._held: dict[str, float] = {}  # slot: until when only births are answered

    def hold(self, slot: str, until: float) -> None:
        """A slot has sent too much: answer only its births until then."""
        self._held[slot] = until

    def stored(self, stream: Stream, now: float) -> None:
        """A report has arrived in order and is stored."""
        count, since = self._waiting.get(stream, (0, now))
        self._waiting[stream] = count + 1, since
        if count + 1 >= self._every_reports:
            self.at_once(stream)

    def at_once(self, stream: Stream) -> None:
        """A report has arrived twice, out of order, or left a hole."""
        self._due.setdefault(stream, None)

    def answer(self, stream: Stream, boot: int, conn: int) -> None:
        """A birth has arrived: the device waits for this ack before it goes on."""
        self._due[stream] = (boot, conn)

    def answer_older(self, stream: Stream, boot: int, conn: int) -> None:
        """An older birth has arrived: answer it, unless a newer one waits."""
        if self._due.get(stream) is None:
            self._due[stream] = (boot, conn)

    def everything(self) -> None:
        """Make every waiting ack due."""
        for stream in self._waiting:
            self.at_once(stream)

    def forget(self) -> set[tuple[bytes, bytes]]:
        """Drop everything, because the streams are read from the database again.

        Returns:
            The (kid, stream) of those for which an ack was due.
        """
        streams = {(stream.kid, stream.stream) for stream in (*self._waiting, *self._due)}
        self._waiting.clear()
        self._due.clear()
        return streams

    def take(self, now: float, clock: Callable[[], float]) -> list[Published]:
        """The acks to publish now.

        Args:
            now: monotonic seconds.
            clock: the province's Unix time; a device without a clock takes it from the ack.
        """
        for stream, (_, since) in self._waiting.items():
            if now - since < self._every_seconds:
                break
            self.at_once(stream)
        self._held = {slot: until for slot, until in self._held.items() if until > now}
        published = []
        later: dict[Stream, tuple[int, int] | None] = {}
        for stream, answers in self._due.items():
            if answers is None and stream.slot in self._held:
                later[stream] = None
                continue
            self._waiting.pop(stream, None)
            ranges = stream.ranges
            payload = encode_ack(
                stream.stream, ranges.contiguous, ranges.beyond(_RANGES), int(clock()), answers
            )
            published.append((ack_topic(stream.slot), payload))
        self._due = later
        return published
