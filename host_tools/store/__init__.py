"""The store: the province's database behind a thin layer.

`evidence` and `quarantine` keep what arrived, byte for byte; nothing there is ever computed. All
other tables are derived from the evidence by `derive` and can be made again from it at any time
(`rebuild`). `queries` answers the questions of verbs, pages and reports, from derived tables.

Only this package speaks SQL to the province's database, through `Database`, which is all that
would have to be written again for another one.
"""

from host_tools.store.database import Database, lock, open_database
from host_tools.store.errors import (
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreReplaced,
)

__all__ = [
    "Database",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreLocked",
    "StoreMissing",
    "StoreReplaced",
    "lock",
    "open_database",
]
