"""Runs the real agent on a simulated clock: whenever it has nothing to do, time jumps.

    micropython -X heapsize=160k tests/sim/day.py CONFIG [MODULE ARGUMENT]...

The clock is the real one plus all jumps. Nothing is simulated but waiting: sockets are real, and
while the broker owes an answer there are no jumps. Once a simulated minute the agent stands still:
it prints "minute N", then obeys lines until an empty one comes. So whoever started it changes the
world at exact times. "heap" prints what is allocated after a collection, "stop" asks the agent to
end.

CONFIG's `port` must be tests.sim.board. Each MODULE, such as tests.sim.links, gets its
`install(ARGUMENT, commands)` called first and may add to the commands.

Small on purpose: the heap that is measured is the agent's.
"""

import sys

if sys.implementation.name == "micropython":
    sys.path.pop(0)  # this folder

from tests.sim import clock  # noqa: E402

if sys.implementation.name != "micropython":
    from tests.sim import cpython  # noqa: F401

while len(sys.argv) > 2:
    __import__(sys.argv[2], None, None, ("install",)).install(sys.argv[3], clock.commands)
    del sys.argv[2:4]

from agent import __main__ as agent  # noqa: E402

agent.main()
