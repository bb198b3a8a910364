"""What an ack says: which reports are stored, and which of those under way were lost."""


def read_ack(ack):
    """(stream, seq, ranges, time, answered) of a decoded ack; ValueError if it is none."""
    if isinstance(ack, dict):
        stream, seq, ranges, unix = ack.get(1), ack.get(2), ack.get(3, []), ack.get(4)
        good = isinstance(stream, bytes) and len(stream) == 4 and _uint(seq) and _uint(unix)
        if good and isinstance(ranges, list) and len(ranges) <= 16:
            last = seq
            for r in ranges:
                if not (isinstance(r, list) and len(r) == 2 and _uint(r[0]) and _uint(r[1])):
                    break
                if not last < r[0] <= r[1]:
                    break
                last = r[1]
            else:
                return stream, seq, ranges, unix, ack.get(5)
    raise ValueError("malformed")


def _uint(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def still_under_way(sent, is_stored, number, live):
    """What of `sent` [(stream, seq, conn), in order of sending] may still arrive, after an ack.

    Messages keep their order through the broker: what was sent before something that is stored,
    and is not stored itself, was lost. So was what was sent on a connection before
    `answered_conn`, if the ack answers the birth of that connection (else 0)."""
    found = []
    for report in sent:
        if is_stored(report[0], report[1]):
            if live:
                found = []
        elif report[2] >= number:
            found.append(report)
    return found
