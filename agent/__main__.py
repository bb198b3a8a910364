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
    from agent.device import heap

    heap.begin()

    import asyncio

    # After `-m agent` has run, it is made known to its package under this name. In a locked heap
    # that needs a place which is there already.
    sys.modules["agent"].__main__ = None  # type: ignore[attr-defined,unused-ignore]
except KeyboardInterrupt:
    sys.exit(0)
except MemoryError as e:
    if not _is_locked(e):
        raise
    sys.exit(0)


def _agent():
    """What the arguments ask for: the agent to be run, None if they asked for something else."""
    from agent import start

    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "--enrol":
        return print(start.enrol(arguments[1]))
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit("usage: -m agent CONFIG, or -m agent --enrol CONFIG")
    agent = start.build(arguments[0])
    heap.unload("agent.start")
    return agent


def _unforeseen(loop, context):
    """A task has failed: of a locked heap, perhaps, in which the interrupt has got lost."""
    try:
        bytearray(1)
    except MemoryError as e:
        if _is_locked(e):
            raise KeyboardInterrupt from None
    loop.default_exception_handler(loop, context)


def main():
    agent = None
    try:
        agent = _agent()
        if agent:
            if sys.implementation.name == "micropython":
                asyncio.get_event_loop().set_exception_handler(_unforeseen)
            text = asyncio.run(agent.run())
            if text:
                sys.exit("agent: " + text)  # who started it starts it anew
    except KeyboardInterrupt:
        _end(agent)
    except MemoryError as e:
        if not _is_locked(e):
            raise


def _end(agent):
    """After an interrupt. agent: None if it came before there was anything to end."""
    try:
        if agent:
            from agent.province import last_report

            last_report.end(agent)
    except MemoryError:
        pass  # no room, or a locked heap: it ends as if killed, which loses nothing either
    except KeyboardInterrupt:
        pass  # the second one


if __name__ == "__main__":
    main()
