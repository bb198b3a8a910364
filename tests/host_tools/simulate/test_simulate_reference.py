"""The page's own implementation (docs/verify.py) agrees on a simulated province."""

from __future__ import annotations

import shutil
from pathlib import Path

from host_tools.simulate.signing import MessageSigner
from host_tools.simulate.storing import derive_rest
from host_tools.store import open_database
from tests.host_tools.derive.test_reference import shown, verify
from tests.host_tools.simulate.conftest import Simulated


def test_the_reference_agrees_on_a_simulated_province(
    small: Simulated, filled: Path, tmp_path: Path
):
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    signers = [
        (MessageSigner(device, village.slot), village.slot)
        for village in small.villages
        for device in village.devices
    ]
    keys = {signer.kid: (signer.public_key, slot) for signer, slot in signers}
    with open_database(tmp_path / "province.db") as db:
        derive_rest(db)
        now = db.value("SELECT max(received_at) FROM reports") + 60
        found = verify.figures(db.path, keys, now)
        assert found["not_verified"] == []
        assert found["slots"] == shown(db, now)
        assert sum(len(slot["outages"]) for slot in found["slots"].values()) > 30
