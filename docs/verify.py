"""Compute the province's figures from its evidence, by the rules of wire.md and metrics.md.

    python verify.py DIRECTORY [--now UNIX_TIME]

Imports only the standard library, `cryptography` and `cbor2`, and read_archive.py beside it.
DIRECTORY is the province's, or a copy, with `province.db`, `registry.db` and `archive`. Prints
JSON: what does not verify, and of each slot status, outages, states and usage. Not fast.
"""

import argparse
import hashlib
import json
import sqlite3
import sys
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from read_archive import archived

PROGRAMME = 1_735_660_800  # 2025-01-01 00:00 WITA
# What is over once a device has reached the province.
ENDED_BY_BIRTH = {"no_data", "unknown", "interface", "gateway", "provider", "broker"}
AHEAD, ROUNDING, SEAM, LAG = 300, 2, 10, 30
HOUR, MOST, TIME = 3600, 2**53 - 1, 2**33  # no time in an event's detail is greater than TIME
STATES = (
    "unknown up degraded interface gateway provider dns portal tls broker next_hop other_dns clock"
).split()
STATE, RTT, LOSS, DOWN, UP, CLIENTS, PEAK, OF_DAY, FILL = 1, 7, 9, 13, 14, 15, 16, 17, 20
BEGAN, ENDED, BOOTED, DROPPED = 1, 2, 3, 5


def state_name(code):
    return STATES[code or 0] if code in (None, *range(len(STATES))) else f"state_{code}"


def number(value):
    """A number that an event's detail needs, or None."""
    return value if type(value) is int and 0 <= value <= TIME else None


def opened(message, topic, keys):
    """kid and payload of a message that verifies for a topic; raises ValueError."""
    tag = cbor2.loads(message)
    if not isinstance(tag, cbor2.CBORTag) or tag.tag != 18 or len(tag.value) != 4:
        raise ValueError("no COSE_Sign1")
    protected, unprotected, payload, signature = tag.value
    header = cbor2.loads(protected)
    if cbor2.dumps(tag, canonical=True) != message or unprotected or set(header) != {1, 4}:
        raise ValueError("not the envelope that wire.md describes")
    if header[1] not in (-19, -8) or header[4] not in keys:
        raise ValueError("another algorithm, or an unknown key")
    key, slot = keys[header[4]]
    if topic.split("/")[3] != slot:
        raise ValueError("the key is enrolled for another slot")
    signed = cbor2.dumps(["Signature1", protected, topic.encode(), payload], canonical=True)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature:
        raise ValueError("the signature does not verify") from None
    return header[4], cbor2.loads(payload)


def column(values, n, count):
    """The n values of a column."""
    found, last = [], None
    for value in [values] if type(values) is int else values:
        if value is not None:
            last = value * 1024 if count else value + (last or 0)
        found.append(None if value is None else last)
    return found + [0 if count else last] * (n - len(found))


class Report:
    """A report as its payload says, and when it was received."""

    def __init__(self, kid, payload, received_at, message):
        get = payload.get
        self.kid, self.received_at = kid, received_at
        self.stream, self.seq, self.prev, self.boot, self.up, self.start = map(get, range(1, 7))
        self.step, self.n = get(7, 60), get(11, 5)
        self.columns, self.digest = get(8), hashlib.sha256(message).digest()[:8]
        self.rank = (kid, self.stream, self.boot)
        self.all_events = get(9, [])[:100]
        fits = range(-ROUNDING - self.up, (self.n + 1) * self.step + AHEAD + 1)
        self.events = [event for event in self.all_events if event[0] in fits]
        self.extent = max([self.n * self.step, *(offset for offset, _, _ in self.events)])
        self.t = self.offset = None
        if self.start is not None and self.start + self.extent <= received_at + AHEAD:
            if self.start - self.up >= PROGRAMME:
                self.t, self.offset = self.start, self.start - self.up

    def values(self, metric):
        return column(self.columns.get(metric, [None] * self.n), self.n, metric in (DOWN, UP))

    @property
    def end(self):
        return self.t + self.n * self.step


def place(reports):
    """Give the reports of one boot, ascending by seq, their places."""
    known = [(r.seq, r.offset) for r in reports if r.offset is not None]
    for r in reports:
        if r.t is None and known:
            _, offset = min(known, key=lambda a: (abs(a[0] - r.seq), a[0]))
            if offset + r.up + r.extent <= r.received_at + AHEAD:
                r.t = offset + r.up


class Boot:
    """A boot with its placed reports, and what its events say."""

    def __init__(self, rank, reports):
        self.rank = rank
        self.placed = [r for r in reports if r.t is not None]
        self.sampled = [r for r in self.placed if r.n]
        self.last_t = max((r.end for r in self.sampled), default=None)
        self.batches = defaultdict(list)
        for r in self.sampled:
            self.batches[r.seq // 16] += r.t, r.end
        self.offset = self.placed[-1].t - self.placed[-1].up if self.placed else None
        events = [(r, *event) for r in reports for event in r.events]
        self.started = self.alive = None
        self.booted = next((event for event in events if event[2] == BOOTED), None)
        if self.booted is not None:
            r, offset, _, detail = self.booted
            self.started = None if r.t is None else r.t + offset
            alive = number(detail.get(3))
            if alive is not None and PROGRAMME <= alive <= r.received_at + AHEAD:
                self.alive = alive
        self.told = [event for event in events if event[2] in (BEGAN, ENDED)][:20_000]
        self.outages = []

    def samples(self):
        """(start, seq, number, step, state) in order."""
        return sorted(
            (r.t + i * r.step, r.seq, i, r.step, state)
            for r in self.sampled
            for i, state in enumerate(map(state_name, r.values(STATE)))
        )


def nearest(ups, up, later):
    near = [other for other in ups if abs(other - up) <= ROUNDING]
    return min(near, key=lambda o: (abs(o - up), -o if later else o), default=None)


def find_outages(boot, after, others):
    """The outages of a boot; `after`: the next of its stream, `others`: the slot's other boots."""
    tables = defaultdict(dict)  # kind, cause -> beginning since boot -> time, seq, length, detail
    for r, offset, kind, detail in boot.told:
        cause, length = number(detail.get(1)), 0 if kind == BEGAN else number(detail.get(3))
        if cause is not None and length is not None and r.up + offset - length >= -ROUNDING:
            t = None if r.t is None else r.t + offset - length
            tables[kind, cause].setdefault(r.up + offset - length, (t, r.seq, length, detail))
    found = []  # beginning, cause, B, E
    for cause in {cause for _, cause in tables}:
        begins, ends = tables[BEGAN, cause], tables[ENDED, cause]
        alone = set(ends)
        for up, event in begins.items():
            near = nearest(ends, up, True)
            both = near is not None and nearest(begins, near, False) == up
            found.append((up, cause, event, ends[near] if both else None))
            alone.discard(near if both else None)
        found += [(up, cause, None, ends[up]) for up in alone]
    found.sort(key=lambda o: o[:2])
    for up, cause, b, e in found:
        t, seq, length, detail = e or b
        if t is None:
            continue
        row = {"cause": state_name(cause), "begin": t, "end": t + length, "interrupted": False}
        row |= {"up": up, "code": cause, "flaps": e and number(detail.get(4)) or 0, "ended": e}
        pairs = b[3].get(2) if b else None
        row["evidence"] = [
            {"rung": state_name(pair[0]), "result": pair[1]}
            for pair in (pairs if isinstance(pairs, list) else [])
            if isinstance(pair, list) and len(pair) == 2
        ]
        if e is None:
            times = [(o[0], x[0]) for o in found if o[0] > up for x in o[2:] if x]
            later = [its for its in times if its[1] is not None]
            row["end"] = record_end(boot, after, others, t, up, seq, later)
            row["interrupted"] = row["end"] is not None
        row["until"] = max(t, boot.last_t or 0) if row["end"] is None else row["end"]
        boot.outages.append(row)


def record_end(boot, after, others, begin, up, seq, later):
    """Where an outage ends for the record whose end was not reported; None: it lasts."""
    ends = [min(begin + other - up, t) for other, t in later[:1]]
    for r in boot.placed:
        ups = (r.up + i * r.step for i, state in enumerate(r.values(STATE)) if state == 1)
        again = next((its for its in ups if r.seq >= seq and its >= up + LAG), None)
        if again is not None:
            ends.append(r.t + again - r.up)
            break
    if not (ends or after or any(o.last_t is not None and o.last_t > begin for o in others)):
        return None
    limit = min(ends, default=MOST)
    last = (max(its) for its in boot.batches.values() if min(its) < limit)
    return max(begin, min(limit, max(last, default=begin)))


def off_time(boot, before):
    """(begin, end, state) of the time before a boot in which nothing ran, or None."""
    if boot.booted is None or boot.started is None:
        return None
    detail = boot.booted[3]
    pair = detail.get(2)
    pair = [number(value) for value in pair] if isinstance(pair, list) else []
    begin = boot.alive
    if begin is None and len(pair) == 2 and None not in pair:
        if before and before.rank[2] == pair[0] and before.offset is not None:
            begin = before.offset + pair[1]
    elif begin is None and before and before.rank[2] == boot.rank[2] - 1:
        begin = before.last_t
    if begin is not None and before and before.last_t is not None:
        begin = max(begin, before.last_t)
    if begin is None or begin >= boot.started:
        return None
    cause = number(detail.get(1)) or 0
    power = cause in (1, 2) or (cause == 0 and detail.get(4) is not True)
    return begin, boot.started, "power" if power else "agent"


def seen(layer):
    """(begin, end, what) in order, where the later is seen: disjoint, ascending."""
    edges = sorted({edge for begin, end, _ in layer for edge in (begin, end)})
    opening = defaultdict(list)
    for order, (begin, end, what) in enumerate(layer):
        opening[begin].append((order, end, what))
    active, found = [], []
    for left, right in zip(edges, edges[1:], strict=False):
        active = [a for a in active if a[1] > left] + [a for a in opening[left] if a[1] > left]
        if active:
            found.append((left, right, max(active, key=lambda a: a[0])[2]))
    return found


def joined(intervals):
    found = []
    for begin, end, state in intervals:
        if found and found[-1][1] == begin and found[-1][2] == state:
            found[-1] = (found[-1][0], end, state)
        elif begin < end:
            found.append((begin, end, state))
    return found


def boot_layer(boot):
    told = sorted(boot.outages, key=lambda o: (o["begin"], o["up"], o["code"]))
    told = joined(seen([(o["begin"], o["until"], (o["cause"], o["ended"])) for o in told]))
    samples, shown = boot.samples(), []
    before, before_end = "unknown", None
    for index, (t, _, _, step, state) in enumerate(samples):
        end = t + step
        if before_end is None or t - before_end > SEAM:
            before = "unknown"
        before_end = end
        if index + 1 < len(samples) and end < samples[index + 1][0] <= end + SEAM:
            end = samples[index + 1][0]
        name = state
        if state not in ("up", "unknown"):
            last = [o for o in told if o[0] <= end][-1:]
            if last and last[0][1] >= t - LAG:
                name = "unknown" if before == "unknown" else "up"
        shown.append((t, end, (name, True)))
        before = state
    covered, layer = union([span[:2] for span in shown]), seen([*shown, *told])
    return [(a, b, s) for a, b, (s, sure) in layer if sure or any(c <= a < d for c, d in covered)]


def timeline(boots, offs):
    layers = seen([off for _, _, off in sorted((o[0], rank, o) for rank, o in offs)])
    for boot in reversed(boots):
        layers = seen([*layers, *boot_layer(boot)])
    found = []
    for begin, end, state in layers:
        if found and found[-1][1] < begin:
            found.append((found[-1][1], begin, "no_data"))
        found.append((begin, end, state))
    return joined(found)


def crowded(boots, offs, states):
    """The hours that show nothing, because more reaches into them than a slot can have."""
    reports = [r for boot in boots for r in boot.sampled]
    batches = [((boot.rank[:2], n), its) for boot in boots for n, its in boot.batches.items()]
    outages = [(boot, o) for boot in boots for o in boot.outages]
    many = (
        (200, [(key, min(its), max(its)) for key, its in batches]),
        (2000, [((b, o["up"], o["code"]), o["begin"], o["until"]) for b, o in outages]),
        (2000, [(rank, begin, end) for rank, (begin, end, _) in offs]),
    )
    found, few = set(), not states or all(len(its) <= most for most, its in many)
    for hour in () if few else range(states[0][0] // HOUR * HOUR, states[-1][1], HOUR):
        stop = hour + HOUR
        lows = [hour - (hour - r.t) % r.step for r in reports if r.t < hour <= r.end]
        highs = [stop + (r.t - stop) % r.step for r in reports if r.t <= stop < r.end]
        low, high = min([hour, *lows]) - SEAM - LAG, max([stop, *highs]) + SEAM + LAG
        if any(len({k for k, b, e in its if b <= high and e >= low}) > most for most, its in many):
            found.add(hour)
    return found


def usage(boots):
    """Hour -> measured_s, bytes_down, bytes_up, clients_peak, clients_day."""
    hours = defaultdict(lambda: [0, None, None, None, None])
    taken = []
    for boot in boots:
        spans = []
        for r in boot.sampled:
            rows = zip(*map(r.values, (DOWN, UP, PEAK, CLIENTS, OF_DAY)), strict=True)
            for i, (down, up, peak, clients, of_day) in enumerate(rows):
                t, end, done = r.t + i * r.step, r.t + (i + 1) * r.step, 0
                spans.append((t, end))
                for begin, stop in rest((t, end), taken):
                    for hour in range(begin // HOUR * HOUR, stop, HOUR):
                        y = done + min(stop, hour + HOUR) - max(begin, hour)
                        row = hours[hour]
                        for at, b in ((1, down), (2, up)):
                            if b is not None:
                                part = b * y // r.step - b * done // r.step
                                row[at] = min(MOST, (row[at] or 0) + part)
                        done = y
                        most = clients if peak is None else peak
                        last = of_day if hour < end <= hour + HOUR and stop == end else None
                        for at, value in ((3, most), (4, last)):
                            if value is not None:
                                row[at] = max(value, row[at] or value)
        taken = union(taken + spans)
    for begin, end in taken:
        for hour in range(begin // HOUR * HOUR, end, HOUR):
            hours[hour][0] += min(end, hour + HOUR) - max(begin, hour)
    return {hour: tuple(row) for hour, row in hours.items() if row[0]}


def union(spans):
    found = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def rest(span, taken):
    begin, end = span
    for a, b in taken:
        if b > begin and a < end:
            if a > begin:
                yield begin, a
            begin = max(begin, b)
    if begin < end:
        yield begin, end


def newest_birth(births, after):
    """Moment and report interval of the last of the newest births of a slot's streams, if it is
    after a time."""
    found = []
    for received_at, birth in births.values():
        told = birth[5]
        moment = received_at if told is None or told < PROGRAMME else min(received_at, told)
        if moment > after:
            found.append((moment, (birth[11][1] or 60) * min(birth[11][2] or 5, 60)))
    return max(found, default=None)


def status(boots, reports, states, births, gaps, now):
    """A slot as of now."""
    ends = [(r.end, r.rank, r.seq, r) for b in boots for r in b.sampled]
    received = max((r.received_at for r in reports), default=None)
    newest = max(ends, key=lambda e: e[:3])[3] if ends else None
    fresh, found = False, {"last_report": received, "gaps": gaps, "backlog": gaps}
    if newest is not None:
        birth = (births.get((newest.kid, newest.stream)) or (None, None))[1]
        samples = birth[11][2] if birth else 5
        silent = 3 * newest.step * min(samples or 5, 60)
        fresh = now - received <= silent and now - newest.end <= silent + AHEAD
        stored = max(r.seq for r in reports if r.rank[:2] == newest.rank[:2])
        made = min((birth[10] or 1) - 1, 2**32 - 1) if birth else 0
        found["backlog"] += max(0, made - stored)
    found |= {"fresh": fresh, "state": "no_data", "since": states[-1][1] if states else None}
    found |= dict.fromkeys(("rtt_ms", "loss_percent", "clients", "journal_fill_percent"))
    lasting = max(
        ((o["begin"], o["cause"]) for b in boots for o in b.outages if o["end"] is None),
        default=None,
    )
    last = (states[-1][0], states[-1][2]) if states else None
    if lasting and (not last or lasting[0] >= last[0]):
        last = lasting
    known_until = max(newest.end if newest else 0, last[0] if last else 0)
    if fresh and last:
        found["since"], found["state"] = last
    connected = newest_birth(births, known_until)
    if connected and found["state"] in ENDED_BY_BIRTH:
        if found["state"] == "no_data":
            found["since"] = connected[0]
        if now - connected[0] <= 3 * connected[1]:
            found |= {"since": connected[0], "state": "up", "fresh": True}
    if not fresh:
        return found
    near = [(r.seq, r) for *_, r in ends if r.rank == newest.rank]
    near = sorted(e for e in near if newest.seq - 16 < e[0] <= newest.seq)
    last = [(r, i) for _, r in near for i in range(r.n)][-10:]
    shown = ("rtt_ms", RTT, 2), ("loss_percent", LOSS, 10), ("clients", CLIENTS, 1)
    for key, metric, scale in (*shown, ("journal_fill_percent", FILL, 10)):
        values = [r.values(metric)[i] for r, i in last]
        known = [value for value in values if value is not None]
        if known and not (metric == RTT and values[-1] is None):
            found[key] = known[-1] if scale == 1 else known[-1] / scale
    return found


def slot_figures(reports, births, kept, now):
    """All figures of one slot; kept: (kid, stream, seq) of malformed reports that count as stored,
    births: of each (kid, stream) the newest, and when it was received."""
    by_boot, seqs = defaultdict(list), defaultdict(set)
    for r in sorted(reports, key=lambda r: (r.rank, r.seq)):
        by_boot[r.rank].append(r)
        seqs[r.rank[:2]].add(r.seq)
    for kid, stream, seq in kept:
        seqs[kid, stream].add(seq)
    boots = []
    for rank, its in sorted(by_boot.items()):
        place(its)
        boots.append(Boot(rank, its))
    offs = []
    for boot in boots:
        same = [b for b in boots if b.rank[:2] == boot.rank[:2]]
        before = [b for b in same if b.rank[2] < boot.rank[2]][-1:]
        after = [b for b in same if b.rank[2] > boot.rank[2]][:1]
        find_outages(boot, after[0] if after else None, [b for b in boots if b is not boot])
        off = off_time(boot, before[0] if before else None)
        if off:
            offs.append((boot.rank, off))
    declared = defaultdict(list)
    for r in sorted(reports, key=lambda r: (r.rank[:2], r.seq)):
        for _, kind, detail in r.all_events:
            span = detail.get(2)
            if kind != DROPPED or not isinstance(span, list) or len(span) != 2:
                continue
            if all(type(seq) is int for seq in span) and 1 <= span[0] <= span[1] < 2**32:
                other = detail.get(3)
                declared[r.kid, other if isinstance(other, bytes) else r.stream].append(span)
    gaps = 0
    for key, stored in seqs.items():
        there = union(
            [(a, b + 1) for a, b in declared[key][:2000]] + [(seq, seq + 1) for seq in stored]
        )
        gaps += sum(b - a for a, b in rest((1, max(stored)), there))
    states, hours = timeline(boots, offs), usage(boots)
    blank = crowded(boots, offs, states)
    states = joined(seen([*states, *((hour, hour + HOUR, "no_data") for hour in sorted(blank))]))
    states = states[bool(states) and states[0][2] == "no_data" :]
    states = states[: len(states) - (bool(states) and states[-1][2] == "no_data")]
    keys = ("cause", "begin", "end", "flaps", "interrupted", "evidence")
    outages = [{key: o[key] for key in keys} for boot in boots for o in boot.outages]
    return {
        "status": status(boots, reports, states, births, gaps, now),
        "outages": sorted(outages, key=lambda o: (o["begin"], o["cause"])),
        "states": states,
        "usage_hours": {hour: hours[hour] for hour in sorted(hours) if hour not in blank},
    }


def figures(database, keys, now):
    """The figures of every slot, and what does not verify; keys: kid -> (public key, slot), of all
    devices that were ever enrolled."""
    reports, kept, births, bad = defaultdict(list), defaultdict(list), defaultdict(dict), []
    with closing(sqlite3.connect(database)) as db:
        sql = (
            "SELECT slot, kid, stream, received_at, message{} FROM {} AS x JOIN streams "
            "ON streams.id = stream_id JOIN slots ON slots.id = slot_id"
        )
        rows = [*archived(database.parent), *db.execute(sql.format(", seq", "reports"))]
        rows = {row[1:3] + row[5:]: row for row in rows}.values()  # of two the later counts
        for slot, kid, stream, received_at, message, seq in rows:
            try:
                signer, payload = opened(message, f"desa/1/{slot[:4]}/{slot}/report", keys)
                if (signer, payload[1], payload[2]) != (kid, stream, seq):
                    raise ValueError("the row is of another message")
                reports[slot].append(Report(kid, payload, received_at, message))
            except Exception as error:  # whatever changed bytes provoke
                bad.append((slot, stream.hex(), seq, str(error)))
        for slot, kid, stream, received_at, message in db.execute(sql.format("", "births")):
            _, payload = opened(message, f"desa/1/{slot[:4]}/{slot}/birth", keys)
            old = births[slot].get((kid, stream))
            if old is None or (payload[2], payload[3]) > (old[1][2], old[1][3]):
                births[slot][kid, stream] = received_at, payload
        rows = db.execute(
            "SELECT slots.slot, streams.kid, stream, seq FROM quarantine JOIN streams "
            "ON streams.id = stream_id JOIN slots ON slots.id = slot_id WHERE reason != 'conflict'"
        )
        for slot, kid, stream, seq in rows:
            kept[slot].append((kid, stream, seq))
    slots = {s: slot_figures(reports[s], births[s], kept[s], now) for s in sorted(reports)}
    return {"not_verified": bad, "slots": slots}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--now", type=float, default=time.time())
    options = parser.parse_args()
    with closing(sqlite3.connect(options.directory / "registry.db")) as db:
        rows = db.execute("SELECT public_key, slot FROM devices").fetchall()
    keys = {hashlib.sha256(key).digest()[:8]: (key, slot) for key, slot in rows}
    found = figures(options.directory / "province.db", keys, options.now)
    json.dump(found, sys.stdout, indent=1)
    return 1 if found["not_verified"] else 0


if __name__ == "__main__":
    sys.exit(main())
