"""No query reads what it does not show: how SQLite works each statement of the store."""

import ast
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest

from agent.wire import ids
from host_tools.derive import Deriver, rebuild
from host_tools.derive.samples import samples
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.people.receipts import Receipt, StreamReceipt
from host_tools.store import (
    Database,
    dialect,
    evidence,
    open_database,
    queries,
    receipts,
    schema,
)
from host_tools.store.archiving import Archiver
from host_tools.store.derived import Derived
from host_tools.store.derived_rows import FindingRow
from host_tools.store.evidence import StoredReport
from host_tools.store.finding_table import FindingTable
from host_tools.store.pending import Pending
from host_tools.store.quarantine import Bounds, Note, Quarantine, Refusal
from host_tools.store.sessions import liveness, save_alive, save_sessions, sessions
from host_tools.store.size import size
from host_tools.store.streams import Streams
from host_tools.store.timelines import Timelines
from host_tools.wire import Key, Reason
from tests.world.devices import START, Device, dropped, ordinary, outage_began, outage_ended

# Every scan that is allowed, by the table, and why.
ALLOWED = {
    "bounded": "a subquery with a LIMIT",
    "slots": "one row for each slot, and all are shown or named",
    "streams": "read at start; for duplicates a row for each journal that ever was",
    "archives": "one row for each file of the archive",
    "births": "a row for each connection that ever was; all of them are compared with receipts",
    "archived": "read at start: one row for each stream and month",
    "receipts": "the newest, which its key finds",
    "latest": "one row for each slot",
    "dirty": "what is left to do, small",
    "stale": "what is left to do, small",
    "redo": "what is left to do, small",
    "redo_new": "the same of a rebuild",
    "dirty_new": "the same of a rebuild",
    "stale_new": "the same of a rebuild",
    "corrupt": "what is damaged, small",
    "quarantine": "read at start, by its index; bounded",
    "quarantine_notes": "one row for each decision of a person",
    "sessions": "one row for each slot",
    "quarantine_overflow": "one row for each slot and reason",
    "findings": "open ones, by a partial index; all of them where all are asked for",
    "findings_new": "the same of a rebuild",
    "batch_findings": "read at start: one row for each chunk with findings",
    "batch_findings_new": "the same of a rebuild",
    "outages": "those that last, by a partial index",
    "usage_days": "all of them where all are asked for",
    "sqlite_master": "the schema",
}


def statements(monkeypatch, act) -> set[str]:
    """The statements that something executes."""
    seen: set[str] = set()
    for name in ("execute", "executemany", "insert", "all", "one", "iterate"):
        original = getattr(Database, name)

        def spy(self, sql, *values, _original=original):
            seen.add(sql)
            return _original(self, sql, *values)

        monkeypatch.setattr(Database, name, spy)
    act()
    return seen


def written() -> set[tuple[str, ...]]:
    """The constant parts of each statement that the store's sources hold."""
    found = set()
    for path in Path(schema.__file__).parent.rglob("*.py"):
        if path.name in ("schema.py", "derived_schema.py", "dialect.py"):
            continue
        nodes = list(ast.walk(ast.parse(path.read_text())))
        formatted = [node for node in nodes if isinstance(node, ast.JoinedStr)]
        inner = {id(part) for node in formatted for part in node.values}
        for node in nodes:
            if id(node) in inner:
                continue
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = tuple(
                part.value
                for part in parts
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )
            if re.match(r"(SELECT|INSERT|UPDATE|DELETE)\s", texts[0] if texts else ""):
                found.add(texts)
    return found


def matches(parts: tuple[str, ...], sql: str) -> bool:
    at = 0
    for part in parts:
        at = sql.find(part, at)
        if at < 0:
            return False
    return True


def receive(db: Database) -> None:
    """A receipt that is made and read."""
    counting = receipts.count_reports(db, 0, START + 90 * 86400)
    while True:
        try:
            next(counting)
        except StopIteration as ended:
            counted = ended.value
            break
    with db.transaction():
        receipts.add_receipt(db, 0, b"?", counted)
    stream = StreamReceipt(bytes(8), bytes(4), "6403112009-1", 1, 1, 1, bytes(32))
    with db.transaction():
        other = Receipt(1, b"", 0, 0, 0, 1, 0, (stream,), None, 1, b"", None)
        receipts.append_receipt(db, other, b"?")
    assert receipts.counted_mark(db) is not None
    assert not receipts.has_uncounted(db, 0, START)
    assert not Pending(db).reaches(START - 86400, START)
    assert list(receipts.receipts(db)) == [b"?", b"?"]
    list(evidence.all_births(db))
    evidence.stream_births(db, 1)
    assert list(evidence.reports_at(db, [(1, 1), (1, 999_999)]))
    row = StoredReport(*evidence.evidence_after(db, 0, 1)[0][1:])
    with db.transaction():
        evidence.mark_corrupt(db, row.stream_id, row.seq, START, "?")
        assert evidence.insert_reports(db, [row]) == {row[:2]: row.received_at}


def the_rest(db: Database, device: Device) -> None:
    """What a quiet afternoon does not call."""
    queries.certificates(db)
    queries.newest_change(db)
    queries.newest_values(db, ["voltage"])
    queries.count_findings(db)
    queries.open_kinds(db, ["future_clock"])
    queries.said(db, "6403112001-1", START, START + 9)
    queries.quarantined(db, START, START + 9)
    queries.slot_hours(db, "6403112001-1", START, START + 9)
    queries.usage_sums(db, since=START)
    queries.newest_change(db)
    queries.slots_with_clock_ahead(db)
    queries.software(db)
    queries.recent_states(db, START)
    queries.ended_outages(db, before=START + 9000, since=START, limit=9)
    with db.transaction():
        save_sessions(db, {device.slot: True}, START)
        save_alive(db, START, connected=True)
        evidence.mark_corrupt(db, 1, 1, START, "?")
        evidence.insert_reports(db, [StoredReport(1, 1, 1, 1, None, START, b"?")])
        evidence.birth_message(db, 1, 1, 1)
        evidence.stream_births(db, 1)
        derived, pending, found, timelines = (
            Derived(db),
            Pending(db),
            FindingTable(db),
            Timelines(db),
        )
        pending.count()
        derived.last_chunk(1)
        pending.put_redo(1, [(1, 1)])
        pending.redo(1, 9)
        pending.put_stale(1, [(1, 2)])
        pending.stale(1)
        derived.put_placement(1, 1, None)
        derived.lasting_boots(1)
        derived.lasting_since(1, 1)
        derived.clock_troubles(1, "future", 9)
        derived.all_clock_troubles(1, "future")
        timelines.sum_day(999, 0, 1)
        for rows in (
            [FindingRow(0, 1, 3, 3, 5, "")],
            [FindingRow(0, 1, 3, 2, 5, "")],
            [FindingRow(0, 2, 3, 2, 5, "")],
            [],
        ):
            found.settle("test", 1, 1, rows, 5)
            found.put_batch("test", 1, 1, rows)
        for most in (0, 9):
            found.of_batches("test", 1, most)
    sessions(db)
    liveness(db)
    note, quarantine = Note("I", "a test", START), Quarantine(db)
    refusal = Refusal("t", b"p", Reason.REPLAY, "", device.slot, device.kid, START)
    with db.transaction():
        assert quarantine.add(refusal)
        assert not Quarantine(db, Bounds(per_slot=0)).add(replace(refusal, payload=b"q"))
        (message,), _ = quarantine.newest(1)
        quarantine.change(message, replace(refusal, reason=Reason.CONFLICT))
        quarantine.get(message.id)
        quarantine.kept(1, 1)
        quarantine.unknown_kids()
        quarantine.release(message)
    for _ in range(2):
        quarantine.dismiss(note)
    quarantine.empty(note)
    quarantine.notes()


def test_no_statement_scans_a_table_but_where_it_is_allowed(tmp_path, monkeypatch):
    path = tmp_path / "province.db"
    device, other, down = Device(), Device(seed=2), Device("6403112002-1", seed=4)
    keys = {d.kid: Key(d.public_key, d.slot, True) for d in (device, other, down)}

    def act() -> None:
        with open_database(path, create=True) as db:
            streams = Streams(db)
            pipeline = Pipeline(db, streams, Acks(8, 1800), keys)
            device.clock = False
            first = device.report(ordinary() | {ids.STATE: [5] * 5}, [outage_began(0, 5)])
            device.clock = True
            messages = [
                device.birth(),
                first,
                device.report(events=[outage_began(200, 6)]),
                device.report(seq=9, events=[outage_ended(30, 5, 270), dropped(0, 4, 5)]),
                device.report(step=0),
                other.report(seq=7, prev=bytes(8)),
                Device(seed=3).report(),
            ]
            messages.append(device.report(events=[device.reboot(60)]))
            pipeline.process([Message(device.topic("birth"), messages[0])], device.now, 0)
            assert queries.status(db, START)[0].state == "up"  # by its birth alone
            reports = [Message(device.topic("report"), message) for message in messages[1:]]
            pipeline.process(reports, device.now, 0)
            pipeline.process(reports[:1], device.now, 0)
            lasting = down.report(ordinary() | {ids.STATE: [2] * 5}, [outage_began(60, 2)])
            pipeline.process([Message(down.topic("report"), lasting)], down.now, 0)
            pipeline.retry(0, frozenset(keys))
            pipeline.retry(0)
            with db.transaction():
                streams.save_ranges()
            deriver = Deriver(db, streams)
            while deriver.step():
                pass
            rebuild(db, keys)
            for village in (None, device.village):
                queries.status(db, START + 900, village)
                queries.outages(db, village=village, since=START, now=START + 86400)
                queries.findings(db, village=village)
                Quarantine(db).newest(10, village=village)
                for by in ("day", "hour"):
                    queries.usage(db, by=by, village=village, since=START)
            queries.uncounted_since(db)
            receive(db)
            with pytest.raises(cbor2.CBORDecodeError):  # that was no receipt
                queries.uncounted_since(db)
            Archiver(db, lambda _: None).archive_older(0, START + 90 * 86400)
            queries.stored(db, device.slot)
            size(db, START)
            queries.findings(db, resolved=True)
            queries.finding(db, 1)
            queries.changes(db, 0)
            queries.intervals(db, device.slot, begin=START)
            queries.overflow(db)
            queries.slots(db)
            list(samples(db, device.slot))
            the_rest(db, device)
            for count in (queries.count_stored, queries.count_duplicates, queries.count_missing):
                count(db, device.slot)

    seen = statements(monkeypatch, act)
    unseen = {sql for sql in written() if not any(matches(sql, one) for one in seen)}
    assert "\n".join(map("".join, unseen)) == ""
    migrations = {part for script in schema.MIGRATIONS for part in dialect.schema(script)}
    scans = {}
    with closing(sqlite3.connect(path)) as db:
        for sql in seen:
            if sql in migrations or not sql.lstrip().startswith(
                ("SELECT", "INSERT", "UPDATE", "DELETE")
            ):
                continue
            try:
                plan = db.execute(f"EXPLAIN QUERY PLAN {sql}", (1,) * sql.count("?")).fetchall()
            except sqlite3.OperationalError as error:
                assert "_new" in str(error), (sql, error)  # the same as without the suffix
                continue
            for *_, line in plan:
                words = line.split()
                if words[0] == "SCAN" and words[1] not in ("CONSTANT", *ALLOWED):
                    scans[sql] = line
    assert scans == {}
