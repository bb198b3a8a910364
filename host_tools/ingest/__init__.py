"""The ingest: receives what devices publish, stores it for good, and acknowledges it.

One thread does everything, in this order: `receiver` reads a batch from the broker; `allowance`
leaves out what one device sends too much; `pipeline` verifies each message; `verdict` decides
what becomes of it; `batch` writes all in one transaction. Only then the broker gets its PUBACKs
and the devices their acks (`acks`). Whatever ends the process in between, the broker or the device
sends it again, and the second time it is a duplicate.
"""

from host_tools.ingest.options import BrokerAddress, Options
from host_tools.ingest.service import Ingest

__all__ = ["BrokerAddress", "Ingest", "Options"]
