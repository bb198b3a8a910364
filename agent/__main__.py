"""python -m agent CONFIG: run. python -m agent --enrol CONFIG: make the key, print its proof."""

import sys


def _is_locked(error):
    """Whether a MemoryError says that the heap is locked, not that it is full.

    So MicroPython's unix port leaves it when an interrupt hits the collector, and nothing but
    another collection would open it: a wrong one, as the half of the marks are there already."""
    return bool(error.args) and "locked" in error.args[0]


# An interrupt at any moment is to end it quietly. A tuple of the two exceptions, as usual, can't
# be had while the heap is locked.
try:
    import asyncio
    import gc

    from agent.device import interpreter

    if interpreter.MICROPYTHON:
        import micropython  # type: ignore[import-not-found,unused-ignore]

        # After `-m agent` has run, it is made known to its package under this name. In a locked
        # heap that needs a place which is there already.
        sys.modules["agent"].__main__ = None  # type: ignore[attr-defined,unused-ignore]
        # Collect early and often: else what stays lies scattered among what an import leaves
        # behind, and on a full heap no hole is large enough. Measured: from 180 KB that it needs
        # to 145 KB.
        gc.threshold(2048)
        # What is compiled from here on keeps no line numbers (2.5 KB); a .mpy has none either.
        micropython.opt_level(3)
except KeyboardInterrupt:
    sys.exit(0)
except MemoryError as e:
    if not _is_locked(e):
        raise
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
    interpreter.unload("agent.start")
    gc.collect()
    if interpreter.MICROPYTHON:
        # Still early: what lasts then lies low. With 16 KB the smallest heap is 4 KB larger.
        gc.threshold(4096)
    return app


def _unforeseen(loop, context):
    """A task has failed: of a locked heap, perhaps, in which the interrupt has got lost."""
    try:
        bytearray(1)
    except MemoryError as e:
        if _is_locked(e):
            raise KeyboardInterrupt from None
    loop.default_exception_handler(loop, context)


def main():
    app = None
    try:
        app = _app()
        if app:
            if interpreter.MICROPYTHON:
                asyncio.get_event_loop().set_exception_handler(_unforeseen)
            asyncio.run(app.run())
    except KeyboardInterrupt:
        _end(app)
    except MemoryError as e:
        if not _is_locked(e):
            raise


def _end(app):
    """After an interrupt. app: None if it came before there was anything to end."""
    try:
        if app:
            from agent.province import last_report

            last_report.end(app)
    except MemoryError:
        pass  # no room, or a locked heap: it ends as if killed, which loses nothing either
    except KeyboardInterrupt:
        pass  # the second one


if __name__ == "__main__":
    main()
