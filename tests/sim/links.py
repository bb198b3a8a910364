"""Made-up links in the probes' place, with numbers as they come from a satellite or 4G uplink.

Probing loopback gives times that are all but constant and pack into nothing; these don't.
"""

import errno

try:
    from agent import base as interpreter  # as released
except ImportError:
    from agent.device import interpreter
from agent.link import probes
from agent.net import dns


class Links:
    """Round trips of 25 to 80 ms that wander, with jitter, spikes and one loss in a hundred."""

    def __init__(self, seed):
        self._state = seed
        self._base = 450  # tenths of a millisecond

    def below(self, n):
        """A number from 0 to n - 1 (the generator of POSIX's example for rand, widened)."""
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._state >> 8) % n

    async def reach(self, target, timeout_ms, refusal=False):
        if target == "gateway":
            return 8 + self.below(15) + (self.below(400) if not self.below(40) else 0)
        if not self.below(100):
            await interpreter.sleep_ms(timeout_ms)
            raise OSError(errno.ETIMEDOUT, "")
        self._base = min(max(self._base + self.below(33) - 16, 250), 700)
        took = self._base + self.below(60) + self.below(40)
        if not self.below(50):
            took += self.below(1500)
        await interpreter.sleep_ms(took // 10)
        return took

    async def query(self, server, name, timeout_ms):
        await interpreter.sleep_ms(self._base // 10 + 3 + self.below(25))
        return (0, ["192.0.2.1"]) if name == "example.com" else (3, [])


def install(seed, commands):
    links = Links(int(seed))
    probes.reach = links.reach
    dns.query = links.query
