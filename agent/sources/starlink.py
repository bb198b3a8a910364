"""The word of a Starlink dish about itself: its local gRPC interface, get_status.

It has no official description. The numbers of fields are those that its own reflection service has
told several independent projects; a field that a newer dish leaves out is null, not 0, wherever
the encoding leaves the two apart.
"""

from agent.net.errors import NetError
from agent.device.interpreter import const
from agent.sources import source
from agent.sources.http2 import unary
from agent.sources.protobuf import fields, scaled
from agent.wire import ids

ORDER = 60
KEYS = """\
usage.starlink.host - str 1 253
usage.starlink.port 9200 int 1 65535"""

_PATH = "/SpaceX.API.Device.Device/Handle"
_GET_STATUS = b"\xe2\x3e\0"  # Request.get_status (1004), empty
_DISH_GET_STATUS = const(2004)
_STATE = const(2)
_DROP = const(1003)
_OBSTRUCTION = const(1004)
_ALERTS = const(1005)
_DOWN = const(1007)
_UP = const(1008)
_LATENCY = const(1009)
_OUTAGE = const(1014)
_SUPPLIES = (1043, 1048)  # upsu_stats, aps_stats: dish_power is field 6 of both
_UNKNOWN_OUTAGE = const(99)

# Told as the mean over the sample: (metric)
_MEANS = (ids.DISH_DROP, ids.DISH_RTT, ids.DISH_DOWN, ids.DISH_UP)


def _part(data, span):
    """A message's fields; the last one of a number counts, as the encoding says."""
    return dict(fields(data, span[0], span[1])) if isinstance(span, tuple) else None


def _scaled(message, number, scale):
    value = message.get(number)
    return scaled(value, scale) if isinstance(value, int) else None


def status(data):
    """The levels (metric -> int) in an encoded Response; ValueError if it is no answer of a
    dish."""
    levels = {}
    answer = _part(data, (0, len(data)))
    dish = _part(data, answer.get(_DISH_GET_STATUS))
    if not dish:
        raise NetError("the dish's answer has no status")
    state = _part(data, dish.get(_STATE))
    if state and isinstance(state.get(1), int):
        source.put(levels, ids.DISH_UPTIME, state[1])
    outage = _part(data, dish.get(_OUTAGE))
    cause = 0
    if outage is not None:
        cause = outage.get(1) or _UNKNOWN_OUTAGE
        if not isinstance(cause, int) or cause > 12:
            cause = _UNKNOWN_OUTAGE
    source.put(levels, ids.DISH_OUTAGE, cause)
    # The encoding leaves zeros out: a value that is missing is 0 if its companion is there.
    latency = _scaled(dish, _LATENCY, 10)
    drop = _scaled(dish, _DROP, 1000)
    if latency is not None and latency > 0:
        source.put(levels, ids.DISH_RTT, latency)
        source.put(levels, ids.DISH_DROP, drop or 0)
    source.put(levels, ids.DISH_DROP, drop)
    for number, other, metric in ((_DOWN, _UP, ids.DISH_DOWN), (_UP, _DOWN, ids.DISH_UP)):
        rate = _scaled(dish, number, 1)
        if rate is None and number not in dish and other in dish:
            rate = 0
        if rate is not None and rate >= 0:
            source.put(levels, metric, (rate + 500) // 1000)
    obstruction = _part(data, dish.get(_OBSTRUCTION))
    if obstruction:
        source.put(
            levels, ids.DISH_OBSTRUCTION, _scaled(obstruction, 1, 10000) if 1 in obstruction else 0
        )
    alerts = _part(data, dish.get(_ALERTS))
    if alerts is not None:
        bits = 0
        for number in alerts:
            if alerts[number] == 1 and 0 < number <= 31:
                bits |= 1 << number - 1
        source.put(levels, ids.DISH_ALERTS, bits)
    for number in _SUPPLIES:
        supply = _part(data, dish.get(number))
        if supply:
            source.put(levels, ids.DISH_POWER, _scaled(supply, 6, 10) or None)
    return levels


class Dish(source.Source):
    """Source of what the dish tells."""

    every_ms = 9000  # each round

    def __init__(self, host, port):
        super().__init__("usage.starlink")
        self._at_port = host, port

    async def poll(self, levels):
        levels.update(status(await unary(self._at_port[0], self._at_port[1], _PATH, _GET_STATUS)))
        for metric in _MEANS:
            if metric in levels:
                self.mean(metric, levels.pop(metric))


def make(config, clock, on_reset):
    """The source that the configuration asks for."""
    return Dish(config["usage.starlink.host"], config["usage.starlink.port"])
