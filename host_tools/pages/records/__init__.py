"""The pages' own small database, pages.db: accounts, sessions, cases, notes, photographs, checks
of files, and the audit log.
"""

from host_tools.pages.records.accounts import AccountRecords
from host_tools.pages.records.cases import CaseRecords
from host_tools.pages.records.journal import AuditRecords, CheckRecords
from host_tools.pages.records.rows import (
    ACKNOWLEDGED,
    ADMINISTRATOR,
    CASE_STATES,
    CLOSED,
    OPEN,
    OPERATOR,
    ROLES,
    VIEWER,
    Account,
    ApiToken,
    AuditEntry,
    Case,
    CaseNote,
    FileCheck,
    LoggedIn,
    PagesError,
    Photograph,
    VillageNote,
)

__all__ = [
    "ACKNOWLEDGED",
    "ADMINISTRATOR",
    "CASE_STATES",
    "CLOSED",
    "OPEN",
    "OPERATOR",
    "ROLES",
    "VIEWER",
    "Account",
    "ApiToken",
    "AuditEntry",
    "Case",
    "CaseNote",
    "FileCheck",
    "LoggedIn",
    "PagesError",
    "Photograph",
    "VillageNote",
    "PagesBook",
]


class PagesBook(AccountRecords, CaseRecords, CheckRecords, AuditRecords):
    """All of pages.db."""
