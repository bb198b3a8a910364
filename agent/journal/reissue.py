"""Reports issued again in a new stream, as the province holds others under their old seqs.

That happens to a device whose flash was put back from a copy, or whose medium lost the end of the
journal. What it measured since then was signed under seqs that were given out before. Only stream,
seq and prev change; they are the first three keys of the payload, so the rest is not even decoded.

The old bytes stay until the new are on the medium, and the record that holds the new says so in
itself (segment.py, REISSUED): whenever the power goes, a report is there once.
"""

from agent.device.interpreter import const
from agent.journal.stream import covers, to_reissue
from agent.wire import cbor, cose

# As in segment.py, where it is explained (a test holds them equal): here it costs nothing.
_STATE = const(2)


async def reissue(reporter):
    """Issue one report again, the one that `Journal.reissue` names, if there is one.

    reporter: under its lock, so that no two reports take the same seq. Raises OSError and
    MemoryError; then nothing has changed."""
    journal = reporter.journal
    async with reporter.quiet:
        seq = journal.reissue
        if seq is None:
            return
        old = journal.previous
        if covers(old.given, seq, seq):
            # It was sent before that was known: it is stored as it is, or kept as a conflict.
            to_reissue(journal.gaps)[1] = seq
            journal.remember(_STATE)
            journal.release()
            return
        message = old.read(seq)
        if message is None:
            return  # the medium lost it: the journal adds a drop event
        stream = journal.stream
        payload = cbor.loads(message).value[2]
        del message
        payload = moved(payload, stream, journal.next_seq, journal.last_hash8)
        message = await cose.sign1_async(reporter.signer, payload, reporter.topic)
        if stream == journal.stream:
            journal.append(message, seq)


def moved(payload, stream, seq, prev):
    """A report's payload (bytes) with another stream, seq and prev."""
    at = 8  # behind the map's head, 1: stream, and the key 2
    at += 2 + (0, 1, 2, 4)[max(0, (payload[at] & 31) - 23)]  # behind seq and the key 3
    at += 1 if payload[at] == 0xF6 else 9
    head = cbor.dumps({1: stream, 2: seq, 3: prev})
    return payload[:1] + head[1:] + payload[at:]
