"""The USB-to-serial chips that boards have, by vendor."""

from __future__ import annotations

SERIAL_VENDORS = {
    "1a86": "ch341",
    "10c4": "cp210x",
    "0403": "ftdi_sio",
    "303a": "cdc_acm",
}
"""Vendor -> Linux driver, also for chips with native USB."""

PROLIFIC = "067b"  # on old adapters

# Products of vendor 1a86 that use the standard protocol (CH343, CH9102 ...).
STANDARD_1A86 = {"55d2", "55d3", "55d4", "55d5", "55d8"}
SERIAL_DRIVERS = {"ch341", "cp210x", "ftdi_sio", "cdc_acm", "pl2303"}
