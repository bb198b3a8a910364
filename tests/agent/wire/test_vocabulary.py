"""The agent writes the numbers that the vocabulary explains, and so does the page."""

from pathlib import Path

from agent.wire import ids, ids_seldom
from host_tools.wire import metrics_page, vocabulary


def test_the_agents_numbers_and_the_vocabulary_are_equal():
    expected = {m.name.upper(): m.id for m in vocabulary.METRICS}
    for term in vocabulary.STATES:
        name = term.name.upper()
        prefix = "" if term.code < 3 else "DOWN_" if term.code < 10 else "RUNG_"
        expected[prefix + name] = term.code
    expected |= {t.name.upper(): t.code for t in vocabulary.EVENTS}
    for prefix, terms in (
        ("CLOCK", vocabulary.CLOCK_SOURCES),
        ("RESET", vocabulary.RESET_CAUSES),
        ("DROPPED", vocabulary.DROP_REASONS),
        ("STREAM", vocabulary.STREAM_REASONS),
        ("PROBE", vocabulary.PROBE_RESULTS),
    ):
        expected |= {f"{prefix}_{t.name.upper()}": t.code for t in terms}
    names = {**vars(ids), **vars(ids_seldom)}
    written = {k: v for k, v in names.items() if k.isupper() and isinstance(v, int)}
    assert written.items() <= expected.items()
    # Nothing that a report of this agent may carry is missing.
    assert {m.name.upper() for m in vocabulary.METRICS} <= written.keys()
    assert {t.name.upper() for t in vocabulary.EVENTS} <= written.keys()


def test_numbers_are_used_once():
    for table in (vocabulary.METRICS, vocabulary.STATES, vocabulary.EVENTS):
        numbers = [row[0] for row in table]
        assert len(set(numbers)) == len(numbers)
        assert numbers == sorted(numbers)


def test_the_page_is_what_the_vocabulary_says():
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == metrics_page.render()
