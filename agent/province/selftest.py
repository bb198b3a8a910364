"""What a device tries while it is being provisioned, and what it shows of itself."""

import binascii

from agent.net import connection, packet, tls
from agent.net.errors import CERTIFICATE, NetError
from agent.net.tasks import within
from agent.province.backoff import is_refusal
from agent.wire import ids

_JOIN_S = 60
_CONNECT_MS = 30000
_ANSWER_MS = 15000
_RESULTS = {"name": "no_name", "connect": "no_broker", "tls": "no_tls"}


async def network(settings, board, unix):
    """Join the network and greet the broker as the agent would: [result, detail].

    unix: what time it is, for a device whose clock nobody keeps. The result is "ok", one of
    `Board.join`'s, "no_name" (not found), "no_broker" (no connection), "certificate" (the broker's
    is not valid here), "no_tls" (no handshake) or "refused" (the device's certificate is); the
    detail is for people."""
    missing = await board.join(_JOIN_S)
    if missing:
        return [missing, ""]
    if unix and not board.clock_synchronised():
        board.set_clock(unix)  # certificates are judged by it
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
            packet.connect(settings["slot"], 30, None),
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
        if error.errno == CERTIFICATE:
            return ["certificate", error.reason]
        if is_refusal(error) or error.errno == 32:  # EPIPE
            return ["refused", error.reason]
        return [_RESULTS.get(error.stage, "no_broker"), error.reason]
    if answer[0] != 0x20 or answer[3]:
        return ["refused", "CONNACK %d" % answer[3]]
    return ["ok", host]


async def first_report(journal, link, sampler, reporter, clock, unix=0):
    """The oldest report that the device holds: [topic, report in base64]. If it holds none, one of
    a sample that is taken now, at the laptop's time `unix`: without a time it would never have a
    place."""
    if unix:
        clock.set(unix, ids.CLOCK_LAPTOP, False)
    try:
        if not journal.newest:
            up = clock.up()
            await link.round()
            row = await sampler.row()
            reporter.add(row, up, max(1, clock.up() - up))
            await reporter.close()
        report = binascii.b2a_base64(journal.read(journal.oldest))
        return [str(reporter.topic, "ascii"), str(report, "ascii").strip()]
    finally:
        journal.close()
