"""Sets of sequence numbers that are nearly contiguous, kept as ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class RangeSet:
    """A set of positive integers as ascending ranges that neither overlap nor touch.

    Adding the successor of the greatest element, which is what nearly always happens, costs no
    search.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add_range(first, last)

    def add(self, number: int) -> bool:
        """Add one number; False if it was there."""
        firsts, lasts = self._firsts, self._lasts
        if lasts and number == lasts[-1] + 1:
            lasts[-1] = number
            return True
        at = bisect_right(firsts, number)
        if at and number <= lasts[at - 1]:
            return False
        joins_before = at > 0 and lasts[at - 1] == number - 1
        joins_after = at < len(firsts) and firsts[at] == number + 1
        if joins_before and joins_after:
            lasts[at - 1] = lasts[at]
            del firsts[at], lasts[at]
        elif joins_before:
            lasts[at - 1] = number
        elif joins_after:
            firsts[at] = number
        else:
            firsts.insert(at, number)
            lasts.insert(at, number)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Add all from first to last, both included."""
        if last < first:
            return
        firsts, lasts = self._firsts, self._lasts
        # All ranges that overlap or touch [first, last] become one.
        low = bisect_right(lasts, first - 2)
        high = bisect_right(firsts, last + 1)
        if low < high:
            first, last = min(first, firsts[low]), max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]

    def __contains__(self, number: int) -> bool:
        if not self._lasts or number > self._lasts[-1]:
            return False
        at = bisect_right(self._firsts, number)
        return at > 0 and number <= self._lasts[at - 1]

    def __iter__(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and list(self) == list(other)

    # No `__len__`: `list()` would take it for the number of ranges and ask for that much memory.

    def count(self, first: int, last: int) -> int:
        """How many numbers from first to last it holds, both included."""
        firsts, lasts = self._firsts, self._lasts
        low, high = bisect_left(lasts, first), bisect_right(firsts, last)
        if low >= high:
            return 0
        inside = sum(lasts[low:high]) - sum(firsts[low:high]) + high - low
        return inside - max(0, first - firsts[low]) - max(0, lasts[high - 1] - last)

    def __repr__(self) -> str:
        return f"RangeSet({self.text()})"

    @property
    def last(self) -> int:
        """The greatest number; 0 if there is none."""
        return self._lasts[-1] if self._lasts else 0

    @property
    def contiguous(self) -> int:
        """All up to it are there, from 1; 0 if 1 is missing."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 1 else 0

    @property
    def whole(self) -> bool:
        """Nothing is missing between 1 and the greatest."""
        return not self._firsts or (self._firsts[0] == 1 and len(self._firsts) == 1)

    def beyond(self, limit: int) -> list[Range]:
        """The oldest `limit` ranges after the contiguous beginning."""
        skip = 1 if self.contiguous else 0
        end = skip + limit
        return list(zip(self._firsts[skip:end], self._lasts[skip:end], strict=True))

    def holes(self) -> list[Range]:
        """The ranges missing between 1 and the greatest."""
        before = 0
        holes = []
        for first, last in self:
            if first > before + 1:
                holes.append((before + 1, first - 1))
            before = last
        return holes

    def without(self, other: RangeSet) -> RangeSet:
        """What is here and not in the other."""
        result = RangeSet()
        cuts = list(other)
        at = 0
        for first, last in self:
            while at < len(cuts) and cuts[at][1] < first:
                at += 1
            look = at
            while first <= last and look < len(cuts) and cuts[look][0] <= last:
                result.add_range(first, cuts[look][0] - 1)
                first = cuts[look][1] + 1
                look += 1
            result.add_range(first, last)
        return result

    def text(self) -> str:
        """As the database keeps it: `1-500,502`."""
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self)

    @classmethod
    def parse(cls, text: str) -> RangeSet:
        """Back from `text()`."""
        result = cls()
        for part in text.split(",") if text else ():
            first, _, last = part.partition("-")
            result._firsts.append(int(first))
            result._lasts.append(int(last or first))
        return result
