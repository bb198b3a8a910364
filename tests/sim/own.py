"""The commands "own" and "pings" of day.py: bytes that the agent has counted as its own, and how
often it has probed."""

from agent.link import probes
from agent.net.traffic import own
from tests.sim import clock

_reach = probes.reach
_pings = 0


def _counting(target, timeout_ms, refusal=False):
    global _pings
    _pings += 1
    return _reach(target, timeout_ms, refusal)


def install(unused, commands):
    probes.reach = _counting
    commands["own\n"] = lambda: clock.say("own", own.total)
    commands["pings\n"] = lambda: clock.say("pings", _pings)
