"""Painting intervals from samples, outages and the times in which nothing ran."""

from hypothesis import given
from hypothesis import strategies as st

from host_tools.derive.timeline import merged, paint_boot
from host_tools.derive.timeline import paint as paint_slot
from host_tools.wire.vocabulary import NO_DATA, OFF_POWER

UP, PROVIDER, DNS, UNKNOWN = 1, 5, 6, 0


def paint(begin, end, samples, outages, offs, lost=()):
    """lost: the beginnings of outages whose end was not reported."""
    told = [(b, e, (cause, b not in lost)) for b, e, cause in sorted(outages)]
    return paint_slot(begin, end, [paint_boot(samples, told)], sorted(offs))


def test_nothing_is_no_data():
    assert paint(0, 100, [], [], []) == [(0, 100, NO_DATA)]


def test_only_what_a_sample_covers_is_up():
    assert paint(0, 300, [(60, 60, UP), (120, 60, UP)], [], []) == [
        (0, 60, NO_DATA),
        (60, 180, "up"),
        (180, 300, NO_DATA),
    ]


def test_seconds_lost_to_rounding_are_bridged_and_minutes_are_not():
    samples = [(0, 60, UP), (63, 60, UP), (200, 60, UP)]
    assert paint(0, 260, samples, [], []) == [
        (0, 123, "up"),
        (123, 200, NO_DATA),
        (200, 260, "up"),
    ]


def test_an_outage_is_true_to_the_second_within_samples_true_to_a_minute():
    samples = [(0, 60, UP), (60, 60, PROVIDER), (120, 60, PROVIDER), (180, 60, UP)]
    outage = (75, 200, "provider")
    assert paint(0, 240, samples, [outage], []) == [
        (0, 75, "up"),
        (75, 200, "provider"),
        (200, 240, "up"),
    ]


def test_an_outage_without_a_reported_end_is_known_only_where_there_are_samples():
    samples = [(0, 60, UP), (60, 60, PROVIDER), (240, 60, PROVIDER), (300, 60, UP)]
    outage = (75, 300, "provider")
    shown = [(0, 75, "up"), (75, 120, "provider"), (120, 240, NO_DATA), (240, 300, "provider")]
    assert paint(0, 300, samples, [outage], [], lost=[75]) == shown
    assert paint(0, 300, samples, [outage], [])[1:] == [(75, 300, "provider")]


def test_a_state_that_lags_behind_the_end_of_its_outage_is_not_another_outage():
    samples = [(0, 10, UP), (10, 10, PROVIDER), (20, 10, PROVIDER), (30, 10, UP)]
    assert paint(0, 40, samples, [(10, 20, "provider")], []) == [
        (0, 10, "up"),
        (10, 20, "provider"),
        (20, 40, "up"),
    ]


def test_an_outage_whose_events_are_lost_shows_in_the_samples():
    samples = [(0, 60, UP), (60, 60, DNS), (120, 60, UP)]
    assert paint(0, 180, samples, [], []) == [(0, 60, "up"), (60, 120, "dns"), (120, 180, "up")]


def test_a_link_that_is_not_known_yet_is_not_up():
    samples = [(0, 60, UNKNOWN), (60, 60, None), (120, 60, UP)]
    assert paint(0, 180, samples, [], []) == [(0, 120, "unknown"), (120, 180, "up")]


def test_samples_prove_that_the_power_was_there():
    offs = [(30, 200, OFF_POWER)]
    assert paint(0, 240, [(0, 60, UP), (190, 50, UP)], [], offs) == [
        (0, 60, "up"),
        (60, 190, OFF_POWER),
        (190, 240, "up"),
    ]


SPAN = st.tuples(st.integers(0, 300), st.integers(1, 80))


@given(
    st.lists(st.tuples(SPAN, st.sampled_from([UP, PROVIDER, DNS, UNKNOWN, None])), max_size=8),
    st.lists(st.tuples(SPAN, st.sampled_from(["provider", "dns"])), max_size=4),
    st.lists(SPAN, max_size=3),
    st.booleans(),
)
def test_every_second_has_one_state_and_up_only_under_a_sample(samples, outages, offs, ended):
    sampled = [(t, step, state) for (t, step), state in sorted(samples, key=lambda s: s[0])]
    told = [(b, b + d, cause) for (b, d), cause in outages]
    lost = () if ended else [begin for begin, _, _ in told]
    painted = paint(0, 400, sampled, told, [(b, b + d, OFF_POWER) for b, d in offs], lost)
    assert painted == merged(painted)
    assert painted[0][0] == 0 and painted[-1][1] == 400
    assert all(a[1] == b[0] for a, b in zip(painted, painted[1:], strict=False))
    state = {second: name for begin, end, name in painted for second in range(begin, end)}
    covered = {second for t, step, _ in sampled for second in range(t, t + step)}
    for begin, end, _ in told:
        for second in range(begin, end):
            if ended or second in covered:
                assert state[second] in ("provider", "dns")
    covered |= {second for t, step, _ in sampled for second in range(t + step, t + step + 10)}
    assert all(second in covered for second, name in state.items() if name == "up")
