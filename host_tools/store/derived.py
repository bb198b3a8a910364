"""What reports say, as rows: pieces, places, events, boots and outages. `derive` finds it.

All that is done here happens within a transaction of the caller's. With a suffix it is done to the
tables of that suffix: so `rebuild` works beside a running ingest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from host_tools.store.database import Database
from host_tools.store.derived_rows import (
    BootRow,
    ClockTrouble,
    Declared,
    OutageRow,
    Piece,
    State,
    Told,
    columns,
    marks,
    values,
)
from host_tools.store.derived_schema import CHUNK
from host_tools.store.dialect import ALL, REPLACE, greater

_REACHES = greater("coalesce(last_t, 0)", "t_begin")
_PIECE, _BOOT, _OUTAGE = map(columns, (Piece, BootRow, OutageRow))


class Derived:
    """What the reports of an open database say."""

    def __init__(self, db: Database, suffix: str = "") -> None:
        self._db = db
        self._s = suffix

    # ---- pieces and places -----------------------------------------------------------------

    def pieces(self, stream_id: int, chunk: int, boots: Iterable[int]) -> dict[int, Piece]:
        found = {}
        for boot in boots:
            row = self._db.one(
                f"SELECT {_PIECE} FROM pieces{self._s} "
                "WHERE stream_id = ? AND boot = ? AND chunk = ?",
                (stream_id, boot, chunk),
            )
            if row:
                found[boot] = Piece(*row)
        return found

    def put_piece(self, piece: Piece) -> None:
        row = values(piece)
        self._db.execute(f"{REPLACE} pieces{self._s} VALUES ({marks(len(row))})", row)

    def anchors_around(self, stream_id: int, boot: int, chunk: int) -> tuple[Any, Any]:
        """The last seq and offset of a boot that know the time before a chunk, the first after."""
        where = (
            f"FROM pieces{self._s} WHERE stream_id = ? AND boot = ? AND first_anchor IS NOT NULL"
        )
        its = (stream_id, boot, chunk)
        return (
            self._db.one(
                f"SELECT last_anchor, last_offset {where} AND chunk < ? "
                "ORDER BY chunk DESC LIMIT 1",
                its,
            ),
            self._db.one(
                f"SELECT first_anchor, first_offset {where} AND chunk > ? ORDER BY chunk LIMIT 1",
                its,
            ),
        )

    def placements(self, stream_id: int, chunk: int) -> dict[int, int]:
        """Seq to place in time of the chunk's reports whose own clock is not believed."""
        return dict(
            self._db.all(
                f"SELECT seq, t FROM placements{self._s} WHERE stream_id = ? "
                "AND seq BETWEEN ? AND ?",
                (stream_id, chunk * CHUNK, chunk * CHUNK + CHUNK - 1),
            )
        )

    def put_placement(self, stream_id: int, seq: int, t: int | None) -> None:
        """Note the place of a report, or that it has none."""
        if t is None:
            self._db.execute(
                f"DELETE FROM placements{self._s} WHERE stream_id = ? AND seq = ?",
                (stream_id, seq),
            )
            return
        self._db.execute(f"{REPLACE} placements{self._s} VALUES (?, ?, ?)", (stream_id, seq, t))

    def chunks_in(
        self, slot_id: int, begin: int, end: int, longest_s: int, limit: int = ALL
    ) -> list[tuple[int, int]]:
        """Stream and chunk of all reports that may have samples between two times.

        Args:
            longest_s: no row of the slot spans more (`longest`).
            limit: no more than so many.
        """
        found = self._db.all(
            f"SELECT DISTINCT stream_id, chunk FROM pieces{self._s} WHERE slot_id = ? "
            "AND t_end >= ? AND t_end <= ? AND t_begin <= ? LIMIT ?",
            (slot_id, begin, end + longest_s, end, limit),
        )
        return [(row[0], row[1]) for row in found]

    def newest_chunk(self, slot_id: int) -> tuple[int, int, int, int] | None:
        """Stream, boot, chunk and end of the samples that end last; of several the last by kid,
        stream, boot and chunk."""
        s = self._s
        row = self._db.one(
            f"SELECT stream_id, boot, chunk, t_end FROM pieces{s} "
            "JOIN streams ON streams.id = stream_id WHERE t_end IS NOT NULL AND "
            f"(pieces{s}.slot_id, t_end) = (SELECT slot_id, t_end FROM pieces{s} "
            "WHERE slot_id = ? AND t_end IS NOT NULL ORDER BY t_end DESC LIMIT 1) "
            "ORDER BY kid DESC, stream DESC, boot DESC, chunk DESC LIMIT 1",
            (slot_id,),
        )
        return None if row is None else (row[0], row[1], row[2], row[3])

    def last_chunk(self, slot_id: int) -> tuple[int, int] | None:
        """The slot's newest stream and the last chunk of its newest boot."""
        row = self._db.one(
            f"SELECT stream_id, chunk FROM pieces{self._s} WHERE stream_id = (SELECT id "
            "FROM streams WHERE slot_id = ? ORDER BY first_at DESC, kid DESC, stream DESC LIMIT 1)"
            " ORDER BY boot DESC, chunk DESC LIMIT 1",
            (slot_id,),
        )
        return None if row is None else (row[0], row[1])

    def sampled(self, stream_id: int, boot: int) -> list[tuple[int, int | None, int, int]]:
        """Each chunk of a boot with samples, the greatest `up` of those that say up, and where the
        first sample begins and the last one ends."""
        rows = self._db.all(
            f"SELECT chunk, last_up, t_begin, t_end FROM pieces{self._s} WHERE stream_id = ? "
            "AND boot = ? AND t_begin IS NOT NULL AND t_end IS NOT NULL ORDER BY chunk",
            (stream_id, boot),
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def boot_extent(self, stream_id: int, boot: int) -> tuple[int | None, int | None]:
        """Where the samples of a boot begin and end."""
        row = self._db.one(
            f"SELECT min(t_begin), max(t_end) FROM pieces{self._s} "
            "WHERE stream_id = ? AND boot = ?",
            (stream_id, boot),
        )
        return (None, None) if row is None else (row[0], row[1])

    def newest_offset(self, stream_id: int, boot: int) -> int | None:
        """Unix time of a boot's start by its newest report, by seq, with a place in time."""
        offset: int | None = self._db.value(
            f"SELECT offset FROM pieces{self._s} WHERE stream_id = ? AND boot = ? "
            "AND offset IS NOT NULL ORDER BY chunk DESC LIMIT 1",
            (stream_id, boot),
        )
        return offset

    def clock_troubles(self, stream_id: int, kind: str, limit: int) -> list[ClockTrouble]:
        """The first boots of a stream with reports that are "unplaced", or have a clock from the
        "future"."""
        s = self._s
        ahead = "ahead" if kind == "future" else "0"
        rows = self._db.all(
            f"SELECT boot, {kind}_first, (SELECT {kind}_last FROM pieces{s} AS last "
            f"WHERE last.stream_id = p.stream_id AND last.boot = p.boot "
            f"AND {kind}_first IS NOT NULL ORDER BY chunk DESC LIMIT 1), received_at, {ahead} "
            f"FROM pieces{s} AS p WHERE stream_id = ? AND {kind}_first IS NOT NULL "
            f"AND NOT EXISTS (SELECT 1 FROM pieces{s} AS before "
            "WHERE before.stream_id = p.stream_id AND before.boot = p.boot "
            f"AND before.chunk < p.chunk AND {kind}_first IS NOT NULL) ORDER BY boot LIMIT ?",
            (stream_id, limit),
        )
        return [ClockTrouble(*row) for row in rows]

    def all_clock_troubles(self, stream_id: int, kind: str) -> tuple[int, int, int]:
        """How many boots of a stream there are with such reports, and their first and last seq."""
        row = self._db.one(
            f"SELECT count(DISTINCT boot), min({kind}_first), max({kind}_last) "
            f"FROM pieces{self._s} WHERE stream_id = ? AND {kind}_first IS NOT NULL",
            (stream_id,),
        )
        assert row is not None
        return row[0], row[1], row[2]

    # ---- events ----------------------------------------------------------------------------

    def put_events(self, stream_id: int, boot: int, events: Iterable[Told]) -> None:
        self._db.executemany(
            f"{REPLACE} events{self._s} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(stream_id, boot, e.seq, e.number, e.kind, e.up, e.t, e.received_at),
                    json.dumps(e.detail, default=bytes.hex, separators=(",", ":")),
                )
                for e in events
            ],
        )

    def events(self, stream_id: int, boot: int, kinds: Iterable[int], limit: int) -> list[Told]:
        """The first events of a boot of some kinds."""
        wanted = tuple(kinds)
        rows = self._db.all(
            "SELECT seq, number, kind, up, t, received_at, detail "
            f"FROM events{self._s} WHERE stream_id = ? AND boot = ? "
            f"AND kind IN ({marks(len(wanted))}) ORDER BY seq, number LIMIT ?",
            (stream_id, boot, *wanted, limit),
        )
        return [
            Told._make((*row[:6], {int(k): value for k, value in json.loads(row[6]).items()}))
            for row in rows
        ]

    def put_declared(self, rows: Iterable[Declared]) -> None:
        """Note what devices say that they have lost."""
        self._db.executemany(
            f"{REPLACE} declared{self._s} "
            "(stream_id, seq, number, kid, stream, first_seq, last_seq, reason, received_at) "
            f"VALUES ({marks(9)})",
            rows,
        )

    def declared(
        self, kid: bytes, stream: bytes, sources: Iterable[int], limit: int
    ) -> list[Declared]:
        """What a device says that it has lost of a stream.

        Args:
            sources: streams whose reports say so. The first rows in their order, and then by seq,
                are returned, as many as the limit.
        """
        found: list[Declared] = []
        for source in sources:
            rows = self._db.all(
                "SELECT stream_id, seq, number, kid, stream, first_seq, last_seq, reason, "
                f"received_at FROM declared{self._s} WHERE kid = ? AND stream = ? "
                "AND stream_id = ? ORDER BY seq, number LIMIT ?",
                (kid, stream, source, limit - len(found)),
            )
            found += [Declared(*row) for row in rows]
        return found

    # ---- boots -----------------------------------------------------------------------------

    def boot(self, stream_id: int, boot: int) -> BootRow | None:
        return self._boot("boot = ?", stream_id, boot)

    def boot_before(self, stream_id: int, boot: int) -> BootRow | None:
        """The boot of the stream before this one, of those that are known."""
        return self._boot("boot < ? ORDER BY boot DESC LIMIT 1", stream_id, boot)

    def boot_after(self, stream_id: int, boot: int) -> BootRow | None:
        """The boot of the stream after this one, of those that are known."""
        return self._boot("boot > ? ORDER BY boot LIMIT 1", stream_id, boot)

    def _boot(self, where: str, stream_id: int, boot: int) -> BootRow | None:
        row = self._db.one(
            f"SELECT {_BOOT} FROM boots{self._s} WHERE stream_id = ? AND {where}",
            (stream_id, boot),
        )
        return BootRow(*row) if row else None

    def put_boot(self, boot: BootRow) -> None:
        row = values(boot)
        self._db.execute(f"{REPLACE} boots{self._s} VALUES ({marks(len(row))})", row)

    def lasting_boots(self, slot_id: int) -> list[tuple[int, int]]:
        """The boots of a slot with outages that last."""
        rows = self._db.all(
            f"SELECT stream_id, boot FROM boots{self._s} WHERE slot_id = ? AND lasting > 0",
            (slot_id,),
        )
        return [(row[0], row[1]) for row in rows]

    def lasting_since(self, stream_id: int, boot: int) -> int | None:
        """When the first outage of a boot that lasts began."""
        begin: int | None = self._db.value(
            f"SELECT min(t_begin) FROM outages{self._s} WHERE stream_id = ? AND boot = ? "
            "AND t_end IS NULL",
            (stream_id, boot),
        )
        return begin

    def last_of_others(self, slot_id: int, stream_id: int, boot: int) -> int | None:
        """The latest end of a sample of the slot's other boots."""
        found: int | None = self._db.value(
            f"SELECT last_t FROM boots{self._s} WHERE slot_id = ? AND last_t IS NOT NULL "
            "AND NOT (stream_id = ? AND boot = ?) ORDER BY last_t DESC LIMIT 1",
            (slot_id, stream_id, boot),
        )
        return found

    def offs(
        self, slot_id: int, begin: int, end: int, longest_s: int, limit: int
    ) -> list[tuple[int, int, State]]:
        """Stream, boot and time in which nothing ran before it, between two times."""
        rows = self._db.all(
            "SELECT stream_id, boot, off_begin, off_end, off_state "
            f"FROM boots{self._s} WHERE slot_id = ? AND off_end >= ? AND off_end <= ? "
            "AND off_begin <= ? LIMIT ?",
            (slot_id, begin, end + longest_s, end, limit),
        )
        return [(row[0], row[1], row[2:]) for row in rows]

    # ---- outages ---------------------------------------------------------------------------

    def outages_of_boot(self, stream_id: int, boot: int) -> list[OutageRow]:
        rows = self._db.all(
            f"SELECT {_OUTAGE} FROM outages{self._s} WHERE stream_id = ? AND boot = ? "
            "ORDER BY begin_up, cause",
            (stream_id, boot),
        )
        return [OutageRow(*row) for row in rows]

    def change_outages(
        self,
        slot_id: int,
        stream_id: int,
        boot: int,
        gone: Iterable[OutageRow],
        new: Iterable[OutageRow],
    ) -> None:
        """Exchange outages of a boot."""
        self._db.executemany(
            f"DELETE FROM outages{self._s} WHERE stream_id = ? AND boot = ? AND begin_up = ? "
            "AND cause = ?",
            [(stream_id, boot, o.begin_up, o.cause) for o in gone],
        )
        self._db.executemany(
            f"INSERT INTO outages{self._s} (stream_id, boot, slot_id, {_OUTAGE}) "
            f"VALUES ({marks(14)})",
            [(stream_id, boot, slot_id, *values(o)) for o in new],
        )

    def outages_in(
        self, slot_id: int, begin: int, end: int, longest_s: int, limit: int
    ) -> list[tuple[int, int, int, int, int, int, bool]]:
        """Stream, boot, begin, end, begin_up and cause of the outages between two times, and
        whether their end was reported; one that lasts reaches to the last sample of its boot."""
        s = self._s
        columns = "o.stream_id, o.boot, o.t_begin"
        return self._db.all(
            f"SELECT {columns}, o.t_end, begin_up, o.cause, duration IS NOT NULL "
            f"FROM outages{s} AS o "
            "WHERE slot_id = ? AND t_end >= ? AND t_end <= ? AND t_begin <= ? LIMIT ?",
            (slot_id, begin, end + longest_s, end, limit),
        ) + self._db.all(
            f"SELECT {columns}, {_REACHES}, begin_up, o.cause, duration IS NOT NULL "
            f"FROM outages{s} AS o JOIN boots{s} USING (stream_id, boot) WHERE o.slot_id = ? "
            "AND t_end IS NULL AND t_begin IS NOT NULL AND t_begin <= ? "
            f"AND {_REACHES} >= ? LIMIT ?",
            (slot_id, end, begin, limit),
        )
