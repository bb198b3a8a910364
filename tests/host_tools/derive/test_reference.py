"""The page's own implementation (docs/verify.py) and the province agree on every figure."""

import importlib
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.store import Database, queries
from host_tools.store.streams import insert_birth
from host_tools.wire import parse_birth
from host_tools.wire.envelope import split
from tests import support
from tests.host_tools.derive.test_derive_findings import STEP, history
from tests.world.devices import START, Device
from tests.world.filled import Filled

# As `python docs/verify.py` finds what lies beside it.
sys.path.append(str(support.ROOT / "docs"))
verify = importlib.import_module("verify")


def shown(db: Database, now: int) -> dict:
    """What the province shows of its slots, in the form of the reference."""
    found = {}
    for slot in queries.status(db, now):
        name = slot.slot
        found[name] = {
            "status": {
                "state": slot.state,
                "since": slot.since,
                "fresh": slot.fresh,
                "rtt_ms": slot.rtt_ms,
                "loss_percent": slot.loss_percent,
                "clients": slot.clients,
                "last_report": slot.last_report,
                "journal_fill_percent": slot.journal_fill,
                "backlog": slot.backlog,
                "gaps": slot.gaps,
            },
            "outages": sorted(
                (
                    {
                        "cause": o.cause,
                        "begin": o.begin,
                        "end": o.end,
                        "flaps": o.flaps,
                        "interrupted": o.interrupted,
                        "evidence": [{"rung": r, "result": n} for r, n in o.evidence],
                    }
                    for o in queries.outages(db, slot=name)
                ),
                key=lambda o: (o["begin"], o["cause"]),
            ),
            "states": [(i.begin, i.end, i.state) for i in queries.intervals(db, name)],
            "usage_hours": {
                u.begin: tuple(u[3:])
                for u in queries.usage(db, by="hour", village=name[:10])
                if u.slot == name
            },
        }
    return found


@settings(max_examples=40)
@given(
    st.lists(st.lists(STEP, min_size=1, max_size=14), min_size=1, max_size=3),
    st.booleans(),
    st.integers(0, 2000),
)
def test_the_reference_agrees_on_random_stores(lives, known_birth, late):
    devices = [
        Device(seed=1 + number % 2, now=START + 7 * number, stream=bytes([9 - number] * 4))
        for number in range(len(lives))
    ]
    keys = {device.kid: (device.public_key, device.slot) for device in devices}
    with tempfile.TemporaryDirectory() as folder:
        filled = Filled(Path(folder) / "province.db")
        stories = [history(*life) for life in zip(devices, lives, strict=True)]
        received_at = max(device.now for device in devices)
        for device, messages in zip(devices, stories, strict=True):
            filled.store(device, messages, received_at=received_at)
            stream = filled.streams.find(device.kid, device.stream)
            if known_birth and stream is not None:
                message = device.birth()
                birth = parse_birth(message[split(message)[1] : -66])
                insert_birth(filled.db, stream, birth, received_at, message)
        filled.derive()
        now = received_at + late
        found = verify.figures(filled.db.path, keys, now)
        assert found["not_verified"] == []
        assert found["slots"] == shown(filled.db, now)
        filled.db.close()
