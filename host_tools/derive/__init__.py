"""What follows from the evidence: samples, events, outages, states from-to, findings, usage.

Everything here can be made again from the stored reports alone (`rebuild`), and does not depend
on the order in which they came: a device sends the newest first, and a backlog of weeks comes
afterwards.
"""

from host_tools.derive.deriver import Deriver, rebuild
from host_tools.derive.intervals import NO_DATA, OFF_AGENT, OFF_POWER, state_name

__all__ = ["NO_DATA", "OFF_AGENT", "OFF_POWER", "Deriver", "rebuild", "state_name"]
