"""Every state has words in every language, and all who show states take them from one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from agent.wire import ids
from host_tools.alerts.records import Alert
from host_tools.alerts.texts import step_of, trouble_words
from host_tools.common.i18n import LANGUAGES, _, speaking
from host_tools.field.talk.advice import advice, evidence_line
from host_tools.pages.visits import page_templates
from host_tools.report import texts
from host_tools.states import table
from host_tools.states.words import (
    LONG,
    next_step,
    on_site,
    state_sentence,
    state_word,
)
from host_tools.wire.vocabulary import CONNECTED, NO_DATA, OFF_AGENT, OFF_POWER, STATES
from tests.support import ROOT

REPORTED = [state.name for state in STATES]
ALL_STATES = [*REPORTED, CONNECTED, NO_DATA, OFF_AGENT, OFF_POWER, table.REVOKED, table.EMPTY]
# What the ladder ends at; the other states are rungs of evidence only.
OF_THE_LINK = [state.name for state in STATES if state.code <= ids.DOWN_BROKER]


def missing(texts_of: dict[str, table.StateText]) -> set[str]:
    """The states that lack something, in any language."""
    lacking = set()
    for state in ALL_STATES:
        entry = texts_of.get(state)
        if entry is None or entry.group not in table.GROUPS:
            lacking.add(state)
            continue
        steps = [step for step in (entry.step, entry.first, entry.many) if step is not None]
        said = [entry.word, entry.sentence, *(step.text for step in steps)]
        said += [step.who for step in steps]
        if state in OF_THE_LINK and state != "up":
            said.append(entry.on_site)
        if state in REPORTED and state not in ("up", "unknown"):
            said.append(entry.part)
        if not all(said):
            lacking.add(state)
        with speaking("id"):
            # "portal" may be the same in both; a sentence never is.
            if any(_(text) == text for text in said if " " in text):
                lacking.add(state)
    return lacking


def test_every_state_has_a_word_a_sentence_a_group_and_a_step_in_every_language():
    assert set(LANGUAGES) == {"en", "id"}
    assert missing(table.STATE_TEXTS) == set()
    assert set(table.STATE_TEXTS) == set(ALL_STATES)


def test_a_state_without_its_words_is_found():
    whole = table.STATE_TEXTS
    without = {state: text for state, text in whole.items() if state != "gateway"}
    assert missing(without) == {"gateway"}
    english = table.StateText("up", "up", "not translated", table.Step("nobody", "Nothing."))
    assert missing(whole | {"up": english}) == {"up"}


@pytest.mark.parametrize(
    ("state", "age", "others", "begins", "who"),
    [
        ("up", 9, 0, "Nothing", "nobody"),
        ("degraded", 9, 0, "Wait", "the office"),
        ("degraded", LONG, 0, "Call Icon+", "the office"),
        ("provider", 9, 0, "Call Icon+: the village's router", "the office"),
        ("provider", 9, 7, "Call Icon+ once for all: 7 other", "the office"),
        ("dns", 9, 0, "Let the village restart its router: the internet answers", "the office"),
        ("portal", 9, 0, "Call Icon+: the link shows a payment", "the office"),
        ("state_77", 9, 0, "Call Icon+", "the office"),
        ("gateway", 9, 0, "Call the village: the router", "the office"),
        ("power", 9, 0, "Wait", "the office"),
        ("power", LONG, 0, "Call the village", "the office"),
        ("agent", 9, 0, "Call the village: the measuring", "the office"),
        ("broker", 9, 0, "Call Icon+: the village has internet", "the office"),
        ("broker", 9, 5, "Check our own broker", "the server's administrator"),
        ("no_data", 9, 0, "Wait", "the office"),
        ("no_data", 9000, 0, "Call the village: is there power?", "the office"),
        ("no_data", None, 0, "Go there", "a technician"),
        ("unknown", 9, 0, "Wait: the device has just started", "nobody"),
        ("revoked", 9, 0, "Enrol", "a technician"),
        ("empty", None, 0, "Install", "a technician"),
    ],
)
def test_each_state_has_a_next_step_and_who_does_it(
    state: str, age: float | None, others: int, begins: str, who: str
):
    step = next_step(state, age, "Icon+", others)
    assert step.text.startswith(begins)
    assert step.who == who


def test_in_announced_maintenance_one_waits_unless_the_fault_is_ours():
    assert next_step("provider", 9, "", 0, "12:00").text.startswith("Wait: maintenance")
    assert "port" in next_step("broker", 9, "", 0, "12:00").text


def alert(state: str, scope: str = "slot", fallen: int = 1) -> Alert:
    return Alert(
        **dict.fromkeys(Alert.__dataclass_fields__, None)
        | {"state": state, "scope": scope, "value": "6403052003-1", "fallen": fallen}
    )


def test_pages_alerts_report_and_device_talk_say_what_the_table_says(monkeypatch):
    told = table.StateText(
        table.SITE,
        *("a word", "a sentence"),
        table.Step("somebody", "Do it."),
        part="a part",
        on_site="Look at it.",
    )
    monkeypatch.setitem(table.STATE_TEXTS, "gateway", told)
    assert page_templates().filters["state"]("gateway") == state_word("gateway") == "a word"
    assert trouble_words("gateway") == state_sentence("gateway") == "a sentence"
    assert step_of(alert("gateway"), None) == told.step == next_step("gateway", LONG)
    assert advice("gateway", "ok") == on_site("gateway") == "Look at it."
    assert evidence_line("gateway", "ok") == "a part: answers"
    monkeypatch.setitem(table.STATE_TEXTS, "power", told)
    assert texts.kinds()["power"] == "a sentence"


def test_an_alert_of_many_villages_without_a_way_to_us_is_ours():
    assert step_of(alert("broker"), None).text.startswith("Call the provider: the village has")
    assert step_of(alert("broker", "all", 9), None).text.startswith("Check our own broker")


def tables_of_states(root: Path) -> set[str]:
    """Files that hold words for several states beside the one table."""
    found = set()
    for path in sorted((root / "host_tools").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                worded = [v for v in node.values if isinstance(v, ast.Call)]
                if len(keys & {"gateway", "provider", "dns", "portal"}) > 2 and worded:
                    found.add(path.relative_to(root).as_posix())
    return found


def test_no_other_room_has_a_table_of_its_own():
    assert tables_of_states(ROOT) == {"host_tools/states/table.py"}
