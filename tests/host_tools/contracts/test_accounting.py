"""A slot's month: every second has one kind, and the money follows from them."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.contracts.accounting import account
from host_tools.contracts.calendar import Month, before, month_at, month_of
from host_tools.contracts.rules import EXCLUDABLE, KINDS, first_text, read_rules
from host_tools.province.contract_records import Contract, ContractEvent

SLOT = "6403112001-1"
RULES = read_rules(first_text(), "rules 1")
OCTOBER = month_of("2026-10")
B, E = OCTOBER.begin, OCTOBER.end
CONTRACT = Contract(
    SLOT,
    "Comtelindo",
    "Desa 50",
    "radio",
    50,
    1_150_000,
    990_000,
    tuple(sorted(EXCLUDABLE)),
    None,
    B,
    E,
)


def event(
    kind: str, begin: int, end: int, scope: str = "slot", value: str = SLOT
) -> ContractEvent:
    return ContractEvent("00", kind, scope, value, begin, end, "Rina", "announced", begin)


def piece_of(timeline, contract=CONTRACT, events=(), rules=RULES):
    (piece,) = account(OCTOBER, SLOT, timeline, [contract], list(events), rules)
    assert sum(piece.seconds.values()) == E - B
    return piece


class TestCalendar:
    def test_a_month_begins_and_ends_at_midnight_in_wita(self):
        assert (B, E) == (1790784000, 1793462400)
        assert OCTOBER.days == 31 and month_of("2028-02").days == 29
        assert month_at(B) == OCTOBER == month_at(E - 1)
        assert before(month_of("2027-01")) == month_of("2026-12")


class TestKinds:
    def test_what_nobody_reported_is_unknown_and_never_up(self):
        piece = piece_of([])
        assert piece.seconds == {"unknown": E - B}
        assert piece.availability is None and (piece.best, piece.worst) == (1, 0)
        assert piece.restitution == 0

    def test_an_outage_at_the_threshold_is_not_charged_one_beyond_it_is_whole(self):
        piece = piece_of([(B, B + 300, "provider"), (B + 300, E, "up")])
        assert piece.seconds == {"short": 300, "up": E - B - 300}
        assert piece.availability == 1 and piece.charged == []
        piece = piece_of([(B, B + 301, "provider"), (B + 301, E, "up")])
        assert piece.seconds == {"down": 301, "up": E - B - 301}
        assert piece.availability == Fraction(E - B - 301, E - B)

    def test_an_outage_that_changes_its_cause_is_one(self):
        piece = piece_of([(B, B + 200, "dns"), (B + 200, B + 400, "provider"), (B + 400, E, "up")])
        (outage,) = piece.charged
        assert (outage.begin, outage.end, outage.causes) == (
            B,
            B + 400,
            {"dns": 200, "provider": 200},
        )

    @pytest.mark.parametrize("state", ["power", "agent", "gateway", "interface", "clock"])
    def test_what_is_not_the_providers_leaves_the_availability_as_it_is(self, state):
        piece = piece_of([(B, B + 90_000, state), (B + 90_000, E, "up")])
        assert piece.availability == 1 and piece.seconds["down"] == 0

    def test_a_contract_may_charge_power_cuts(self):
        contract = replace(CONTRACT, excluded=("maintenance",))
        piece = piece_of([(B, B + 90_000, "power"), (B + 90_000, E, "up")], contract)
        assert piece.seconds["down"] == 90_000 and piece.causes == {"power": 90_000}

    def test_the_provinces_own_broker_is_no_outage_of_the_provider(self):
        assert piece_of([(B, E, "broker")]).availability == 1

    def test_maintenance_takes_out_what_was_not_up(self):
        timeline = [(B, B + 7200, "up"), (B + 7200, B + 14_400, "provider"), (B + 14_400, E, "up")]
        piece = piece_of(timeline, events=[event("maintenance", B, B + 10_800)])
        assert piece.seconds["maintenance"] == 3600 and piece.seconds["down"] == 3600
        assert piece.charged[0].seconds == 3600

    def test_events_of_others_disputes_and_withdrawn_ones_change_nothing(self):
        timeline = [(B, B + 7200, "provider"), (B + 7200, E, "up")]
        wrong = [
            event("maintenance", B, E, "slot", "6403112002-1"),
            event("maintenance", B, E, "provider", "Icon+"),
            event("dispute", B, E),
            replace(event("maintenance", B, E), withdrawn_at=B),
        ]
        assert piece_of(timeline, events=wrong).seconds["down"] == 7200
        right = [("all", ""), ("regency", "6403"), ("village", SLOT[:10])]
        for scope, value in [*right, ("provider", "Comtelindo")]:
            its = event("force_majeure", B, E, scope, value)
            assert piece_of(timeline, events=[its]).seconds["force_majeure"] == 7200

    def test_only_the_hours_of_service_count(self):
        contract = replace(CONTRACT, hours=(6 * 3600, 22 * 3600))
        piece = piece_of([(B, E, "provider")], contract)
        assert piece.seconds == {"down": 31 * 16 * 3600, "off_hours": 31 * 8 * 3600}

    def test_a_change_of_provider_cuts_the_month_in_two(self):
        noon = B + 10 * 86_400
        old, new = replace(CONTRACT, end=noon), replace(CONTRACT, provider="Icon+", begin=noon)
        timeline = [
            (B, noon - 200, "up"),
            (noon - 200, noon + 400, "provider"),
            (noon + 400, E, "up"),
        ]
        first, second = account(OCTOBER, SLOT, timeline, [new, old], [], RULES)
        assert (first.seconds["short"], second.seconds["down"]) == (200, 400)
        assert first.price + second.price == 1_150_000

    def test_time_without_a_contract_is_counted_and_costs_nothing(self):
        piece, rest = account(OCTOBER, SLOT, [], [replace(CONTRACT, end=B + 86_400)], [], RULES)
        assert rest.contract is None and rest.price == rest.restitution == 0
        assert piece.length + rest.length == E - B


class TestRestitution:
    def test_the_shortfall_below_the_target_is_paid_back(self):
        # 2 % down against 99 %: 1 % of 1,150,000.
        down = (E - B) // 50
        piece = piece_of([(B, B + down, "provider"), (B + down, E, "up")])
        assert piece.restitution == 11_500

    def test_by_downtime_if_the_rules_say_so(self):
        text = first_text().replace('formula = "shortfall"', 'formula = "downtime"')
        down = (E - B) // 50
        piece = piece_of(
            [(B, B + down, "provider"), (B + down, E, "up")], rules=read_rules(text, "mine")
        )
        assert piece.restitution == 23_000

    def test_nothing_at_the_target(self):
        down = (E - B) // 100
        assert piece_of([(B, B + down, "provider"), (B + down, E, "up")]).restitution == 0


# ---- a second calculation: second by second, sharing no code -----------------------------

SHORT_MONTH = Month("2026-10", B, B + 3000)
STATES = ["up", "provider", "dns", "power", "gateway", "no_data", "agent", "broker"]
MEANING = {"up": "up", "broker": "up", "provider": "down", "dns": "down", "power": "power"}
MEANING |= {"gateway": "site", "agent": "agent", "no_data": "unknown"}


@st.composite
def timelines(draw):
    edges = sorted(draw(st.sets(st.integers(0, 3000), max_size=12)))
    spans = zip(edges, edges[1:], strict=False)
    return [(B + a, B + b, draw(st.sampled_from(STATES))) for a, b in spans if draw(st.booleans())]


windows = st.lists(
    st.tuples(
        st.sampled_from(["maintenance", "force_majeure"]),
        st.integers(0, 3000),
        st.integers(1, 900),
    ),
    max_size=4,
)


@given(timelines(), windows, st.sets(st.sampled_from(EXCLUDABLE)))
def test_it_agrees_with_a_count_second_by_second(timeline, chosen, excluded):
    contract = replace(CONTRACT, excluded=tuple(excluded), begin=B, end=B + 3000)
    events = [event(kind, B + at, B + at + length) for kind, at, length in chosen]
    (piece,) = account(SHORT_MONTH, SLOT, timeline, [contract], events, RULES)
    meanings = ["unknown"] * 3000
    for begin, end, state in timeline:
        meanings[begin - B : end - B] = [MEANING[state]] * (end - begin)
    counted = Counter()
    at = 0
    while at < 3000:
        end = at
        while end < 3000 and meanings[end] == meanings[at]:
            end += 1
        meaning = meanings[at]
        kind = meaning
        if meaning == "down" or (meaning in EXCLUDABLE and meaning not in excluded):
            kind = "down" if end - at > 300 else "short"
        for second in range(at, end):
            its = kind
            if meaning != "up":
                for name in ("maintenance", "force_majeure"):
                    if name in excluded and any(
                        k == name and a <= second < a + n for k, a, n in chosen
                    ):
                        its = name
            counted[its] += 1
        at = end
    assert piece.seconds == counted
    assert set(piece.seconds) <= set(KINDS)
