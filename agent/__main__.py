"""python -m agent CONFIG: run. python -m agent --enrol CONFIG: make the key, print its proof."""

import asyncio
import gc
import sys

from agent import compat

if compat.MICROPYTHON:
    # Collect early and often: else what stays lies scattered among what an import leaves behind,
    # and on a full heap no hole is large enough. Measured: from 180 KB that it needs to 145 KB.
    gc.threshold(2048)
    import micropython

    # What is compiled from here on keeps no line numbers (2.5 KB); a .mpy has none either.
    micropython.opt_level(3)


def _app():
    """What the arguments ask for: the App to be run, None if they asked for something else."""
    from agent import start

    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "--enrol":
        return print(start.enrol(arguments[1]))
    if len(arguments) != 1 or arguments[0].startswith("-"):
        start.fail("usage: -m agent CONFIG, or -m agent --enrol CONFIG")
    return start.build(arguments[0])


def main():
    app = _app()
    if not app:
        return
    compat.unload("agent.start")
    gc.collect()
    if compat.MICROPYTHON:
        gc.threshold(16384)
    try:
        asyncio.run(app.run())
    except (KeyboardInterrupt, MemoryError) as e:
        if isinstance(e, MemoryError):
            if "locked" not in str(e):
                raise
            # The interrupt hit the collector itself. Its marks can't be trusted any more, and what
            # is free has to do for the end.
            from micropython import heap_unlock  # type: ignore[import-not-found,unused-ignore]

            gc.disable()
            heap_unlock()
        # MicroPython raises it out of the loop and keeps the tasks: let them end in order.
        app.stop()
        asyncio.run(app.ended())


if __name__ == "__main__":
    main()
