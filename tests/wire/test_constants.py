"""The agent's own copies of the wire's numbers are the numbers."""

import re

from agent.wire import ids
from tests.support import ROOT

# Names of the journal's own file format, which never leaves the device.
_OWN = {"segment.py", "journal.py", "recovery.py", "stream.py"}


def test_every_copy_of_a_number_of_the_wire_is_that_number() -> None:
    copies = 0
    for folder in ("agent", "boards"):
        for path in (ROOT / folder).rglob("*.py"):
            for name, value in re.findall(r"(?m)^_([A-Z_\d]+) = const\((.+?)\)", path.read_text()):
                if hasattr(ids, name) and not (name == "STATE" and path.name in _OWN):
                    assert int(value) == getattr(ids, name), (path, name)
                    copies += 1
    assert copies > 50
