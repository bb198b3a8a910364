"""When a device is told what is stored of its stream (docs/wire.md, "Delivery", 4)."""

from __future__ import annotations

from collections.abc import Callable

from host_tools.store.evidence import Stream
from host_tools.wire import ack_topic, encode_ack

_RANGES = 16

Published = tuple[str, bytes]  # topic, payload


class Acks:
    """Streams with something to tell; at most one ack for each is due at a time."""

    def __init__(self, every_reports: int, every_seconds: float) -> None:
        self._every_reports = every_reports
        self._every_seconds = every_seconds
        # Reports stored since the last ack, and since when: in the order of that time.
        self._waiting: dict[Stream, tuple[int, float]] = {}
        self._due: dict[Stream, tuple[int, int] | None] = {}

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
        """The same for one that is out of date, unless a better one waits as well."""
        if self._due.get(stream) is None:
            self._due[stream] = (boot, conn)

    def everything(self) -> None:
        """Make all due that waits."""
        for stream in self._waiting:
            self.at_once(stream)

    def forget(self) -> set[tuple[bytes, bytes]]:
        """Drop everything: the streams are about to be read from the database anew.

        Returns:
            The (kid, stream) of those that there was something to tell of.
        """
        streams = {(stream.kid, stream.stream) for stream in (*self._waiting, *self._due)}
        self._waiting.clear()
        self._due.clear()
        return streams

    def take(self, now: float, clock: Callable[[], float]) -> list[Published]:
        """The acks to publish now.

        Args:
            now: monotonic seconds.
            clock: the province's Unix time, which devices without another set theirs by.
        """
        for stream, (_, since) in self._waiting.items():
            if now - since < self._every_seconds:
                break
            self.at_once(stream)
        published = []
        for stream, answers in self._due.items():
            self._waiting.pop(stream, None)
            ranges = stream.ranges
            payload = encode_ack(
                stream.stream, ranges.contiguous, ranges.beyond(_RANGES), int(clock()), answers
            )
            published.append((ack_topic(stream.slot), payload))
        self._due.clear()
        return published
