"""Numbers of the wire that the agent writes. `vocabulary.toml` says what each of them means.

What only equipment, boards and options write is in ids_seldom.py and can be had from here. No
device holds these files: its code has the numbers themselves.
"""


def __getattr__(name):  # of this module
    from agent.wire import ids_seldom

    return getattr(ids_seldom, name)


# metrics: keys of a report's columns
STATE = 1
RTT_GW_MIN = 2
LOSS_GW = 5
RTT_MIN = 6
LOSS = 9
JITTER = 10
DNS_TIME = 11
BYTES_DOWN = 13
BYTES_UP = 14
CLIENTS = 15
CLIENTS_PEAK = 16
HEAP_FREE = 18
STORAGE_FREE = 19
JOURNAL_FILL = 20
VOLTAGE = 21
TEMPERATURE = 22
ROUTER_UPTIME = 23
DISH_UPTIME = 39

# states of the link: values of STATE, causes of outages
UNKNOWN = 0
UP = 1
DEGRADED = 2
DOWN_INTERFACE = 3
DOWN_GATEWAY = 4
DOWN_PROVIDER = 5
DOWN_DNS = 6
DOWN_PORTAL = 7
DOWN_TLS = 8
DOWN_BROKER = 9
# rungs of evidence only, never a state
RUNG_NEXT_HOP = 10
RUNG_OTHER_DNS = 11
RUNG_CLOCK = 12

# kinds of events
OUTAGE_BEGAN = 1
OUTAGE_ENDED = 2
BOOTED = 3
CLOCK_SET = 4
DROPPED = 5
STREAM_BEGAN = 6
CADENCE_CHANGED = 7
COUNTER_RESET = 8
STOPPED = 9

# where a clock's time came from: second member of a report's clock quality
CLOCK_NONE = 0
CLOCK_SAVED = 1
CLOCK_ACK = 2
CLOCK_SYSTEM = 4

# why a device started
RESET_UNKNOWN = 0
RESET_WATCHDOG = 3
RESET_AGENT = 6

# why the journal dropped reports that were not stored
DROPPED_FULL = 1
DROPPED_CORRUPT = 2

# why a stream began
STREAM_NEW = 1
STREAM_LOST = 2

# how a probe failed: second member of an evidence pair (first: the rung's state from above)
PROBE_OK = 0
PROBE_TIMEOUT = 1
PROBE_REFUSED = 2
PROBE_UNREACHABLE = 3
PROBE_NO_NAME = 4
PROBE_BAD_ANSWER = 5
PROBE_NO_CARRIER = 6
PROBE_NO_ADDRESS = 7
PROBE_CERTIFICATE = 8
PROBE_ERROR = 9
PROBE_SERVER_FAILED = 10
PROBE_LOST = 11
PROBE_SLOW = 12
