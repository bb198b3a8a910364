"""The province's ingest as a process, ended by SIGTERM: `python -m tests.lab.ingest PROVINCE`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from host_tools.ingest import BrokerAddress, Ingest, Options
from host_tools.ingest.keys import RegistryKeys
from host_tools.province.settings import load

if __name__ == "__main__":
    province = load(Path(sys.argv[1]))
    here = BrokerAddress(
        province.broker.local_host, province.broker.port, province.service("ingest")
    )
    ingest = Ingest(
        province.database, RegistryKeys(province.directory), here, Options(ack_reports=2)
    )
    signal.signal(signal.SIGTERM, lambda *_: ingest.stop())
    ingest.run()
