"""The end after an interrupt: on MicroPython, Ctrl-C or SIGINT.

It is raised in the middle of anything, even of the event loop's own queue, which can't be trusted
afterwards. So a new loop does what is left to do, and nothing that waited in the old one is
touched: not its tasks, nor the locks and events on which they wait.
"""

import asyncio

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net import packet
from agent.net.mqtt import count
from agent.net.tasks import within
from agent.wire import ids

_LONGEST_MS = const(3000)
_REPORTS = const(4)


def end(agent):
    """Make the last report of `agent` (a Supervisor), send it if there is a connection, close the
    journal. If the interrupt came while something was being written, all that is left out: the
    journal is then as after a kill, and the next start repairs it."""
    journal = agent.journal
    if not journal.whole:
        return
    if agent.running:
        asyncio.new_event_loop()
        asyncio.run(_last_report(agent))
    journal.close()


async def _last_report(agent):
    reporter = agent.reporter
    reporter.quiet = asyncio.Lock()
    reporter.event(ids.STOPPED)
    try:
        await reporter.close()
        if agent.session.connected and not agent.session.hold:
            await within(_LONGEST_MS, _farewell(agent.session, agent.delivery))
    except (OSError, EOFError) as e:
        interpreter.log("end:", e)
    agent.save_alive()


async def _farewell(session, delivery):
    """Hand over the newest reports and say goodbye, so that the broker need not send the will."""
    client = session.client
    connection = client.writer
    connection.renew()
    for _ in range(_REPORTS):
        _, message = delivery.take_next()
        if message is None:
            break
        topic = session.base + "report"
        _write(connection, packet.publish(topic, message, client.next_id(), False))
    topic = session.base + "state"
    _write(connection, packet.publish(topic, b"offline", client.next_id(), True))
    _write(connection, packet.DISCONNECT)  # the broker closes the connection
    await connection.drain()
    while await connection.read(256):
        pass


def _write(connection, data):
    count(data)
    connection.write(data)
