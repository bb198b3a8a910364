"""Where a boot is up again after an outage: a search whose work is bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator


class Ups:
    """The chunks of a boot with samples that say up, ascending, each with the greatest `up`.

    A tree of maxima: a device may report 20,000 outages without an end, and each looks for the
    first chunk that is late enough.
    """

    def __init__(self, chunks: list[tuple[int, int]]) -> None:
        self._chunks = [chunk for chunk, _ in chunks]
        self._size = 1 << max(0, len(chunks) - 1).bit_length()
        self._tree = [-1] * (2 * self._size)
        for number, (_, up) in enumerate(chunks, self._size):
            self._tree[number] = up
        for node in range(self._size - 1, 0, -1):
            self._tree[node] = max(self._tree[2 * node : 2 * node + 2])

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
