"""A simulated province: docs/verify.py agrees on its figures, and no damage to it is missed."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from host_tools.derive import rebuild
from host_tools.simulate.signing import MessageSigner
from host_tools.simulate.storing import derive_rest
from host_tools.store import open_database, queries
from host_tools.store.archiving import Archiver, month_of
from host_tools.store.streams import Streams
from host_tools.wire import Key
from tests.host_tools.derive.test_reference import shown, verify
from tests.host_tools.simulate.conftest import Simulated


def keys_of(small: Simulated) -> dict[bytes, tuple[bytes, str]]:
    signers = [
        (MessageSigner(device, village.slot), village.slot)
        for village in small.villages
        for device in village.devices
    ]
    return {signer.kid: (signer.public_key, slot) for signer, slot in signers}


@pytest.mark.slow
def test_the_reference_agrees_on_a_simulated_province(
    small: Simulated, filled: Path, tmp_path: Path
):
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    with open_database(tmp_path / "province.db") as db:
        derive_rest(db)
        now = db.value("SELECT max(received_at) FROM reports") + 60
        hot = shown(db, now)
        moved = Archiver(db, lambda _: None).archive_month(month_of(now), now + 90 * 86_400)
        assert moved.reports > 1000 and shown(db, now) == hot
        found = verify.figures(db.path, keys_of(small), now)
        assert found["not_verified"] == []
        assert found["slots"] == hot
        assert sum(len(slot["outages"]) for slot in found["slots"].values()) > 30


@pytest.mark.slow
def test_every_changed_byte_and_every_deleted_row_is_found_and_named(
    small: Simulated, filled: Path, tmp_path: Path
):
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    keys = {kid: Key(public_key, slot, True) for kid, (public_key, slot) in keys_of(small).items()}
    rng = random.Random(1)
    with open_database(tmp_path / "province.db") as db:
        streams = Streams(db)
        with db.transaction():
            for stream in streams.all():
                stream.dirty = True
            streams.save_ranges()
        rows = db.all("SELECT id, stream_id, seq, message FROM reports ORDER BY id")
        chosen = rng.sample(rows, 1100)
        with db.transaction():
            for number, _, _, message in chosen[:1000]:
                changed = bytearray(message)
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
                values = (bytes(changed), number)
                db.execute("UPDATE reports SET message = ? WHERE id = ?", values)
            for number, *_ in chosen[1000:]:
                db.execute("DELETE FROM reports WHERE id = ?", (number,))
        rebuild(db, keys)
        named = {
            (streams.find(f.kid, f.stream), f.first_seq)
            for f in queries.findings(db, kinds=["corrupt"])
        }
        assert named == {(streams.by_id(row[1]), row[2]) for row in chosen}
