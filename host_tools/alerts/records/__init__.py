"""The database alerts.db: the file, its outbox, and the alerts themselves."""

from host_tools.alerts.records.alerts import (
    Alert,
    AlertMember,
    AlertRecords,
    Silence,
    open_records,
)
from host_tools.alerts.records.file import FILE, FIRST_RUN, LAST_RUN, last_run
from host_tools.alerts.records.outbox import DROPPED, DUE, FAILED, SENDING, SENT, Outgoing

__all__ = [
    "DROPPED",
    "DUE",
    "FAILED",
    "FILE",
    "FIRST_RUN",
    "LAST_RUN",
    "SENDING",
    "SENT",
    "Alert",
    "AlertMember",
    "AlertRecords",
    "Outgoing",
    "Silence",
    "last_run",
    "open_records",
]
