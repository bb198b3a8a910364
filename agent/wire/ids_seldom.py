"""Numbers of the wire that only equipment, boards and options write; ids.py gives them, too."""

# metrics: keys of a report's columns
RTT_GW_MEAN = 3
RTT_GW_MAX = 4
RTT_MEAN = 7
RTT_MAX = 8
SIGNAL = 12
CLIENTS_DAY = 17
UPLINK_PORT = 24
ASSOCIATED = 25
LEASES = 26
CLIENT_SIGNAL = 27
LTE_RSRP = 28
LTE_SINR = 29
ROUTER_VOLTAGE = 30
ROUTER_TEMPERATURE = 31
DISH_OUTAGE = 32
DISH_DROP = 33
DISH_RTT = 34
DISH_DOWN = 35
DISH_UP = 36
DISH_OBSTRUCTION = 37
DISH_ALERTS = 38
DISH_POWER = 40
OWN_MONTH = 41
THROUGHPUT_DOWN = 42

# kinds of events
CONFIG_CHANGED = 10

# where a clock's time came from
CLOCK_NTP = 3
CLOCK_LAPTOP = 5  # of provisioning, for the first report alone

# why a device started
RESET_POWER = 1
RESET_BROWNOUT = 2
RESET_PANIC = 4
RESET_SOFT = 5
