"""What a device tries while it is being provisioned, and what it shows of itself.

    network(path) -> [result, detail]       first_report(path) -> [topic, report in base64]

Called over the serial line, where nothing else of the agent runs; `path` is the configuration's.
"""

import asyncio
import binascii

from agent import start
from agent.net.errors import CERTIFICATE, NetError
from agent.net.tasks import within

_JOIN_S = 60
_CONNECT_MS = 30000
_ANSWER_MS = 15000
# The broker has shown a good certificate and then ended the handshake: EPIPE, or a fatal alert as
# mbedTLS counts it. (A filter on the way resets the connection before that.)
_LET_DOWN = (32, -0x7780)
_RESULTS = {"name": "no_name", "connect": "no_broker", "tls": "no_tls"}


def network(path, unix=0):
    """Join the network and greet the broker as the agent would.

    unix: what time it is, for a device whose clock nobody keeps. The result is "ok", one of
    `Board.join`'s, "no_name" (not found), "no_broker" (no connection), "certificate" (the broker's
    is not valid here), "no_tls" (no handshake) or "refused" (the device's certificate is); the
    detail is for people."""
    settings, board = start._load(path)
    return asyncio.run(_network(settings, board, unix))


async def _network(settings, board, unix):
    missing = await board.join(_JOIN_S)
    if missing:
        return [missing, ""]
    if unix and not board.clock_synchronised():
        board.set_clock(unix)  # certificates are judged by it
    from agent.net import connection, packet, tls

    slot = settings["slot"]
    host = settings["broker.host"]
    stage = "tls"
    try:
        context = tls.tls_context(
            settings["broker.ca"], settings["broker.cert"], settings["broker.key"]
        )
        reader, writer = await connection.open_connection(
            host,
            settings["broker.port"],
            context,
            settings["broker.server_name"] or host,
            settings["broker.resolvers"],
            _CONNECT_MS,
            packet.connect(slot, 30, None),
        )
        # The broker judges the device's certificate last: only its answer shows that it is good.
        stage = "answer"
        answer = bytearray(4)
        try:
            await within(_ANSWER_MS, connection.fill(reader, memoryview(answer)))
        finally:
            connection.close(writer)
    except (OSError, EOFError, ValueError) as error:
        if stage == "answer":
            return ["refused", "no answer to CONNECT"]
        if not isinstance(error, NetError):
            raise
        if error.args[0] == CERTIFICATE:
            return ["certificate", error.reason]
        if error.args[0] in _LET_DOWN:
            return ["refused", error.reason]
        return [_RESULTS.get(error.stage, "no_broker"), error.reason]
    if answer[0] != 0x20 or answer[3]:
        return ["refused", "CONNACK %d" % answer[3]]
    return ["ok", host]


def first_report(path):
    """The oldest report that the device holds; if it holds none, one of a sample taken now."""
    app = start.build(path)
    return asyncio.run(_first_report(app))


async def _first_report(app):
    journal = app._journal
    try:
        if not journal.newest:
            await _measure(app)
        return [
            str(app._reporter._topic, "ascii"),
            str(binascii.b2a_base64(journal.read(journal.oldest)), "ascii").strip(),
        ]
    finally:
        journal.close()


async def _measure(app):
    """One round and one sample of what can be had at once, closed into a report."""
    sampler = app._sampler
    up = app._clock.up()
    await app._link.round()
    row = {}
    app._link.put(row)
    await sampler._read(row)
    row.update(sampler._measure_health())
    app._reporter.add(row, up, max(1, app._clock.up() - up))
    await app._reporter.close()
