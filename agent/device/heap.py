"""What keeps the agent small in a device's memory: each trick, and why it pays.

Figures are of MicroPython's 64-bit unix port (tests/bench/heap.py, docs/agent.md).
"""

import gc
import sys

from agent.device.interpreter import MICROPYTHON


def begin():
    """Before anything else is imported."""
    if MICROPYTHON:
        import micropython  # type: ignore[import-not-found,unused-ignore]

        # Collect early and often. Else what stays lies scattered among what an import leaves
        # behind, and a full heap has no hole that is large enough: 180 KB instead of 145 KB.
        gc.threshold(2048)
        # What is compiled from here on keeps no line numbers (2.5 KB); a .mpy has none either.
        micropython.opt_level(3)


def built(*parts):
    """When everything is made. parts: objects of which no second one will be made."""
    global begin
    if MICROPYTHON:
        begin = None  # type: ignore[assignment,unused-ignore]  # not needed again
        # Together these constructors take 2 KB.
        for part in parts:
            type(part).__init__ = None
        gc.collect()
        # Still early: what lasts then lies low. With 16 KB the smallest heap is 4 KB larger.
        gc.threshold(4096)


def unload(name):
    """Free a module that is not needed again.

    Its package refers to it too; what else was imported from it stays as long as it is held."""
    package, _, module = name.rpartition(".")
    del sys.modules[name]
    delattr(sys.modules[package], module)


def seldom(name):
    """A module that is seldom needed: it is there for as long as the caller holds it."""
    module = __import__(name, None, None, ("",))
    unload(name)
    return module
