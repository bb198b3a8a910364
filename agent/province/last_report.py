"""The end after an interrupt: on MicroPython, Ctrl-C or SIGINT.

It is raised in the middle of anything, even of the event loop's own queue, which can't be trusted
afterwards. So a new loop does what is left to do, and nothing that waited in the old one is
touched: not its tasks, nor the locks and events on which they wait.
"""

import asyncio

from agent.device import interpreter
from agent.net import packet
from agent.net.tasks import within
from agent.net.traffic import own
from agent.device.interpreter import const
from agent.wire import ids

_LONGEST_MS = const(3000)
_REPORTS = const(4)
_AROUND = const(81)  # bytes around a packet, as in mqtt.py


def end(app):
    """Make the last report of `app` (an App), send it if there is a connection, close the
    journal. If the interrupt came while something was being written, all that is left out: the
    journal is then as after a kill, and the next start repairs it."""
    journal = app._journal
    if not journal.whole:
        return
    if app.running:
        asyncio.new_event_loop()
        asyncio.run(_last_words(app))
    journal.close()


async def _last_words(app):
    reporter = app._reporter
    reporter._quiet = asyncio.Lock()
    reporter.event(ids.STOPPED)
    try:
        await reporter.close()
        if app._delivery.connected and not app._delivery.hold:
            await within(_LONGEST_MS, _farewell(app._delivery))
    except (OSError, EOFError) as e:
        interpreter.log("end:", e)
    app._save_alive()


async def _farewell(delivery):
    """Hand over the newest reports and say goodbye, so that the broker need not send the will."""
    client = delivery._client
    stream = client._writer
    stream._flusher = None  # it was of the old loop
    base = delivery._base
    for _ in range(_REPORTS):
        held, seq = delivery._next()
        if seq is None:
            break
        message = held.read(seq)
        if message is None:
            break
        if held is delivery._journal:
            held.sending(seq)
        delivery._sent.append((held.stream, seq, 0))
        _write(stream, packet.publish(base + "report", message, client._next_id(), False))
    _write(stream, packet.publish(base + "state", b"offline", client._next_id(), True))
    _write(stream, b"\xe0\0")  # DISCONNECT: the broker closes the connection
    await stream.drain()
    while await stream.read(256):
        pass


def _write(stream, data):
    own.add(len(data) + (len(data) >> 4) + _AROUND)
    stream.write(data)
