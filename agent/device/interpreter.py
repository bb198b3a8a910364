"""The few names that differ between MicroPython and CPython, so that no other file asks.

`ticks_*` follow MicroPython's contract: they wrap at an unspecified power of two and are to be
compared with `ticks_diff` only, over less than half of the period (6.2 days on a 32-bit port).
Callers write `interpreter.ticks_ms()`, so that a test can put an accelerated clock in its place.
"""

import errno
import os
import sys

MICROPYTHON = sys.implementation.name == "micropython"
# Not a release: what the host checks before it builds one is checked here, too, and CBOR is whole.
# A release has False in place of each use, and the compiler leaves out what then can't run.
FROM_SOURCE = True
# newlib's error numbers: a microcontroller, whose sockets are lwIP's (ESP32).
LWIP = errno.EHOSTUNREACH == 118

if MICROPYTHON:
    import select
    from asyncio import sleep_ms
    from time import ticks_add, ticks_diff, ticks_ms, ticks_us

    from micropython import const

    # There a wait lasts until the system's next tick (10 ms), whatever comes in. So its first
    # part, in which most answers come, is spent asking.
    _EXACT_MS = 400 if LWIP else 0

    def sync(file):
        """Commit a file's bytes to the medium; MicroPython's flush does both (fsync, lfs sync)."""
        file.flush()

    async def ready(sock, write, timeout_ms):
        """Whether a non-blocking socket has something to read within `timeout_ms` milliseconds;
        if `write`, whether it takes bytes or failed to connect."""
        # Not the event loop's poller: with a TLS connection in it, that asks every 9 ms only,
        # which is too coarse for a round-trip time.
        poller = select.poll()
        poller.register(sock, select.POLLOUT if write else select.POLLIN)
        began = ticks_ms()
        while True:
            past = since(began)
            for _ in poller.ipoll(0 if past < _EXACT_MS else max(0, min(timeout_ms - past, 4))):
                return True
            if past >= timeout_ms:
                return False
            await sleep_ms(0)

else:
    from agent.device.cpython import (  # noqa: F401
        const, ready, sleep_ms, sync, ticks_add, ticks_diff, ticks_ms, ticks_us,
    )  # fmt: skip


def since(ticks):
    """Milliseconds since an answer of `ticks_ms`."""
    return ticks_diff(ticks_ms(), ticks)


def random_below(n):
    """A number from 0 to n - 1 from the system's random source, for jitter and identifiers."""
    return int.from_bytes(os.urandom(4), "big") % max(n, 1)


def log(*words):
    """One line for whoever watches the console. Never keys, payloads or addresses of users."""
    print("%d" % (ticks_ms() // 1000), *words, file=sys.stderr)
