"""Check an evidence file and count its figures anew, by evidence.md and month.md.

    python verify_evidence.py FILE --root root.pub [--head HEX]...

Needs only Python, `cryptography`, `cbor2`, and verify.py and read_archive.py beside it. Prints
JSON: what is proved, or what is wrong first. Ends with 1 if anything is wrong. Not fast.
"""

import argparse
import hashlib
import json
import sys
import tomllib
import zlib
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from verify import Report, slot_figures

WITA, DAY = timezone(timedelta(hours=8)), 86_400
BEFORE, GRACE, CLOCKS = 3 * DAY, 60, DAY
ITEM, PART, INFLATED, CLOSED = (16 << 20) + (64 << 10), 1000, 16 << 20, 64 << 20
ENTRY, RECEIPT, MESSAGE = 1 << 18, 1 << 24, 8192
TECHNICIAN, INGEST, OFFICE = 1, 4, 5
# Version 1 of the rules comes with Desalink: host_tools/contracts/rules_1.toml.
RULES_1 = "1be618d9f4b1b2c0cf742f942e967764a6f2401b7a4e6144f9c04e27eeec99ff"
EXCLUDABLE = ("power", "site", "agent", "maintenance", "force_majeure")


class Wrong(Exception):
    """What is wrong, as a sentence."""


def need(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def sha(data):
    return hashlib.sha256(data).digest()


def uint(value, most=2**53):
    return type(value) is int and 0 <= value <= most


def octets(value, size):
    return type(value) is bytes and len(value) == size


# ---- CBOR ------------------------------------------------------------------------------------


def end_of(data, at=0, most=100_000, deep=6):
    """Where the item ends that begins at `at`; None: the bytes end before. Bounds come first:
    nothing of a stranger's bytes is decoded that was not measured."""
    left = [1]
    while left:
        if left[-1] == 0:
            left.pop()
            continue
        left[-1] -= 1
        most -= 1
        if at >= len(data):
            return None
        kind, low = data[at] >> 5, data[at] & 31
        need(low < 28 and kind != 6, "it holds CBOR that does not occur in evidence")
        size = 0 if low < 24 else 1 << low - 24
        value = low if low < 24 else int.from_bytes(data[at + 1 : at + 1 + size], "big")
        if at + 1 + size > len(data):
            return None
        need(kind != 7 or low in (20, 21, 22), "it holds CBOR that does not occur in evidence")
        at += 1 + size
        if kind in (2, 3):
            at += value
            need(value <= ITEM, "an item is too large")
            if at > len(data):
                return None
        elif kind in (4, 5):
            left.append(value * (kind - 3))
            need(sum(left) <= most and len(left) <= deep, "an item is too large or too deep")
    return at


def load(data, most=100_000, deep=6):
    """The value of canonical CBOR."""
    need(type(data) is bytes and end_of(data, 0, most, deep) == len(data), "it is no CBOR item")
    try:
        value = cbor2.loads(data)
        again = cbor2.dumps(value, canonical=True)
    except Exception as error:
        raise Wrong(f"it can't be decoded: {error}") from None
    need(again == data, "its CBOR is not canonical")
    return value


def items(path):
    """The items of a file, after its own digest at its end was compared."""
    size = path.stat().st_size - 42
    need(size > 0, "the file is too short")
    with path.open("rb") as file:
        digest, rest = hashlib.sha256(), size
        while rest and (data := file.read(min(rest, 1 << 20))):
            digest.update(data)
            rest -= len(data)
        end = b"\xa1\x66sha256\x58\x20" + digest.digest()
        need(file.read() == end, "the file was cut off, damaged or changed: its digest differs")
        file.seek(0)
        buffer, rest = b"", size
        while buffer or rest:
            stop = end_of(buffer) if buffer else None
            if stop is None:
                need(rest and len(buffer) <= 2 * ITEM, "an item is cut off")
                data = file.read(min(rest, max(1 << 16, len(buffer))))
                need(data, "the file became shorter")
                buffer, rest = buffer + data, rest - len(data)
                continue
            value = load(buffer[:stop])
            need(type(value) is dict and value, "an item is no map")
            yield value
            buffer = buffer[stop:]


class Items:
    """The items, with the next one in view."""

    def __init__(self, path):
        self.rest = items(path)
        self.next = next(self.rest, None)

    def at(self, kind, slot=None):
        names = {kind} if slot is None else {"slot", kind}
        return self.next and set(self.next) == names and self.next.get("slot") == slot

    def take(self, kind, slot=None):
        need(self.at(kind, slot), f"'{kind}' {slot or ''} is missing in the file")
        value = self.next[kind]
        self.next = next(self.rest, None)
        return value

    def rows(self, kind):
        while self.at(kind):
            rows = self.take(kind)
            need(type(rows) is list, f"'{kind}' is no list")
            for row in rows:
                need(type(row) is bytes, f"a row of '{kind}' is no byte string")
                yield row

    def messages(self, kind, slot):
        while self.at(kind, slot):
            plain = inflate(self.take(kind, slot), PART * (MESSAGE + 24) + 8)
            rows = load(plain, 4 * PART + 1, 3)
            need(type(rows) is list and 0 < len(rows) <= PART, f"'{kind}' is no list")
            for row in rows:
                need(
                    type(row) is list
                    and [type(value) for value in row] == [int, int, bytes]
                    and row[0] >= 0 <= row[1]
                    and len(row[2]) <= MESSAGE,
                    f"a row of '{kind}' is not [receipt, received_at, message]",
                )
                yield row


def inflate(data, most):
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(data, most)
    except (zlib.error, TypeError) as error:
        raise Wrong(f"compressed bytes can't be read: {error}") from None
    done = machine.eof and not machine.unused_data and not machine.unconsumed_tail
    need(done, "compressed bytes are cut off, or hold too much")
    return plain


# ---- signatures ------------------------------------------------------------------------------


def signer(message, most=MESSAGE):
    """kid, payload and the rest of a COSE_Sign1."""
    need(type(message) is bytes and len(message) <= most, "a signed message is too long")
    need(message[:1] == b"\xd2" and end_of(message, 1) == len(message), "it is no COSE_Sign1")
    tag = cbor2.loads(message)
    need(type(tag.value) in (list, tuple) and len(tag.value) == 4, "it is no COSE_Sign1")
    need(cbor2.dumps(tag, canonical=True) == message, "it is no COSE_Sign1")
    protected, unprotected, payload, signature = tag.value
    good = type(payload) is bytes and octets(signature, 64) and unprotected == {}
    need(good and octets(protected, 13), "it is no COSE_Sign1")
    kid = protected[5:]
    forms = [cbor2.dumps({1: alg, 4: kid}, canonical=True) for alg in (-19, -8)]
    need(protected in forms, "it has another algorithm")
    return kid, payload, (protected, signature)


def signed(message, aad, key, most=MESSAGE):
    """The payload that a key signed."""
    kid, payload, (protected, signature) = signer(message, most)
    need(kid == sha(key)[:8], "another key signed it")
    bytes_ = cbor2.dumps(["Signature1", protected, aad.encode(), payload], canonical=True)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, bytes_)
    except (InvalidSignature, ValueError):
        raise Wrong("the signature does not verify") from None
    return payload


def read_roots(path):
    end, found = b"-----END PUBLIC KEY-----", []
    for part in path.read_bytes().split(end)[:-1]:
        key = serialization.load_pem_public_key(part.lstrip() + end)
        raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        found.append(key.public_bytes(*raw))
    need(found, f"{path} holds no public key")
    return found


def trust_documents(rows, roots):
    """[version, issued, keys] of each, verified; keys: kid -> (key, role, not_after)."""
    found = []
    for row in rows:
        kid, *_ = signer(row)
        root = next((key for key in roots if sha(key)[:8] == kid), None)
        need(root, f"a trust document is signed by {kid.hex()}, which is not the root")
        table = load(signed(row, "desa/1/trust", root))
        version, issued, rows_ = table.get(1), table.get(2), table.get(4)
        need(uint(version) and uint(issued) and type(rows_) is list, "a trust document is wrong")
        need(
            not found or version == found[-1][0] + 1,
            f"a trust document before {version} is left out",
        )
        keys = {}
        for key in rows_:
            good = type(key) is list and len(key) >= 5 and octets(key[1], 32)
            need(good and key[0] == sha(key[1])[:8] and uint(key[4]), "a trust document is wrong")
            keys[key[0]] = (key[1], key[2], key[4])
        found.append((version, issued, keys, sha(row)))
    need(found, "the file holds no trust document")
    return found


def role(trusts, wanted):
    """kid -> [key, begin, end] of a role: from the first document that names it to the next that
    does not."""
    found = {}
    for _, issued, keys, _ in trusts:
        for kid, its in found.items():
            if kid not in keys or keys[kid][1] != wanted:
                its[2] = min(its[2], issued)
        for kid, (key, its_role, not_after) in keys.items():
            if its_role == wanted and kid not in found:
                found[kid] = [key, issued, not_after]
    return found


def chained(rows, aad, keys, most, what, made):
    """The tables of a chain with their hashes; `made`: the field with the time of signing."""
    prev = bytes(32)
    for number, row in enumerate(rows):
        try:
            kid, *_ = signer(row, most)
            need(kid in keys, f"key {kid.hex()} signed it, which no trust document names for that")
            key, begin, end = keys[kid]
            table = load(signed(row, aad, key, most), 2_000_000, 8)
            need(type(table) is dict, "it is no map")
            need((table.get(1), table.get(2)) == (number, prev), "it does not continue the chain")
            at = table.get(made)
            need(uint(at) and begin - CLOCKS <= at < end, "its key was not valid then")
        except Wrong as error:
            raise Wrong(f"{what} {number}: {error}") from None
        prev = sha(row)
        yield table, prev


# ---- the office log ----------------------------------------------------------------------------


class Office:
    """What the office has done, by its log."""

    def __init__(self, rows, keys, month):
        self.hashes, self.devices, self.active = [], {}, {}
        self.contracts, self.events, self.rules, self.trusts = {}, {}, {}, {}
        self.editions, self.then, self.lost, before = [], None, [], 0
        for table, digest in chained(rows, "desa/1/office", keys, ENTRY, "office log", 3):
            at, kind, body = table[3], table[4], table[5]
            need(at >= before, "the office log goes back in time")
            try:
                getattr(self, f"on_{kind}")(at, **body)
            except (AttributeError, TypeError, KeyError) as error:
                raise Wrong(f"entry {table[1]} of the office log is wrong: {error}") from None
            self.hashes.append(digest)
            before = at
            if kind == "close" and body["month"] == month:
                self.editions.append(body)
                self.then = [dict(x) for x in (self.devices, self.contracts, self.events)]
                self.then.append(dict(self.rules))
            if kind == "reopen" and body["month"] == month:
                need(self.editions[-1:] and self.then, f"{month} was not closed")
                self.then = None
        self.closed = self.editions[-1] if self.then else None
        now = [self.devices, self.contracts, self.events, self.rules]
        self.by_devices, self.by_contracts, self.by_events, self.by_rules = self.then or now

    def on_enrol(self, time, *, slot, kid, key, proof, replaces, record, adopted, at, certificate):
        need(octets(key, 32) and kid == sha(key)[:8] and kid not in self.devices, "enrol: the key")
        need(self.active.get(slot) == replaces, f"enrol: {slot} is filled by another device")
        if replaces is not None:
            self.devices[replaces]["end"] = max(at, time)
        self.active[slot] = kid
        its = {"slot": slot, "key": key, "proof": proof, "record": record, "adopted": adopted}
        self.devices[kid] = its | {"end": None}

    def on_revoke(self, time, *, kid, at, reason):
        need(
            kid in self.devices and self.active.pop(self.devices[kid]["slot"], None) == kid,
            "revoke",
        )
        self.devices[kid]["end"] = max(at, time)

    def on_trust(self, time, *, version, hash):
        need(version > max(self.trusts, default=0), "trust: its version")
        self.trusts[version] = hash

    def on_contract(self, time, *, id, **body):
        need(id not in self.contracts, f"contract {id} is there already")
        self.contracts[id] = contract(body)

    def on_contract_withdraw(self, time, *, id, why, at):
        need(self.contracts.pop(id, None), f"contract {id} does not hold")

    def on_event(self, time, *, id, **body):
        need(id not in self.events, f"event {id} is there already")
        self.events[id] = body

    def on_event_withdraw(self, time, *, id, why, at):
        need(self.events.pop(id, None), f"event {id} does not hold")

    def on_rules(self, time, *, version, document, at):
        need(version not in self.rules, f"rules {version} are there already")
        self.rules[version] = document

    def on_close(self, time, **body):
        pass

    def on_lost(self, time, *, first, last, why, at):
        need(uint(first) and uint(last) and first <= last, "lost: its receipts")
        need(all(last < a or b < first for a, b in self.lost), "lost: a receipt is lost already")
        self.lost.append((first, last))

    on_reopen = on_kit = on_kit_revoke = on_village = on_close

    def counts(self, kid, slot, received_at):
        device = self.devices.get(kid)
        need(device and device["slot"] == slot, f"no device {kid.hex()} is enrolled for {slot}")
        end = device["end"]
        need(end is None or received_at <= end + GRACE, f"device {kid.hex()} was revoked before")
        return device["key"]


def contract(body):
    """A contract as month.md has it; `id`: of what is in it."""
    names = "slot provider product medium mbps price target_ppm number".split()
    its = {name: body[name] for name in names}
    its["excluded"] = [kind for kind in body["excluded"].split(",") if kind]
    its["hours"] = None if body["opens"] is None else [body["opens"], body["closes"]]
    its |= {"begin": body["t_begin"], "end": body["t_end"]}
    text = json.dumps(its, sort_keys=True, separators=(",", ":"))
    return its | {"id": hashlib.sha256(text.encode()).hexdigest()[:16]}


# ---- the month ---------------------------------------------------------------------------------


def month_span(name):
    need(type(name) is str and len(name) == 7, "the month is wrong")
    begin = datetime.strptime(name, "%Y-%m").replace(tzinfo=WITA)
    end = (begin + timedelta(days=32)).replace(day=1)
    return int(begin.timestamp()), int(end.timestamp())


def rules_of(office, month, text):
    """The table of the rules by which a month counts; `text` must be it."""
    digests = {1: RULES_1} | {v: sha(t.encode()).hex() for v, t in office.by_rules.items()}
    need(type(text) is str, "the rules are no text")
    table, digest = tomllib.loads(text), sha(text.encode()).hex()
    version = table["version"]
    need(digests.get(version) == digest, f"the file's rules {version} are not the office's")
    wanted = office.closed["rules"] if office.closed else None
    if wanted is None:
        valid = [(tomllib.loads(t)["valid_from"], v) for v, t in office.by_rules.items()]
        if 1 not in office.by_rules:
            valid.append(("2025-01", 1))
        wanted = max(pair for pair in valid if pair[0] <= month)[1]
    need(version == wanted, f"{month} counts by rules {wanted}, and the file has {version}")
    return table, {"version": version, "sha256": digest}


def concerns(event, slot, provider):
    scope, value = event["scope"], event["value"]
    if scope in ("provider", "slot"):
        return value == (provider if scope == "provider" else slot)
    return scope == "all" or slot.startswith(value)


def within(moment, spans):
    return any(begin <= moment < end for begin, end in spans)


def half_up(value):
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def piece_of(slot, its, begin, end, month, states, events, rules):
    """The figures of the time in which one contract holds, or none. Every second between two
    neighbouring edges is alike."""
    provider = its["provider"] if its else None
    excluded = its["excluded"] if its else rules["excluded"]["default"]
    hours = [(begin, end)]
    if its and its["hours"]:
        midnight = (begin + 8 * 3600) // DAY * DAY - 8 * 3600
        opens, closes = its["hours"]
        hours = [(day + opens, day + closes) for day in range(midnight, end, DAY)]
    out = {
        kind: [
            (e["t_begin"], e["t_end"])
            for e in events
            if e["kind"] == kind and kind in excluded and concerns(e, slot, provider)
        ]
        for kind in ("force_majeure", "maintenance")
    }
    edges = {begin, end}
    for spans in (hours, *out.values(), [(a, b) for a, b, _ in states]):
        edges |= {edge for span in spans for edge in span if begin < edge < end}
    edges, runs, at = sorted(edges), [], 0
    for left, right in zip(edges, edges[1:], strict=False):
        while at < len(states) and states[at][1] <= left:
            at += 1
        known = at < len(states) and states[at][0] <= left
        state = states[at][2] if known else "no_data"
        meaning = rules["states"].get(state, "unknown")
        if not runs or runs[-1][0] != meaning:
            runs.append((meaning, []))
        runs[-1][1].append((left, right, state))
    seconds, causes, charged = Counter(), Counter(), []
    for meaning, parts in runs:
        length = parts[-1][1] - parts[0][0]
        theirs = meaning not in ("up", "unknown") and (
            meaning == "down" or meaning not in excluded
        )
        kind = meaning
        if theirs:
            kind = "down" if length > rules["threshold_s"] else "short"
        own = Counter()
        for left, right, state in parts:
            its_kind = kind
            if not within(left, hours):
                its_kind = "off_hours"
            elif meaning != "up":
                its_kind = next((name for name, w in out.items() if within(left, w)), kind)
            seconds[its_kind] += right - left
            if theirs and its_kind == kind:
                own[state] += right - left
        causes += own
        if kind == "down" and own:
            span = {"begin": parts[0][0], "end": parts[-1][1], "seconds": own.total()}
            charged.append(span | {"causes": dict(own)})
    works = seconds["up"] + seconds["short"]
    known, unknown = works + seconds["down"], seconds["unknown"]

    def share(part, whole):
        return [(f := Fraction(part, whole)).numerator, f.denominator] if whole else None

    price = back = Fraction(0)
    if its:
        price = Fraction(its["price"] * (end - begin), month[1] - month[0])
        target = Fraction(its["target_ppm"], 1_000_000)
        if known and Fraction(works, known) < target:
            back = price * (target - Fraction(works, known))
            if rules["restitution"]["formula"] == "downtime":
                back = price * Fraction(seconds["down"], known)
    return {
        "contract": its["id"] if its else None,
        "begin": begin,
        "end": end,
        "seconds": {kind: s for kind, s in seconds.items() if s},
        "causes": dict(causes),
        "charged": charged,
        "availability": share(works, known),
        "best": share(works + unknown, known + unknown),
        "worst": share(works, known + unknown),
        "price": half_up(price),
        "restitution": half_up(back),
    }


def usage_of(hours, begin, end):
    total = {"measured_s": 0, "bytes_down": 0, "bytes_up": 0}
    peak, of_day, days = [], [], defaultdict(int)
    for hour, (measured, down, up, most, day) in hours.items():
        if not begin <= hour < end:
            continue
        total["measured_s"] += measured
        if down is None and up is None:
            continue
        total["bytes_down"] += down or 0
        total["bytes_up"] += up or 0
        days[(hour + 8 * 3600) // DAY] += (down or 0) + (up or 0) + (most or 0)
        peak += [] if most is None else [most]
        of_day += [] if day is None else [day]
    total |= {"clients_peak": max(peak, default=None), "clients_day": max(of_day, default=None)}
    unused = sum(not used for used in days.values())
    return total | {"measured_days": len(days), "unused_days": unused}


def pieces_of(slot, states, month, contracts, events, rules):
    """The figures of each contract's time, and of the time without one."""
    begin, end = month
    pieces, at = [], begin
    own = [c for c in contracts if c["slot"] == slot and c["begin"] < end and begin < c["end"]]
    for its in [*sorted(own, key=lambda c: c["begin"]), None]:
        left, right = (max(its["begin"], at), min(its["end"], end)) if its else (end, end)
        if at < left:
            pieces.append(piece_of(slot, None, at, left, month, states, events, rules))
            at = left
        if left < right:
            pieces.append(piece_of(slot, its, left, right, month, states, events, rules))
            at = right
    return pieces


def slot_month(slot, reports, month, contracts, events, rules):
    """The published figures of a slot."""
    begin, end = month
    found = slot_figures(reports, {}, [], 0) if reports else {"states": [], "usage_hours": {}}
    states = [(max(a, begin), min(b, end), s) for a, b, s in found["states"]]
    states = [span for span in states if span[0] < span[1]]
    pieces = pieces_of(slot, states, month, contracts, events, rules)
    return {"slot": slot, "pieces": pieces, "usage": usage_of(found["usage_hours"], begin, end)}


def dumped(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def totals_of(figures):
    seconds, price, back = Counter(), 0, 0
    for piece in (piece for one in figures for piece in one["pieces"]):
        seconds.update(piece["seconds"])
        price, back = price + piece["price"], back + piece["restitution"]
    return {"slots": len(figures), "price": price, "restitution": back, "seconds": dict(seconds)}


# ---- the whole --------------------------------------------------------------------------------


def header_of(table):
    need(table and table.get("format") == "desalink-evidence-1", "it is no evidence file")
    name = table.get("province")
    need(type(name) is str and name.isprintable(), "the province's name is wrong")
    scope, slots, window = table.get("scope"), table.get("slots"), table.get("receipts")
    good = (
        type(scope) is dict and len(scope) < 2 and {*scope} <= {"village", "regency", "provider"}
    )
    need(good and all(type(value) is str for value in scope.values()), "the scope is wrong")
    need(type(slots) is list and all(type(slot) is str for slot in slots), "the slots are wrong")
    need(slots == sorted(set(slots)), "the slots are wrong")
    good = type(window) is list and len(window) == 2 and all(uint(n) for n in window)
    need(good and window[0] <= window[1], "the receipts of the header are wrong")
    edition = table.get("edition")
    need(edition is None or uint(edition), "the edition is wrong")
    return month_span(table.get("month")), scope, slots, window, edition


def receipts_of(rows, keys, office, versions, slots, window):
    """Hashes and spans of all receipts, what those of the window say of the slots, and which
    slots they name."""
    hashes, spans, expected, named, last = [], [], defaultdict(list), set(), (0, 0, 0, -1)
    for table, digest in chained(rows, "desa/1/receipt", keys, RECEIPT, "receipt", 5):
        number, begin, end, made = table[1], table[3], table[4], table[5]
        where = f"receipt {number}"
        head, version = table[9], table[10]
        entry = head[0] if head else -1
        need(
            uint(begin) and uint(end) and begin == last[0] and begin <= end, f"{where}: its times"
        )
        need(uint(version) and made >= last[1], f"{where} goes back")
        need(version >= last[2] and entry >= last[3], f"{where} goes back")
        last = (end, made, version, entry)
        if head:
            known = uint(entry) and entry < len(office.hashes)
            need(
                known,
                f"{where} knows entry {entry} of the office log: the last entries are left out",
            )
            need(office.hashes[entry] == head[1], f"{where}: the office log was written anew")
        need(version in versions or not version, f"{where}: trust document {version} is left out")
        hashes.append(digest.hex())
        spans.append((begin, end))
        is_lost = any(a <= number <= b for a, b in office.lost)
        for kid, stream, slot, count, _, highest, its in table[8] if number <= window[1] else ():
            named.add(slot)
            if slot in slots and number >= window[0] and not is_lost:
                expected[slot].append((number, kid, stream, count, highest, its))
    return hashes, spans, expected, named


def check_devices(file, office, slots, technicians):
    named, records = {d["record"] for d in office.devices.values() if d["slot"] in slots}, {}
    for row in file.rows("records"):
        good = sha(row) in named and sha(row) not in records
        need(good, "an enrolment record is in the file twice, or enrols no device")
        records[sha(row)] = row
    unproved = []
    for kid, device in office.devices.items():
        slot = device["slot"]
        if slot not in slots:
            continue
        where, proof = f"device {kid.hex()} of {slot}", device["proof"]
        if proof is None:
            need(device["adopted"], f"{where} has no proof that it has its key")
            unproved.append(f"{where} was enrolled before the office log began, without a proof")
            continue
        table = load(signed(proof, f"desa/1/{slot[:4]}/{slot}/enrol", device["key"]))
        need((table.get(1), table.get(2)) == (slot, device["key"]), f"{where}: its proof")
        if device["record"] is None:
            continue
        record = records.get(device["record"])
        need(record, f"{where}: the technician's record is not in the file")
        signer_kid, *_ = signer(record)
        need(signer_kid in technicians, f"{where}: no technician signed its record")
        table = load(signed(record, "desa/1/enrolments", technicians[signer_kid][0]), deep=8)
        need((table.get(4), table.get(5)) == (slot, proof), f"{where}: the record is another's")
    return unproved


def slot_reports(file, slot, office, spans, expected):
    """The reports of a slot, each verified, and all that the receipts count."""
    rows, before = file.messages("births", slot), [-1]
    for row in rows:
        need(row > before, f"a birth of {slot} is there twice, or not in its order")
        before = (_, received_at, message) = row
        kid, *_ = signer(message)
        signed(message, f"desa/1/{slot[:4]}/{slot}/birth", office.counts(kid, slot, received_at))
    found, groups, before, seqs = [], {}, (-1, b"", b"", 0), set()
    for number, received_at, message in file.messages("reports", slot):
        where = f"report {len(found)} of {slot} (receipt {number})"
        try:
            kid, *_ = signer(message)
            key = office.counts(kid, slot, received_at)
            payload = cbor2.loads(signed(message, f"desa/1/{slot[:4]}/{slot}/report", key))
            report = Report(kid, payload, received_at, message)
        except Wrong as error:
            raise Wrong(f"{where}: {error}") from None
        rank = (number, kid, report.stream, report.seq)
        need(
            rank > before and rank[1:] not in seqs, f"{where} is there twice, or not in its order"
        )
        need(number < len(spans) and received_at < spans[number][1], f"{where}: its receipt")
        before = rank
        seqs.add(rank[1:])
        digest = groups.setdefault(rank[:3], [0, hashlib.sha256(), 0])
        digest[0] += 1
        digest[1].update(sha(message) + received_at.to_bytes(8, "big"))
        digest[2] = report.seq
        found.append(report)
    for number, kid, stream, count, highest, its in expected:
        where = f"receipt {number} counts {count} reports of stream {stream.hex()} of {slot}"
        have = groups.pop((number, kid, stream), [0, hashlib.sha256(), 0])
        need(have[0] == count, f"{where}, and the file holds {have[0]}")
        need(have[1].digest() == its, f"{where}, and those in the file are others")
        need(have[2] <= highest, f"{where}, with a highest seq that is too low")
    need(not groups, f"{slot}: reports were added that no receipt counts")
    return found


def check(path, roots, heads=()):
    """What a file proves; raises Wrong with what is wrong first."""
    file = Items(path)
    head = file.next
    month, scope, slots, window, edition = header_of(head)
    file.next = next(file.rest, None)
    trusts = trust_documents(file.rows("trust"), roots)
    office = Office(file.rows("office"), role(trusts, OFFICE), head["month"])
    versions = {version: digest for version, _, _, digest in trusts}
    for version, digest in office.trusts.items():
        need(versions.get(version) == digest, f"trust document {version} is left out, or another")
    hashes, spans, expected, named = receipts_of(
        file.rows("receipts"), role(trusts, INGEST), office, versions, set(slots), window
    )
    lost = {text.strip().lower() for text in heads} - set(hashes)
    need(
        not lost, f"the published head {min(lost, default='')} is none of the receipts in the file"
    )
    closed, last = office.closed, len(hashes) - 1
    need(window[1] <= last, "the file holds fewer receipts than it says")
    begin = spans[window[0]][0]
    need(not window[0] or begin <= month[0] - BEFORE, "the reports begin too near to the month")
    need(edition == (closed and closed["edition"]), "by the office log another edition holds")
    counted = closed["receipt"] if closed else last
    need(uint(counted) and window[1] >= counted, "the file leaves out the newest receipts")
    unproved = check_devices(file, office, set(slots), role(trusts, TECHNICIAN))
    rules, rule = rules_of(office, head["month"], file.take("rules"))
    published = None
    if closed:
        text = inflate(file.take("closed"), CLOSED)
        need(
            sha(text) == closed["digest"],
            "the closed figures are not those that the office signed",
        )
        table = json.loads(text)
        said = (table["format"], table["month"], table["rules"])
        need(said == (1, head["month"], rule), "the closed figures are of another month")
        published = {one["slot"]: one for one in table["slots"]}
    contracts, events = list(office.by_contracts.values()), list(office.by_events.values())
    wanted = {device["slot"] for device in office.by_devices.values()} | named
    wanted |= {its["slot"] for its in contracts}
    if "provider" in scope:
        wanted &= {
            its["slot"]
            for its in contracts
            if its["provider"] == scope["provider"]
            and its["begin"] < month[1]
            and month[0] < its["end"]
        }
    else:
        wanted = {slot for slot in wanted if slot.startswith("".join(scope.values()))}
    need(wanted == set(slots), f"the file is of other slots: {sorted(wanted ^ set(slots))[:3]}")
    found, count = [], 0
    for slot in slots:
        reports = slot_reports(file, slot, office, spans, expected.pop(slot, ()))
        found.append(slot_month(slot, reports, month, contracts, events, rules))
        count += len(reports)
    for one in found:
        text = dumped(one)
        need(file.take("figures", one["slot"]) == text, f"{one['slot']} counts otherwise: {text}")
        good = published is None or dumped(published.get(one["slot"])) == text
        need(good, f"{one['slot']} was closed with other figures: {text}")
    totals = totals_of(found)
    need(file.take("totals") == totals, f"the totals are wrong: {totals}")
    need(file.next is None, "the file goes on after its totals")
    for first, last in office.lost:
        unproved.append(f"the office declared the reports of receipts {first} to {last} lost")
    if not heads:
        unproved.insert(0, "no published head was given")
    if not closed:
        unproved.insert(0, "the month is not closed")
    return {
        "month": head["month"],
        "edition": edition,
        "scope": scope,
        "reports": count,
        "totals": totals,
        "head": hashes[-1],
        "sha256": hashlib.file_digest(path.open("rb"), "sha256").hexdigest(),
        "not_proved": unproved,
    }


def verdict(path, roots, heads=()):
    """What `check` proves, or what is wrong."""
    try:
        return check(path, [key for root in roots for key in read_roots(root)], heads)
    except Wrong as error:
        return {"wrong": str(error)}
    except Exception as error:  # whatever else a stranger's bytes provoke is wrong with them
        return {"wrong": f"it is not what evidence.md describes: {error!r}"[:300]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--root", type=Path, action="append", required=True)
    parser.add_argument("--head", action="append", default=[])
    options = parser.parse_args()
    found = verdict(options.file, options.root, options.head)
    json.dump(found, sys.stdout, indent=1)
    return 1 if "wrong" in found else 0


if __name__ == "__main__":
    sys.exit(main())
