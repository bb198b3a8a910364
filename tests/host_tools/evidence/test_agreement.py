"""The two programs count every month alike: `desalink` and docs/verify_evidence.py."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from host_tools.contracts.accounting import account
from host_tools.contracts.calendar import month_of
from host_tools.contracts.closing import as_json
from host_tools.contracts.months import MonthUsage, SlotMonth
from host_tools.contracts.rules import EXCLUDABLE, first_text, read_rules
from host_tools.contracts.table import contract_id
from host_tools.evidence.recount import dumped
from host_tools.province.contract_records import Contract, ContractEvent
from host_tools.province.records import Village
from tests.host_tools.evidence.conftest import verify_evidence

SLOT = "6403112001-1"
OCTOBER = month_of("2026-10")
B, E = OCTOBER.begin, OCTOBER.end
VILLAGE = Village(SLOT[:10], "", "", "")
RULES = first_text()
STATES = ("up", "degraded", "provider", "dns", "gateway", "power", "agent", "no_data")

moments = st.integers(B - 7200, E + 7200) | st.sampled_from([B, E, B + 86_400, B + 86_700])
spans = st.tuples(moments, moments).filter(lambda s: s[0] < s[1])
kinds = st.sets(st.sampled_from(EXCLUDABLE)).map(lambda s: tuple(sorted(s)))
hours = st.none() | st.tuples(st.integers(0, 12), st.integers(13, 24)).map(
    lambda h: (h[0] * 3600, h[1] * 3600)
)


@st.composite
def timelines(draw: st.DrawFn) -> list[tuple[int, int, str]]:
    edges = sorted(draw(st.sets(moments, max_size=14)))
    found = [
        (max(a, B), min(b, E), draw(st.sampled_from(STATES)))
        for a, b in zip(edges, edges[1:], strict=False)
        if draw(st.booleans())
    ]
    return [span for span in found if span[0] < span[1]]


@st.composite
def contracts(draw: st.DrawFn) -> list[Contract]:
    edges = sorted(draw(st.sets(moments, max_size=4)))
    return [
        Contract(
            *(SLOT, draw(st.sampled_from(["A", "B"])), "p", "m", 50),
            *(draw(st.integers(1, 10**7)), draw(st.integers(500_000, 1_000_000))),
            *(draw(kinds), draw(hours), a, b),
        )
        for a, b in zip(edges, edges[1:], strict=False)
        if draw(st.booleans())
    ]


scopes = st.sampled_from(
    [
        ("all", ""),
        ("provider", "A"),
        ("regency", "6403"),
        ("slot", SLOT),
        ("village", "6402112001"),
    ]
)
events = st.lists(
    st.tuples(st.sampled_from(["maintenance", "force_majeure", "dispute"]), scopes, spans),
    max_size=4,
)


@given(timelines(), contracts(), events, st.sampled_from(["shortfall", "downtime"]))
def test_both_give_a_slot_the_same_figures(
    timeline: list[tuple[int, int, str]],
    its: list[Contract],
    happened: Sequence[tuple[str, tuple[str, str], tuple[int, int]]],
    formula: str,
):
    text = RULES.replace('formula = "shortfall"', f'formula = "{formula}"')
    own = [
        ContractEvent(str(n), kind, *scope, *span, "", "", 0)
        for n, (kind, scope, span) in enumerate(happened)
    ]
    pieces = account(OCTOBER, SLOT, timeline, its, own, read_rules(text, "mine"))
    ours = as_json(SlotMonth(SLOT, VILLAGE, pieces, MonthUsage(), timeline, own))["pieces"]
    bodies = [
        verify_evidence.contract(
            {
                **{"slot": c.slot, "provider": c.provider, "product": c.product},
                **{"medium": c.medium, "mbps": c.mbps, "price": c.price},
                **{"target_ppm": c.target_ppm, "number": c.number},
                **{"excluded": ",".join(c.excluded), "t_begin": c.begin, "t_end": c.end},
                "opens": c.hours and c.hours[0],
                "closes": c.hours and c.hours[1],
            }
        )
        for c in its
    ]
    assert [body["id"] for body in bodies] == [contract_id(c) for c in its]
    rows = [
        {"kind": e.kind, "scope": e.scope, "value": e.value, "t_begin": e.begin, "t_end": e.end}
        for e in own
    ]
    rules = tomllib.loads(text)
    theirs = verify_evidence.pieces_of(SLOT, timeline, (B, E), bodies, rows, rules)
    assert json.loads(dumped(theirs)) == json.loads(dumped(ours))
