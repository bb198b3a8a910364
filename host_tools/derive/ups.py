"""What the samples of a boot say of an outage whose end was not reported: two searches whose work
is bounded, for a device may report 20,000 such outages."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate


class Ups:
    """The chunks of a boot with samples that say up, ascending, each with the greatest `up`: a
    tree of maxima, to find the first chunk that is late enough."""

    def __init__(self, chunks: list[tuple[int, int | None, int, int]]) -> None:
        """chunks: number, greatest `up` or None, begin and end of the samples; ascending."""
        late = [(chunk, up) for chunk, up, *_ in chunks if up is not None]
        self._chunks = [chunk for chunk, _ in late]
        self._size = 1 << max(0, len(late) - 1).bit_length()
        self._tree = [-1] * (2 * self._size)
        for number, (_, up) in enumerate(late, self._size):
            self._tree[number] = up
        for node in range(self._size - 1, 0, -1):
            self._tree[node] = max(self._tree[2 * node : 2 * node + 2])
        spans = sorted((begin, end) for *_, begin, end in chunks)
        self._begins = [begin for begin, _ in spans]
        self._ends = list(accumulate((end for _, end in spans), max))

    def sampled_until(self, t: int | None) -> int | None:
        """The latest end of the chunks that begin before a time, or of all."""
        number = len(self._begins) if t is None else bisect_left(self._begins, t)
        return self._ends[number - 1] if number else None

    def chunks(self, first: int, up: int) -> Iterator[int]:
        """The chunks from `first` on with a sample that says up, at `up` or later."""
        at: int | None = bisect_left(self._chunks, first)
        while at is not None and (at := self._next(at, up)) is not None:
            yield self._chunks[at]
            at += 1

    def _next(self, at: int, up: int) -> int | None:
        if at >= self._size:
            return None
        node = at + self._size
        while self._tree[node] < up:
            while node & 1:
                node >>= 1
            if not node:
                return None
            node += 1
        while node < self._size:
            node *= 2
            if self._tree[node] < up:
                node += 1
        return node - self._size
