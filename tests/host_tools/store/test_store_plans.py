"""No query reads what it does not show: how SQLite works each statement of the store."""

import sqlite3
from contextlib import closing

from agent.wire import ids
from host_tools.derive import Deriver, rebuild
from host_tools.derive.samples import samples
from host_tools.ingest.acks import Acks
from host_tools.ingest.pipeline import Message, Pipeline
from host_tools.store import Database, open_database, queries, schema
from host_tools.store.archiving import Archiver
from host_tools.store.evidence import Streams
from host_tools.store.quarantine import Quarantine
from host_tools.store.size import size
from host_tools.wire import Key
from tests.host_tools.factory import START, Device, dropped, ordinary, outage_began, outage_ended

# Every scan that is allowed, by the table, and why.
ALLOWED = {
    "slots": "one row for each slot, and all are shown or named",
    "streams": "read at start; for duplicates a row for each journal that ever was",
    "archives": "one row for each file of the archive",
    "archived": "read at start: one row for each stream and month",
    "latest": "one row for each slot",
    "dirty": "what is left to do, small",
    "stale": "what is left to do, small",
    "redo": "what is left to do, small",
    "redo_new": "the same of a rebuild",
    "dirty_new": "the same of a rebuild",
    "stale_new": "the same of a rebuild",
    "corrupt": "what is damaged, small",
    "quarantine": "read at start, by its index; bounded",
    "quarantine_overflow": "one row for each slot and reason",
    "findings": "open ones, by a partial index; all of them where all are asked for",
    "findings_new": "the same of a rebuild",
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


def test_no_statement_scans_a_table_but_where_it_is_allowed(tmp_path, monkeypatch):
    path = tmp_path / "province.db"
    device, other = Device(), Device(seed=2)
    keys = {d.kid: Key(d.public_key, d.slot, True) for d in (device, other)}

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
            reports = [Message(device.topic("report"), message) for message in messages[1:]]
            pipeline.process(reports, device.now, 0)
            pipeline.process(reports[:1], device.now, 0)
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
                queries.outages(db, village=village, since=START, now=START + 900)
                queries.findings(db, village=village)
                Quarantine(db).newest(10, village=village)
                for by in ("day", "hour"):
                    queries.usage(db, by=by, village=village, since=START)
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
            for count in (queries.count_stored, queries.count_duplicates, queries.count_missing):
                count(db, device.slot)

    seen = statements(monkeypatch, act)
    assert len(seen) > 100
    migrations = {part for script in schema.MIGRATIONS for part in script.split(";\n")}
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
