"""How long to wait before the next attempt to connect.

841 devices that lost their power together must not all come back in the same second, and a device
that the broker refuses must not try for ever at the price of a handshake each time.
"""

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net.errors import CERTIFICATE

_FIRST_MS = const(2000)
_STEADY_MS = const(60000)  # a connection that lasted so long ends the backoff
_SPREAD_MS = const(60000)  # over so long devices that start together spread their first attempt
_REFUSED_TIMES = const(12)  # so many times longer may the wait be after a refusal
# The broker's certificate was wrong: something between here and the broker answers. Only an
# attempt shows when that has ended, so the first ones are not slowed down. 30 cost 130 KB.
_INTERCEPTED_MAX = const(30)


class Backoff:
    """Exponential, with full jitter: at most `max_ms`, twelve times as much after a refusal."""

    def __init__(self, max_ms):
        self._max_ms = max_ms
        self._failures = 0
        self._limit_ms = min(_SPREAD_MS, max_ms)
        self._intercepted = False
        self._hurries = 0  # how often the wait may still be shortened

    def wait_ms(self):
        """A time to wait, chosen at random."""
        return interpreter.random_below(self._limit_ms)

    def ended(self, lasted_ms, error):
        """An attempt and its connection took `lasted_ms` and ended with `error`."""
        # Below 0 after days: more than half of the ticks' period.
        if not 0 <= lasted_ms <= _STEADY_MS:
            self._failures = 0
        else:
            self._failures += 1
        stage = getattr(error, "stage", "")
        certificate = stage == "tls" and error.errno == CERTIFICATE
        if self._failures <= 1 or certificate != self._intercepted:
            self._intercepted = certificate
            self._hurries = _INTERCEPTED_MAX if certificate else 1
        longest_ms = self._max_ms
        if certificate or is_refusal(error):
            longest_ms *= _REFUSED_TIMES
            if not certificate:
                self._hurries = 0
        self._limit_ms = min(longest_ms, _FIRST_MS << min(self._failures, 16))

    def hurry(self, left_ms, hurry_ms):
        """What is left of the wait when the broker seems to be there again. Only one attempt is
        brought forward in this way: if it fails too, the backoff goes on."""
        if not 0 < hurry_ms < left_ms or not self._hurries:
            return left_ms
        self._hurries -= 1
        return interpreter.random_below(hurry_ms)


def is_refusal(error):
    """Whether the broker has judged this device and said no: another try changes nothing."""
    stage = getattr(error, "stage", "")
    if stage == "mqtt":
        return error.errno in (1, 2, 4, 5)  # CONNACK; 3 is "not available now"
    if stage != "tls":
        return False
    # The broker's alert: mbedTLS's number for it, the EPIPE that may follow it, OpenSSL's name.
    return error.errno in (32, -0x7780) or "ALERT" in str(error)
