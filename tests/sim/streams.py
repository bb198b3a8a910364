"""Has the simulated clock stand still while anything but the broker owes an answer: for an agent
whose equipment is real."""

from tests.sim import clock


def install(unused, commands):
    owed = clock.owed

    def waiting(streams):
        count = streams if isinstance(streams, int) else len(streams)
        broker = clock._client and clock._client.connected
        return count > (1 if broker else 0) or owed(streams)

    clock.owed = waiting
