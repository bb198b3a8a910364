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
)
from host_tools.store.queries.now import Change, SlotStatus, changes, newest_change, status
from host_tools.store.queries.past import (
    Interval,
    Outage,
    Said,
    Usage,
    intervals,
    outages,
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
    "Usage",
    "certificates",
    "changes",
    "count_duplicates",
    "count_findings",
    "count_missing",
    "count_stored",
    "finding",
    "findings",
    "intervals",
    "newest_change",
    "newest_values",
    "outages",
    "overflow",
    "quarantined",
    "said",
    "slot_hours",
    "slots",
    "status",
    "stored",
    "usage",
    "usage_sums",
]
