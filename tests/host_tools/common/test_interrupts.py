"""A Ctrl-C that Python drops comes again, also to who waits for input."""

import subprocess
import sys

from tests.support import ROOT

# Python ignores whatever a weak reference's callback raises.
SCRIPT = """
import os, signal, sys, weakref
from host_tools.common.interrupts import keep_interrupts
keep_interrupts()
class Thing: pass
thing = Thing()
reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
try:
    del thing
    os.read(0, 1)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupt_in_a_callback_is_not_lost():
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.wait(timeout=60) == 130
        assert process.stderr is not None and process.stderr.read() == b""
