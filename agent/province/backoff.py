"""How long to wait before the next attempt to connect.

841 devices that lost their power together must not all come back in the same second, and a device
that the broker refuses must not try for ever at the price of a handshake each time.
"""

import errno

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net.errors import CERTIFICATE, lacks_memory

_FIRST_MS = const(2000)
_STEADY_MS = const(60000)  # a connection that lasted so long ends the backoff
_SPREAD_MS = const(60000)  # over so long devices that start together spread their first attempt
_REFUSED_TIMES = const(12)  # so many times longer may the wait be after a refusal
# The broker's certificate was wrong: something between here and the broker answers. Only an
# attempt shows when that has ended, so the first ones are not slowed down. 30 cost 130 KB.
_INTERCEPTED_MAX = const(30)
# So many attempts in a row may be cut before CONNACK. They take 25 minutes: a broker that is back
# within ten is met as soon as if it had been out of reach.
_CUTS_MAX = const(16)


class Backoff:
    """Exponential, with full jitter: at most `max_ms`, twelve times as much after a refusal."""

    def __init__(self, max_ms):
        self._max_ms = max_ms
        self._failures = 0
        self._cuts = 0  # since the broker accepted a connection
        self._limit_ms = min(_SPREAD_MS, max_ms)
        self._intercepted = False
        self._hurries = 0  # how often the wait may still be shortened

    def wait_ms(self):
        """A time to wait, chosen at random."""
        return interpreter.random_below(self._limit_ms)

    def accepted(self):
        """The broker has answered with CONNACK 0."""
        self._cuts = 0

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
        times = 1
        if certificate:
            times = _REFUSED_TIMES
        elif is_refusal(error):
            times = _REFUSED_TIMES
            self._hurries = 0
        elif is_cut(error):
            self._cuts += 1
            if self._cuts > _CUTS_MAX:
                times = min(1 << min(self._cuts - _CUTS_MAX, 4), _REFUSED_TIMES)
                self._hurries = 0
        self._limit_ms = min(self._max_ms * times, _FIRST_MS << min(self._failures, 16))

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
    # The broker's alert: mbedTLS's number for it, OpenSSL's name.
    return error.errno == -0x7780 or "ALERT" in str(error)


def is_cut(error):
    """Whether the connection was closed between the begin of TLS and CONNACK.

    A revoked certificate looks like this where a reset overtakes the alert, as on lwIP."""
    if getattr(error, "stage", "") not in ("tls", "mqtt") or lacks_memory(error):
        return False
    # 0: closed. 8: closed, by OpenSSL. 32: EPIPE. Below 0: mbedTLS.
    return error.errno < 0 or error.errno in (0, 8, 32, errno.ECONNRESET)
