"""What people and pages ask of the database; reads only, beside a running ingest.

Times are Unix seconds. A slot is named as on the wire (`6403112001-1`). Values are in the units of
docs/metrics.md: ms, %, bytes.
"""

from host_tools.store.queries.common import slots
from host_tools.store.queries.found import (
    Finding,
    count_findings,
    finding,
    findings,
    open_kinds,
    overflow,
    quarantined,
)
from host_tools.store.queries.messages import (
    certificates,
    count_duplicates,
    count_missing,
    count_stored,
    newest_values,
    stored,
    uncounted_since,
)
from host_tools.store.queries.now import (
    Change,
    SlotStatus,
    Software,
    changes,
    newest_change,
    slots_with_clock_ahead,
    software,
    status,
)
from host_tools.store.queries.past import (
    Interval,
    Outage,
    Said,
    Usage,
    ended_outages,
    intervals,
    outages,
    recent_states,
    said,
    slot_hours,
    usage,
    usage_sums,
)

__all__ = [
    "Change",
    "Finding",
    "Interval",
    "Outage",
    "Said",
    "SlotStatus",
    "Software",
    "Usage",
    "certificates",
    "changes",
    "slots_with_clock_ahead",
    "count_duplicates",
    "count_findings",
    "count_missing",
    "count_stored",
    "ended_outages",
    "finding",
    "findings",
    "intervals",
    "newest_change",
    "newest_values",
    "open_kinds",
    "outages",
    "overflow",
    "quarantined",
    "recent_states",
    "said",
    "slot_hours",
    "slots",
    "software",
    "status",
    "stored",
    "uncounted_since",
    "usage",
    "usage_sums",
]
