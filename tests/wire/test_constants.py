"""The agent's own copies of the wire's numbers are the numbers."""

import re

from agent.wire import ids
from tests.support import ROOT


def test_every_copy_of_a_number_of_the_wire_is_that_number() -> None:
    copies = 0
    for folder in ("agent", "boards"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "segment.py":
                continue  # the journal's own numbers, which never leave the device
            for name, value in re.findall(r"(?m)^_([A-Z_\d]+) = const\((.+?)\)", path.read_text()):
                if hasattr(ids, name):
                    assert int(value) == getattr(ids, name), (path, name)
                    copies += 1
    assert copies > 50
