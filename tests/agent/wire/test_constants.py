"""Numbers of the wire stand in one file."""

import re

from agent.wire import ids
from tests.support import ROOT


def test_every_number_of_the_wire_that_a_file_names_exists() -> None:
    named = set()
    for folder in ("agent", "boards"):
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(re.findall(r"\bids\.([A-Z]\w*)", path.read_text()))
    assert len(named) > 20
    assert {name for name in named if not hasattr(ids, name)} == set()
