"""The ladder over simulated links: what is an outage, what it is called, and what is none."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.link.outages import Outages
from agent.link.quality import Quality
from agent.wire import ids
from tests.lab.simulated import ROUND_S, TARGETS, Village, installed, run


def _village(**features: object) -> Village:
    """A link without loss, with the features given."""
    village = Village(random.Random(1))
    village.loss, village.rtt = 0.0, 450
    village.silent_router = village.silent_broker = False
    village.dead_target = None
    for name, value in features.items():
        assert hasattr(village, name)
        setattr(village, name, value)
    return village


def _play(
    village: Village, times: Iterable[tuple[int, set[str]]], **settings: object
) -> list[tuple[int, int, dict]]:
    """Let faults last for so many rounds each, in turn; all events. settings: of `link`."""
    events = []
    now = 0
    with installed(village, {f"link.{key}": value for key, value in settings.items()}) as ladder:
        for rounds, faults in times:
            for _ in range(rounds):
                village.advance(now, frozenset(faults))
                events += run(ladder.round())
                now += ROUND_S
    return events


def _outages(
    village: Village, times: Iterable[tuple[int, set[str]]], **settings: object
) -> list[tuple[int, int, int]]:
    """(cause, begin, end) of outages."""
    return [
        (detail[1], when - detail[3], when)
        for kind, when, detail in _play(village, times, **settings)
        if kind == ids.OUTAGE_ENDED
    ]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("no carrier", ids.DOWN_INTERFACE),
        ("no address", ids.DOWN_INTERFACE),
        ("router frozen", ids.DOWN_GATEWAY),
        ("provider down", ids.DOWN_PROVIDER),
        ("portal", ids.DOWN_PORTAL),
        ("DNS dead", ids.DOWN_DNS),
        ("DNS dead behind the router", ids.DOWN_DNS),
        ("DNS fails", ids.DOWN_DNS),
        ("DNS wrong", ids.DOWN_DNS),
        ("DNS hijacked", ids.DOWN_DNS),
        ("TLS intercepted", ids.DOWN_TLS),
        ("broker down", ids.DOWN_BROKER),
        ("broker gone", ids.DOWN_BROKER),
    ],
)
def test_each_fault_is_one_outage_with_its_own_cause_true_to_30_s(fault, cause):
    ((told, begin, end),) = _outages(_village(), [(12, set()), (30, {fault}), (12, set())])
    assert told == cause
    assert 120 <= begin <= 150
    assert 420 <= end <= 450


@pytest.mark.parametrize(
    "fault", ["DNS dead behind the router", "DNS fails", "DNS wrong", "DNS hijacked"]
)
def test_a_fault_that_only_dns_shows_begins_within_60_s_whenever_it_comes(fault):
    for rounds in range(12, 18):
        ((cause, begin, end),) = _outages(
            _village(), [(rounds, set()), (30, {fault}), (12, set())]
        )
        assert cause == ids.DOWN_DNS
        assert 0 <= begin - 10 * rounds <= 50  # and what passes until the next round
        assert end == 10 * rounds + 300


def test_a_dead_name_server_gives_the_name_also_where_the_broker_fails_with_it():
    for rounds in range(12, 18):
        times = [(rounds, set()), (30, {"DNS dead", "broker down"}), (12, set())]
        assert [cause for cause, _, _ in _outages(_village(), times)] == [ids.DOWN_DNS]


def _evidence(village: Village, fault: str) -> list[list[int]]:
    for kind, _, detail in _play(village, [(12, set()), (12, {fault})]):
        if kind == ids.OUTAGE_BEGAN:
            return detail[2]
    raise AssertionError("no outage")


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ("DNS dead", ids.PROBE_TIMEOUT),
        ("DNS fails", ids.PROBE_SERVER_FAILED),
        ("DNS wrong", ids.PROBE_NO_NAME),
        ("DNS hijacked", ids.PROBE_BAD_ANSWER),
    ],
)
def test_the_ways_in_which_a_name_server_fails_are_told_apart(fault, result):
    evidence = _evidence(_village(), fault)
    assert [ids.DOWN_DNS, result] in evidence
    assert [ids.RUNG_OTHER_DNS, ids.PROBE_OK] in evidence


def test_the_evidence_of_a_dead_provider_says_how_far_the_way_goes():
    evidence = _evidence(_village(), "provider down")
    assert [ids.RUNG_NEXT_HOP, ids.PROBE_OK] in evidence


@pytest.mark.parametrize("features", [{"silent_router": True}, {"dead_target": TARGETS[1]}])
def test_what_does_not_answer_while_things_beyond_it_do_is_no_outage(features):
    village = _village(loss=0.01, **features)
    assert _outages(village, [(720, set())]) == []


def test_a_dead_target_is_not_counted_as_loss():
    village = _village(dead_target=TARGETS[0])
    row: dict[int, int] = {}
    with installed(village) as ladder:
        for number in range(60):
            village.advance(number * ROUND_S, frozenset())
            run(ladder.round())
        ladder.put(row)
    assert row[ids.LOSS] == 0


def test_a_wrong_clock_is_not_called_an_interception():
    times = [(12, set()), (30, {"clock"}), (12, set())]
    assert [cause for cause, _, _ in _outages(_village(), times)] == [ids.DOWN_BROKER]
    assert [ids.RUNG_CLOCK, ids.PROBE_BAD_ANSWER] in _evidence(_village(), "clock")


def test_loss_and_delay_degrade_the_link_and_say_which():
    for fault, reason in (("loss", ids.PROBE_LOST), ("delay", ids.PROBE_SLOW)):
        village = _village(heavy_loss=0.4)
        events = _play(village, [(30, set()), (60, {fault}), (60, set())])
        (_, begin, began), (_, end, ended) = events
        assert began[1] == ended[1] == ids.DEGRADED
        assert began[2] == [[ids.DEGRADED, reason]]
        assert abs(begin - 300) <= 60
        assert abs(end - 900) <= 30


def test_an_outage_within_a_degraded_time_keeps_its_own_begin():
    village = _village(heavy_loss=0.4)
    times = [(30, set()), (30, {"loss"}), (12, {"loss", "provider down"}), (60, set())]
    found = _outages(village, times)
    assert [cause for cause, _, _ in found] == [ids.DEGRADED, ids.DOWN_PROVIDER]
    assert found[0][2] == found[1][1] == 600


# ---- a portal that lets all but plain HTTP pass ----------------------------------------------


class _Looks:
    """Villages whose page answers as scripted, once each time it is looked at; then it comes."""

    def __init__(self, answers: Iterable[int | None] = ()) -> None:
        self.answers = list(answers)
        self.count = 0
        self.village = _village(walled=False)
        self.village.page = self._page  # type: ignore[method-assign]

    async def _page(self, page: str, timeout_ms: int, fresh: bool) -> int | None:
        self.count += 1
        return self.answers.pop(0) if self.answers else ids.PROBE_OK


@pytest.mark.parametrize("rounds", [12, 13])
def test_a_portal_that_stops_plain_http_only_is_told_as_any_other_outage(rounds):
    times = [(rounds, set()), (30, {"portal"}), (12, set())]
    ((told, begin, end),) = _outages(_village(walled=False), times)
    assert told == ids.DOWN_PORTAL
    assert 0 <= begin - rounds * 10 <= 10
    assert end - rounds * 10 == 300


@pytest.mark.parametrize(("seconds", "late"), [(5, 0), (10, 0), (20, 10), (60, 50), (280, 270)])
def test_how_late_it_may_begin_is_a_setting(seconds: int, late: int):
    begins = []
    for rounds in range(40, 70):
        times = [(rounds, set()), (60, {"portal"}), (2, set())]
        ((_, begin, end),) = _outages(_village(walled=False), times, portal_s=seconds)
        begins.append(begin - rounds * 10)
        assert end == rounds * 10 + 600
    assert (min(begins), max(begins)) == (0, late)


def test_while_nothing_is_wrong_a_look_is_made_every_portal_s_and_at_a_portal_every_round():
    looks = _Looks()
    _play(looks.village, [(60, set())])
    assert looks.count == 30
    looks = _Looks()
    _play(looks.village, [(60, set())], portal_s=300)
    assert looks.count == 2
    looks = _Looks([ids.PROBE_BAD_ANSWER] * 20)
    _play(looks.village, [(20, set())], portal_s=300)
    assert looks.count == 20
    looks = _Looks()
    _play(looks.village, [(60, set())], portal=None)
    assert looks.count == 0


def test_after_a_lost_check_the_next_round_checks_again_but_not_for_ever():
    looks = _Looks([ids.PROBE_OK, None, None, ids.PROBE_OK])
    _play(looks.village, [(34, set())], portal_s=280)
    assert looks.count == 4
    looks = _Looks([None] * 10)
    _play(looks.village, [(56, set())], portal_s=280)
    assert looks.count == 4


def test_neither_silence_nor_a_single_wrong_answer_is_a_portal():
    bad = ids.PROBE_BAD_ANSWER
    for answers in ([None] * 20, [bad], [bad, None], [bad, None, None, None], [None, bad, None]):
        assert _play(_Looks(answers).village, [(60, set())]) == []


def test_a_page_that_falls_silent_for_good_ends_a_portal():
    answers = [ids.PROBE_BAD_ANSWER] * 10 + [None] * 60
    ((cause, begin, end),) = _outages(_Looks(answers).village, [(60, set())])
    assert (cause, begin, end) == (ids.DOWN_PORTAL, 0, 120)


_LOST = st.lists(st.integers(0, 2), min_size=2, max_size=30)


@given(_LOST, st.integers(0, 3))
def test_looks_that_are_lost_never_make_a_portal_come_and_go(lost: list[int], quiet: int):
    """Between two wrong answers up to two looks are lost."""
    answers: list[int | None] = [ids.PROBE_OK] * quiet + [ids.PROBE_BAD_ANSWER] * 2
    for number in lost:
        answers += [None] * number + [ids.PROBE_BAD_ANSWER]
    rounds = 2 * quiet + 2 + sum(lost) + len(lost)
    ((cause, begin, end),) = _outages(_Looks(answers).village, [(rounds + 12, set())])
    assert (cause, begin) == (ids.DOWN_PORTAL, 20 * quiet)
    assert end == 10 * rounds


@pytest.mark.parametrize("walled", [False, True])
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("no carrier", ids.DOWN_INTERFACE),
        ("router frozen", ids.DOWN_GATEWAY),
        ("provider down", ids.DOWN_PROVIDER),
        ("DNS dead", ids.DOWN_DNS),
        ("DNS hijacked", ids.DOWN_DNS),
        ("TLS intercepted", ids.DOWN_TLS),
        ("broker down", ids.DOWN_BROKER),
    ],
)
def test_a_portal_and_another_outage_follow_each_other_without_a_gap(fault, cause, walled):
    for times, causes in (
        ([(12, set()), (12, {"portal"}), (24, {fault}), (12, set())], [ids.DOWN_PORTAL, cause]),
        ([(12, set()), (12, {fault}), (24, {"portal"}), (12, set())], [cause, ids.DOWN_PORTAL]),
    ):
        (first, begin, middle), (second, again, end) = _outages(_village(walled=walled), times)
        assert [first, second] == causes
        assert 120 <= begin <= 150
        assert middle == again and 240 <= middle <= 270
        assert 480 <= end <= 510


def test_what_was_a_portal_before_another_outage_is_none_after_it():
    looks = _Looks([ids.PROBE_BAD_ANSWER] * 10 + [None] * 6)
    times = [(10, set()), (12, {"no carrier"}), (40, set())]
    assert [c for c, _, _ in _outages(looks.village, times)] == [
        ids.DOWN_PORTAL,
        ids.DOWN_INTERFACE,
    ]


# ---- jitter --------------------------------------------------------------------------------


def test_jitter_is_that_of_rfc_3550_and_kept_apart_by_target():
    quality = Quality(100, 0)
    transits = [400, 480, 430, 430, 900, 410, 415]
    jitter = 0.0
    for number, value in enumerate(transits):
        quality.probe(number, 0, value)
        quality.probe(number, 1, 9000)  # far away, and steady
        if number:
            jitter += (abs(value - transits[number - 1]) - jitter) / 16
            jitter += (0 - jitter) / 16
    row: dict[int, int] = {}
    quality.put(row)
    assert abs(row[ids.JITTER] * 5 - jitter) <= 4  # tenths; told in halves


# ---- the state machine, fed with what is known late ------------------------------------------

_RESULTS = st.sampled_from([ids.UP, ids.UP, ids.DEGRADED, ids.DOWN_PROVIDER, ids.DOWN_DNS])
_ROUNDS = st.lists(st.tuples(_RESULTS, st.one_of(st.none(), st.integers(0, 300))), max_size=120)


@given(_ROUNDS, st.integers(1, 4), st.integers(1, 4))
def test_outages_known_late_never_overlap_oscillate_or_get_lost(rounds, fall, rise):
    machine = Outages(fall=fall, rise=rise)
    open_since = None
    last = -1
    events = 0
    changes = 0
    before = None
    for number, (result, late) in enumerate(rounds):
        now = 1000 + number * ROUND_S
        since = None if late is None else now - late
        changes += result != before
        before = result
        for kind, at, detail in machine.feed(now, result, [], since):
            events += 1
            assert at <= now
            if kind == ids.OUTAGE_BEGAN:
                assert open_since is None and at >= last
                open_since = at, detail[1]
            else:
                assert open_since == (at - detail[3], detail[1])
                assert detail[3] > 0
                open_since = None
            last = at
    assert (open_since is not None) == (machine.state > ids.UP)
    # A round that agrees with the one before it never causes more than one change of state.
    assert events <= 2 * changes
    steady = rounds[-max(fall, rise) :]
    if len(steady) == max(fall, rise) and len({result for result, _ in steady}) == 1:
        assert machine.state == steady[0][0]
