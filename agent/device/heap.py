"""What keeps the agent small in a device's memory: each trick, and why it pays.

Figures are of MicroPython's 64-bit unix port (tests/bench/heap.py, docs/agent.md).
"""

import gc
import sys

from agent.device.interpreter import MICROPYTHON


_AT_START = (
    "__init__", "alive_load", "firmware_hash", "interpreter", "join", "lock", "reset_cause",
    "sources", "storage_lost", "unique_id", "write_secret",
)  # fmt: skip


def begin():
    """Before anything else is imported."""
    if MICROPYTHON:
        import micropython  # type: ignore[import-not-found,unused-ignore]

        # Collect early and often. Else what stays lies scattered among what an import leaves
        # behind, and a full heap has no hole that is large enough: 180 KB instead of 145 KB.
        gc.threshold(2048)
        # What is compiled from here on keeps no line numbers (2.5 KB); a .mpy has none either.
        micropython.opt_level(3)


def built(board, *parts):
    """When everything is made. parts: objects of which no second one will be made."""
    if MICROPYTHON:
        for name in ("begin", "built"):
            globals()[name] = None  # not needed again
        # Together these constructors take 2 KB, and what a board does at start only 1.5 KB.
        for part in parts:
            type(part).__init__ = None
        kind = type(board)
        while kind is not object:
            for name in _AT_START:
                if name in kind.__dict__:
                    setattr(kind, name, None)
            kind = kind.__bases__[0]
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
