"""The ingest: takes what devices publish, stores it for good, and tells them so.

One thread does everything, in this order: `receiver` reads a batch from the broker; `pipeline`
verifies it and commits it to the database in one transaction; only then the broker is told
(PUBACK) and the devices are (`acks`). Whatever ends the process in between, the broker or the
device sends it again, and the second time it is a duplicate.
"""

from host_tools.ingest.options import Broker, Options
from host_tools.ingest.service import Ingest

__all__ = ["Broker", "Ingest", "Options"]
