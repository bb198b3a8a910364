"""What a person waits for, with 841 villages and a year of what was derived of them.

    python -m tests.bench.queries [--villages 841] [--days 365]

The derived rows are made up and written as they are, which is cheap; the reports behind them
would be 88 million. Every query is asked as the verb asks it.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from host_tools.store import Database, open_database, queries
from host_tools.store.quarantine import Quarantine
from tests.world.devices import Device

_END = 1_795_536_000  # midnight of WITA
_HOUR_S, _DAY_S = 3600, 86400
_BOOT_DAYS = 30
_BOOTS = 100
_SHOWN = 1000  # rows that `outages` and `usage` show without --limit
_CAUSES = (2, 5, 5, 5, 6, 9)


def fill(db: Database, villages: Sequence[str], days: int, seed: int = 1, end: int = _END) -> None:
    """Write a province's derived rows: an outage every second day, every hour."""
    rng = random.Random(seed)
    birth = Device(f"{villages[0]}-1").birth(certificate=bytes([7] * 20))
    begin = end - days * _DAY_S
    for slot_id, village in enumerate(villages, 1):
        with db.transaction(durable=False):
            db.execute("INSERT INTO slots VALUES (?, ?, ?)", (slot_id, f"{village}-1", village))
            db.execute(
                "INSERT INTO streams (id, kid, slot_id, stream, first_at) VALUES (?, ?, ?, ?, ?)",
                (slot_id, slot_id.to_bytes(8, "big"), slot_id, b"stre", begin),
            )
            db.executemany(
                "INSERT INTO births VALUES (?, ?, ?, 1, ?, 'b', 'a', 'i', 1, 9, 10, 60, 5, ?)",
                [
                    (slot_id * _BOOTS + boot, slot_id, boot, begin + boot, birth)
                    for boot in range(_BOOTS)
                ],
            )
            outages, intervals, at = [], [], begin
            for day in range(slot_id % 2, days, 2):
                for part in (rng.randrange(1000, 85_000),):
                    t = begin + day * _DAY_S + part
                    cause, length = rng.choice(_CAUSES), rng.randrange(20, 1200)
                    outages.append((t, cause, length))
                    intervals += [(at, t, "up"), (t, t + length, f"state_{cause}")]
                    at = t + length
            lasting = slot_id % 40 == 0
            if not lasting:
                intervals.append((at, end - 300, "up"))
            db.executemany(
                "INSERT INTO intervals VALUES (?, ?, ?, ?)", [(slot_id, *i) for i in intervals]
            )
            db.executemany(
                "INSERT INTO outages (stream_id, boot, begin_up, cause, slot_id, ended_t, "
                "duration, flaps, evidence, t_begin, t_end, interrupted) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 0, '[[4,0],[5,1]]', ?, ?, 0)",
                [
                    (
                        *(slot_id, 1 + (t - begin) // (_BOOT_DAYS * _DAY_S), t - begin, cause),
                        *(slot_id, t + length, length, t),
                        None if lasting and number == len(outages) - 1 else t + length,
                    )
                    for number, (t, cause, length) in enumerate(outages)
                ],
            )
            hours = [
                (slot_id, t, 3600, rng.randrange(10**8), rng.randrange(10**7), 9, 20)
                for t in range(begin, end, _HOUR_S)
            ]
            db.executemany("INSERT INTO usage_hours VALUES (?, ?, ?, ?, ?, ?, ?)", hours)
            db.execute(
                "INSERT INTO usage_days SELECT hour / 86400 * 86400 - 28800, slot_id, 86400, "
                "sum(bytes_down), sum(bytes_up), 9, 20 FROM usage_hours WHERE slot_id = ? "
                "GROUP BY 1",
                (slot_id,),
            )
            db.execute(
                "INSERT INTO latest VALUES (?, ?, ?, ?, 60, 84, 0, 4, 12, 86400)",
                (slot_id, slot_id, end - 100, end - 300),
            )
            db.executemany(
                "INSERT INTO findings (kind, slot_id, stream_id, first_seq, last_seq, missing, "
                "found_at) VALUES ('gap', ?, ?, ?, ?, 2, ?)",
                [(slot_id, slot_id, n * 50, n * 50 + 1, begin + n) for n in range(3)],
            )


def fill_quarantine(db: Database, villages: int, messages: int = 100) -> None:
    """Write what was refused: of each village so many messages, a third of them dismissed."""
    with db.transaction(durable=False):
        db.execute(
            "INSERT INTO quarantine_notes (id, noted_at, action, who, why) "
            "VALUES (1, ?, 'dismiss', 'bench', 'seen')",
            (_END,),
        )
        db.executemany(
            "INSERT INTO quarantine (digest, topic, payload, reason, detail, slot, received_at, "
            "last_at, note_id) VALUES (?, 't', ?, ?, 'd', ?, ?, ?, ?)",
            [
                (
                    *((number * villages + slot_id).to_bytes(16, "big"), bytes(330)),
                    *(("unknown_key", "conflict")[number % 2], f"6403{slot_id:06}-1"),
                    *(_END, _END, None if number % 3 else 1),
                )
                for number in range(messages)
                for slot_id in range(1, villages + 1)
            ],
        )


def _ms(act: Callable[[], Any]) -> float:
    """The middle of five times, in milliseconds of processor time. The first, with a cold cache,
    does not count."""
    times = []
    for _ in range(6):
        start = time.process_time()
        act()
        times.append((time.process_time() - start) * 1000)
    return sorted(times[1:])[2]


def run(villages: int = 841, days: int = 365) -> dict[str, Any]:
    """Measure; times in milliseconds. outages and usage are of the last 30 days."""
    since = _END - 30 * _DAY_S
    now = _END - 60
    with tempfile.TemporaryDirectory(prefix="desalink-bench-") as folder:
        path = Path(folder) / "province.db"
        with open_database(path, create=True) as db:
            fill(db, [f"6403{n:06}" for n in range(1, villages + 1)], days)
            fill_quarantine(db, villages)
        with open_database(path, readonly=True) as db:
            village = "6403000001"
            quarantine = Quarantine(db)
            return {
                "status_841_ms": _ms(lambda: queries.status(db, now)),
                "certificates_841_ms": _ms(lambda: queries.certificates(db)),
                "outages_841_ms": _ms(lambda: queries.outages(db, since=since, now=now)),
                "outages_newest_841_ms": _ms(lambda: queries.outages(db, now=now, limit=_SHOWN)),
                "usage_841_ms": _ms(lambda: queries.usage(db, since=since)),
                "usage_newest_841_ms": _ms(lambda: queries.usage(db, limit=_SHOWN)),
                "usage_newest_hours_841_ms": _ms(
                    lambda: queries.usage(db, by="hour", limit=_SHOWN)
                ),
                "usage_day_by_hour_841_ms": _ms(
                    lambda: queries.usage(db, by="hour", since=_END - _DAY_S)
                ),
                "usage_village_year_ms": _ms(lambda: queries.usage(db, village=village)),
                "outages_village_year_ms": _ms(lambda: queries.outages(db, village=village)),
                "findings_841_ms": _ms(lambda: queries.findings(db, limit=100)),
                "quarantine_841_ms": _ms(lambda: quarantine.newest(100)),
                "quarantine_village_ms": _ms(lambda: quarantine.newest(100, village=village)),
                "quarantine_reason_ms": _ms(lambda: quarantine.newest(100, reason="conflict")),
                "derived_bytes_841": db.value("PRAGMA page_count") * db.value("PRAGMA page_size"),
                "outages_shown": len(queries.outages(db, since=since, now=now)),
                "usage_shown": len(queries.usage(db, since=since)),
            }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Queries of a province of 841 villages.")
    parser.add_argument("--villages", type=int, default=841)
    parser.add_argument("--days", type=int, default=365)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.villages, arguments.days), indent=2))
