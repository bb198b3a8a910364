"""What the signed messages of devices say themselves, and how many there are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from host_tools.store.archived import archived_reports, count_archived
from host_tools.store.database import Database
from host_tools.store.dialect import THEN_JOIN


def stored(db: Database, slot: str) -> dict[bytes, dict[int, bytes]]:
    """Of each stream of a slot each stored seq and the signed bytes as they arrived."""
    found: dict[bytes, dict[int, bytes]] = {}
    for stream, seq, message in db.iterate(
        f"SELECT stream, seq, message FROM slots {THEN_JOIN} streams ON slot_id = slots.id "
        f"{THEN_JOIN} reports ON stream_id = streams.id WHERE slot = ? ORDER BY stream_id, seq",
        (slot,),
    ):
        found.setdefault(stream, {})[seq] = message
    for stream_id, stream in db.all(
        "SELECT streams.id, stream FROM slots JOIN streams ON slot_id = slots.id WHERE slot = ?",
        (slot,),
    ):
        archived = archived_reports(db, stream_id)
        if archived:
            found[stream] = {s: r.message for s, r in archived.items()} | found.get(stream, {})
    return {stream: dict(sorted(reports.items())) for stream, reports in found.items()}


def certificates(db: Database) -> dict[str, str]:
    """By slot, the serial of the TLS certificate that its newest birth names, if it names one."""
    from host_tools.wire.envelope import split
    from host_tools.wire.payload import parse_birth
    from host_tools.wire.reasons import Refused

    newest = {}
    for slot, message in db.iterate(
        # A stream has thousands of births, and the index knows the newest.
        "SELECT slot, message FROM streams JOIN slots ON slots.id = slot_id JOIN births ON "
        "births.id = (SELECT id FROM births AS newest WHERE newest.stream_id = streams.id "
        "ORDER BY boot DESC, conn DESC LIMIT 1) ORDER BY births.received_at, births.id",
        (),
    ):
        newest[slot] = message
    found = {}
    for slot, message in newest.items():
        serial = None
        with contextlib.suppress(Refused):  # its bytes are damaged
            serial = parse_birth(message[split(message)[1] : -66]).certificate
        if serial is not None:
            found[slot] = serial
    return found


def newest_values(db: Database, names: Iterable[str]) -> dict[str, float]:
    """By slot, the last value of the first of some metrics that its newest report has."""
    from host_tools.wire.columns import SCALES, decode_columns
    from host_tools.wire.envelope import split
    from host_tools.wire.payload import parse_report
    from host_tools.wire.reasons import Refused

    wanted = tuple(names)
    found = {}
    for slot, message in db.iterate(
        "SELECT slot, message FROM latest JOIN slots ON slots.id = latest.slot_id JOIN reports ON "
        "reports.stream_id = latest.stream_id AND seq = (SELECT max(seq) FROM reports AS newest "
        "WHERE newest.stream_id = latest.stream_id)",
        (),
    ):
        columns = {}
        with contextlib.suppress(Refused):  # its bytes are damaged
            columns = decode_columns(parse_report(message[split(message)[1] : -66]))
        for name in wanted:
            values = [value for value in columns.get(name, ()) if value is not None]
            if values:
                found[slot] = values[-1] / SCALES[name]
                break
    return found


def uncounted_since(db: Database) -> int | None:
    """From when on no receipt counts what arrived; None: nothing has arrived yet."""
    import cbor2

    receipt: bytes | None = db.value("SELECT receipt FROM receipts ORDER BY number DESC LIMIT 1")
    if receipt is not None:
        # The end of its time (docs/evidence.md). It is our own: nothing is verified.
        return int(cbor2.loads(cbor2.loads(receipt).value[2])[4])
    first: int | None = db.value("SELECT min(first_at) FROM streams")
    return first


def count_stored(db: Database, slot: str) -> int:
    """How many reports of a slot are stored."""
    return int(
        db.value(
            f"SELECT count(*) FROM slots {THEN_JOIN} streams ON slot_id = slots.id "
            f"{THEN_JOIN} reports ON stream_id = streams.id WHERE slot = ?",
            (slot,),
        )
    ) + count_archived(db, slot)


def count_duplicates(db: Database, slot: str) -> int:
    """How many reports of a slot arrived again, byte for byte, and were dropped."""
    return int(
        db.value(
            "SELECT coalesce(sum(duplicates), 0) FROM streams "
            "JOIN slots ON slots.id = slot_id WHERE slot = ?",
            (slot,),
        )
    )


def count_missing(db: Database, slot: str) -> int:
    """How many reports of a slot are missing in gaps that no device has declared."""
    return int(
        db.value(
            "SELECT coalesce(sum(missing), 0) FROM findings WHERE slot_id = "
            "(SELECT id FROM slots WHERE slot = ?) AND kind = 'gap' AND resolved_at IS NULL",
            (slot,),
        )
    )
