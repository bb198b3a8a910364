"""What makes of routers tell over SNMP beyond the standard's objects: a new make is a new row.

A row is (metric, kind, object, multiplier, divisor); metric = value x multiplier / divisor. The
first row of a metric that is answered counts. Kinds:

    GET    one scalar object
    SOME   the same, where the make says 0 for "have none": 0 is null
    FIRST  the first row of a column
    SUM    the sum of a column's rows; null without rows
    ROWS   the number of a column's rows, 0 included; only for tables that are certain to be kept

Sources: MIKROTIK-MIB, UBNT-AirMAX-MIB.
"""

from agent.wire import ids

GET = 0
SOME = 1
FIRST = 2
SUM = 3
ROWS = 4

_M = "1.3.6.1.4.1.14988.1.1."
_U = "1.3.6.1.4.1.41112.1.4.5.1."

_MIKROTIK = (
    (ids.ASSOCIATED, SUM, _M + "1.3.1.6", 1, 1),  # mtxrWlApClientCount
    (ids.ASSOCIATED, SOME, _M + "1.4.0", 1, 1),  # mtxrWlRtabEntryCount
    (ids.LEASES, GET, _M + "6.1.0", 1, 1),  # mtxrDHCPLeaseCount
    (ids.ROUTER_VOLTAGE, SOME, _M + "3.8.0", 10, 1),  # mtxrHlVoltage, tenths of a volt
    (ids.ROUTER_TEMPERATURE, SOME, _M + "3.10.0", 1, 10),  # mtxrHlTemperature, tenths of a degree
    (ids.SIGNAL, FIRST, _M + "16.1.1.2", 1, 1),  # mtxrLTEModemSignalRSSI
    (ids.LTE_RSRP, FIRST, _M + "16.1.1.4", 1, 1),
    (ids.LTE_SINR, FIRST, _M + "16.1.1.7", 1, 1),
)

PROFILES = {
    "generic": (),
    # Without a hotspot, whoever is associated is a client.
    "mikrotik": _MIKROTIK + ((ids.CLIENTS, SUM, _M + "1.3.1.6", 1, 1),),
    # For a router whose hotspot is known to run: an empty table of users is nobody, not "no
    # hotspot". Counted by a column (bytes in) that has nothing of a user in it.
    "mikrotik-hotspot": _MIKROTIK + ((ids.CLIENTS, ROWS, _M + "5.1.1.12", 1, 1),),
    "ubiquiti-airmax": (
        (ids.SIGNAL, FIRST, _U + "5", 1, 1),  # ubntWlStatSignal
        (ids.ASSOCIATED, SUM, _U + "15", 1, 1),  # ubntWlStatStaCount
    ),
}

# Columns with the hardware addresses of clients, read only to count different clients of a day.
ADDRESSES = {"mikrotik-hotspot": _M + "5.1.1.6"}
