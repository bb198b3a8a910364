"""Samples the heap's peak: a collection, and a look, wherever the agent asks for the time."""

import gc

try:
    from agent import base as interpreter  # as released
except ImportError:
    from agent.device import interpreter

_peak = 0


def install(unused, commands):
    ticks_ms = interpreter.ticks_ms

    def sampling():
        global _peak
        gc.collect()
        used = gc.mem_alloc()
        if used > _peak:
            _peak = used
        return ticks_ms()

    interpreter.ticks_ms = sampling
    commands["peak\n"] = lambda: print("peak", _peak)
