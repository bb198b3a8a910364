"""What follows from the evidence (docs/wire.md, "Figures"): outages, states, usage, findings.

`reading`, `placing`, `pieces`, `boots`, `outages`, `timeline`, `usage` and `findings` are the
rules, and read no database. `deriver` applies them to what is new, with `slot` and
`stream_findings`; `rebuild` applies them to everything.
"""

from host_tools.derive.deriver import Deriver
from host_tools.derive.rebuild import rebuild

__all__ = ["Deriver", "rebuild"]
