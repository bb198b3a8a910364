"""The ingest: receives what devices publish, stores it for good, and acknowledges it.

One thread does everything, in this order: `receiver` reads a batch from the broker; `allowance`
holds back what one device sends beyond its limits; `pipeline` verifies each message, with other
threads where there are cores for them; `verdict` decides on it; `batch` writes all in one
transaction. Only then the broker gets its PUBACKs and the devices get their acks (`acks`). If the
process ends before that, the broker or the device sends again, and what was stored is a duplicate.
"""

from host_tools.ingest.options import BrokerAddress, Options
from host_tools.ingest.service import Ingest

__all__ = ["BrokerAddress", "Ingest", "Options"]
