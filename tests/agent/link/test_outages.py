"""The state machine between rounds of probes and outages."""

from hypothesis import given
from hypothesis import strategies as st

from agent.link.outages import Outages
from agent.wire import ids

ROUND_S = 10


def run(results, **options):
    """Feed one result a round; the events as (kind, time, detail without evidence)."""
    machine = Outages(**options)
    events = []
    for i, result in enumerate(results):
        for kind, at, detail in machine.feed(i * ROUND_S, result, [[result, 1]]):
            events.append((kind, at, {k: v for k, v in detail.items() if k != 2}))
    return machine, events


U, G, P = ids.UP, ids.DOWN_GATEWAY, ids.DOWN_PROVIDER


def test_an_outage_begins_at_its_first_bad_round_and_ends_at_the_first_good_one():
    _, events = run([U, U, U, P, P, P, P, U, U, U])
    assert events == [
        (ids.OUTAGE_BEGAN, 30, {1: P}),
        (ids.OUTAGE_ENDED, 70, {1: P, 3: 40}),
    ]


def test_a_single_bad_round_is_no_outage():
    _, events = run([U, U, P, U, U, G, U, U])
    assert events == []


def test_a_village_that_is_down_from_the_start_says_so():
    machine, events = run([P, P])
    assert events == [(ids.OUTAGE_BEGAN, 0, {1: P})]
    assert machine.state == P


def test_coming_up_from_unknown_is_no_event():
    machine, events = run([U, U])
    assert events == []
    assert machine.state == U


def test_flapping_is_one_outage_with_a_count():
    _, events = run([U, U, P, P, U, P, P, U, P, P, U, U])
    assert events == [
        (ids.OUTAGE_BEGAN, 20, {1: P}),
        (ids.OUTAGE_ENDED, 100, {1: P, 3: 80, 4: 2}),
    ]


def test_another_cause_ends_one_outage_and_begins_the_next_at_the_same_instant():
    _, events = run([U, U, P, P, G, G, G, U, U])
    assert events == [
        (ids.OUTAGE_BEGAN, 20, {1: P}),
        (ids.OUTAGE_ENDED, 40, {1: P, 3: 20}),
        (ids.OUTAGE_BEGAN, 40, {1: G}),
        (ids.OUTAGE_ENDED, 70, {1: G, 3: 30}),
    ]


def test_causes_that_alternate_are_still_an_outage():
    _, events = run([U, U, P, G, P, G, P, G, U, U])
    kinds = [e[0] for e in events]
    assert kinds == [ids.OUTAGE_BEGAN, ids.OUTAGE_ENDED]
    assert events[0][1] == 20 and events[1][1] == 80


RESULTS = st.lists(st.sampled_from([U, U, U, G, P, ids.DOWN_DNS, ids.DOWN_BROKER]), max_size=120)


@given(RESULTS, st.integers(1, 4), st.integers(1, 4))
def test_outages_never_overlap_and_none_is_lost(results, fall, rise):
    machine, events = run(results, fall=fall, rise=rise)
    open_since = None
    last_end = 0
    for kind, at, detail in events:
        if kind == ids.OUTAGE_BEGAN:
            assert open_since is None
            assert at >= last_end
            open_since = at, detail[1]
        else:
            assert open_since is not None
            assert open_since[1] == detail[1]
            assert at - detail[3] == open_since[0]
            assert detail[3] > 0
            open_since, last_end = None, at
    assert (open_since is not None) == (machine.state > ids.UP)
    # Whatever was bad for `fall` rounds on end lies in an outage.
    spans = []
    began = None
    for kind, at, _detail in events:
        if kind == ids.OUTAGE_BEGAN:
            began = at
        else:
            spans.append((began, at))
            began = None
    if began is not None:
        spans.append((began, float("inf")))
    for i in range(len(results) - fall + 1):
        if all(r > U for r in results[i : i + fall]):
            assert any(a <= i * ROUND_S < b for a, b in spans)
    # And whatever was good for `rise` rounds on end lies in none.
    for i in range(len(results) - rise + 1):
        if all(r == U for r in results[i : i + rise]):
            assert not any(a <= (i + rise - 1) * ROUND_S < b for a, b in spans)
