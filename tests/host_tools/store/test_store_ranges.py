"""Sets of seqs as ranges."""

from hypothesis import given
from hypothesis import strategies as st

from host_tools.store.ranges import RangeSet

SEQS = st.lists(st.integers(1, 60), max_size=60)
SPANS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 12)), max_size=12)


def members(ranges: RangeSet) -> set[int]:
    return {seq for first, last in ranges for seq in range(first, last + 1)}


def check(ranges: RangeSet, expected: set[int]) -> None:
    assert members(ranges) == expected
    for first, last in ((1, 80), (7, 30), (13, 13)):
        assert ranges.count(first, last) == sum(first <= seq <= last for seq in expected)
    spans = list(ranges)
    assert all(b[0] > a[1] + 1 for a, b in zip(spans, spans[1:], strict=False))
    assert all((seq in ranges) == (seq in expected) for seq in range(0, 80))
    assert ranges.last == max(expected, default=0)
    contiguous = next(seq for seq in range(1, 90) if seq not in expected) - 1
    assert ranges.contiguous == contiguous
    assert members(RangeSet(ranges.holes())) == set(range(1, ranges.last)) - expected
    assert ranges.whole == (not ranges.holes())
    assert members(RangeSet(ranges.beyond(99))) == {s for s in expected if s > contiguous}
    assert RangeSet.parse(ranges.text()) == ranges


@given(SEQS)
def test_it_holds_what_was_added_in_any_order(seqs):
    ranges, seen = RangeSet(), set()
    for seq in seqs:
        assert ranges.add(seq) == (seq not in seen)
        seen.add(seq)
    check(ranges, seen)


@given(SPANS, SEQS)
def test_ranges_and_single_numbers_mix(spans, seqs):
    ranges = RangeSet((first, first + more) for first, more in spans)
    for seq in seqs:
        ranges.add(seq)
    check(ranges, set(seqs) | {s for first, more in spans for s in range(first, first + more + 1)})


@given(SPANS, SPANS)
def test_without_is_the_difference(spans, others):
    left = RangeSet((first, first + more) for first, more in spans)
    right = RangeSet((first, first + more) for first, more in others)
    check(left.without(right), members(left) - members(right))


def test_only_the_oldest_ranges_are_told():
    ranges = RangeSet([(1, 3), (5, 5), (7, 9), (11, 11)])
    assert ranges.beyond(2) == [(5, 5), (7, 9)]
    assert RangeSet([(2, 3), (5, 5)]).beyond(1) == [(2, 3)]


def test_holes_of_billions_cost_no_more_than_small_ones():
    last = 2**32 - 1
    ranges = RangeSet([(1, 1), (2**31, 2**31), (last, last)])
    holes = RangeSet(ranges.holes())
    assert list(holes) == [(2, 2**31 - 1), (2**31 + 1, last - 1)]
    assert list(holes.without(RangeSet([(5, last)]))) == [(2, 4)]
    assert holes.count(1, last) == last - 3 and holes.count(2**31, 2**31 + 10) == 10
