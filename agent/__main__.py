"""python -m agent CONFIG: run. python -m agent --enrol CONFIG: make the key, print its proof."""

import sys

try:
    # Whole: `from` would make a tuple, for which there is no room in a locked heap.
    import micropython  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    micropython = None


def _is_locked(error):
    """Whether a MemoryError says that the heap is locked, not that it is full."""
    return bool(error.args) and "locked" in error.args[0]


def _unlock():
    """After an interrupt: if it hit the collector, it has left the heap locked.

    Its marks can't be trusted any more then, and what is free has to do for the end."""
    try:
        bytearray(1)
    except MemoryError as e:
        if _is_locked(e):
            micropython.heap_unlock()
            import gc

            gc.disable()


# An interrupt at any moment is to end it quietly. A tuple of the two exceptions, as usual, can't
# be had while the heap is locked.
try:
    import asyncio
    import gc

    from agent import compat

    if compat.MICROPYTHON:
        # Collect early and often: else what stays lies scattered among what an import leaves
        # behind, and on a full heap no hole is large enough. Measured: from 180 KB that it needs
        # to 145 KB.
        gc.threshold(2048)
        # What is compiled from here on keeps no line numbers (2.5 KB); a .mpy has none either.
        micropython.opt_level(3)
except KeyboardInterrupt:
    _unlock()
    sys.exit(0)
except MemoryError as e:
    if not _is_locked(e):
        raise
    _unlock()
    sys.exit(0)


def _app():
    """What the arguments ask for: the App to be run, None if they asked for something else."""
    from agent import start

    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "--enrol":
        return print(start.enrol(arguments[1]))
    if len(arguments) != 1 or arguments[0].startswith("-"):
        start.fail("usage: -m agent CONFIG, or -m agent --enrol CONFIG")
    app = start.build(arguments[0])
    compat.unload("agent.start")
    gc.collect()
    if compat.MICROPYTHON:
        # Still early: what lasts then lies low. With 16 KB the smallest heap is 4 KB larger.
        gc.threshold(4096)
    return app


def main():
    app = None
    try:
        app = _app()
        if app:
            asyncio.run(app.run())
    except KeyboardInterrupt:
        _end(app)
    except MemoryError as e:
        if not _is_locked(e):
            raise
        _end(app)


def _end(app):
    """MicroPython raises an interrupt out of the loop and keeps the tasks: let them end in order.

    app: None if it was interrupted before it began, with nothing to end."""
    _unlock()
    if app:
        app.stop()
        asyncio.run(app.ended())


if __name__ == "__main__":
    main()
