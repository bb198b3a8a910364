"""What a board must tell and do for the agent; each board overrides what it can.

The configuration's key `port` names a module that has a class `Board` derived from this one.
Nothing else in the agent knows what it runs on. None always means: this board can't tell.
"""

import os
import sys
import time

from agent.wire import ids


class Board:
    board = "generic"

    def __init__(self, state_dir, settings=None):
        """settings: the configuration's `board`, a dict or None. Raises ValueError with a sentence
        about what is wrong with them."""
        self.state_dir = state_dir

    def _nothing(self, *_):
        """What a board can't tell or need not do."""

    # The device's own identity (MAC, serial number) as text.
    unique_id = _nothing
    # True if the platform keeps its clock synchronised by itself, False if not, None: the clock is
    # not trusted until something else has set it.
    clock_synchronised = _nothing
    # set_clock(unix): set the platform's clock, where that is the agent's business (TLS needs it).
    set_clock = _nothing
    # Supply voltage in hundredths of a volt.
    voltage = _nothing
    # Temperature of the device in degrees Celsius.
    temperature = _nothing
    # lock(): False if another agent of this machine uses the state folder.
    lock = _nothing
    # Called on real progress only: a round finished, and delivery is not stuck.
    feed_watchdog = _nothing
    # A board may have storage_lost(): True if this start found the journal's medium unreadable and
    # formatted it. Not a name here, since each costs every device memory.
    # Nor is memory_short(): True if there is too little memory for TLS outside the heap.
    # on_terminate(callback): have callback() called in the event loop when the platform asks the
    # agent to stop.
    on_terminate = _nothing

    def sources(self, clock, on_reset):
        """What the board itself measures: a list of sources (sampler.py), written to a sample
        before all others. on_reset(metric) is for those whose counter began anew."""
        return []

    async def join(self, timeout_s):
        """Wait until the device has a network; None, or what is missing: "wrong_password",
        "no_access_point", "no_carrier" or "no_address"."""

    async def keep_network(self):
        """Join again whenever the network is lost; returns where the platform does it."""

    def firmware_hash(self):
        """SHA-256 of the firmware that runs, or None where there is none of its own."""

    def interpreter(self):
        """Name and version of the interpreter."""
        return "%s %d.%d.%d" % ((sys.implementation.name,) + tuple(sys.implementation.version[:3]))

    def reset_cause(self):
        """Why the device (or only the agent) started: one of the RESET_ numbers."""
        return ids.RESET_UNKNOWN

    def unix_time(self):
        """The platform's clock as Unix time in seconds, whatever epoch it uses itself."""
        return int(time.time())

    def storage_free(self):
        """Free bytes where the state lies, or None."""
        try:
            s = os.statvfs(self.state_dir)
        except (OSError, AttributeError):
            return None
        return s[1] * s[4]  # f_frsize, f_bavail: the same places on both interpreters

    def alive_load(self):
        """The bytes of the last alive_save that survived, or None."""
        try:
            with open(self.state_dir + "/alive", "rb") as f:
                return f.read(64)
        except OSError:
            return None

    def alive_save(self, data):
        """Keep up to 64 bytes over a reset. Called every minute: overwrites in place, so that one
        block is written and nothing else moves; a torn write is found by the caller's CRC."""
        path = self.state_dir + "/alive"
        try:
            f = open(path, "r+b")
        except OSError:
            f = open(path, "wb")
        with f:
            f.write(data)

    def write_secret(self, path, data):
        """Create a file that only the agent's user can read."""
        with open(path, "wb") as f:
            f.write(data)
