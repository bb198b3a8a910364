"""The agent's own copies of the wire's numbers are the numbers."""

import re

from agent.wire import ids
from tests.support import ROOT

# Only what is marked as a copy: files have numbers of their own by the same names.
_BLOCK = re.compile(r"^# Numbers of the wire: .*\n((?:_.*\n)+)", re.M)


def test_every_copy_of_a_number_of_the_wire_is_that_number() -> None:
    copies = 0
    for folder in ("agent", "boards"):
        for path in (ROOT / folder).rglob("*.py"):
            for block in _BLOCK.findall(path.read_text()):
                for name, value in re.findall(r"(?m)^_(\w+) = const\((\d+)\)", block):
                    assert int(value) == getattr(ids, name), (path, name)
                    copies += 1
    assert copies > 50
