"""What an earlier version has left on disks is still read: province, kit, device.

tests/vectors/older-version.tar.xz was written by the version before the rooms were put in order:
a province with four devices that had reported for a minute, a kit, one device's folder, and
what `status` and `usage` showed then.
"""

from __future__ import annotations

import json
import tarfile
from datetime import datetime
from pathlib import Path

import pytest

from agent import config
from agent.journal.journal import Journal
from host_tools.cli import main
from host_tools.derive import Deriver
from host_tools.keys.root import load_root_key
from host_tools.people.kits.opened import read_kit
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, load
from host_tools.store import open_database
from host_tools.store.queries import stored
from host_tools.store.streams import Streams
from tests.support import ROOT, run_micropython
from tests.world.journals import read_segment

PASSPHRASE = "correct horse battery staple"
KIT_PASSPHRASE = "kit horse battery staple"
SLOT = "6403112002-1"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    with tarfile.open(ROOT / "tests" / "vectors" / "older-version.tar.xz") as archive:
        # Python 3.11.2, which Debian 12 has, knows no filters yet.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    return tmp_path / "older"


@pytest.fixture
def province(older: Path) -> Province:
    """With its figures derived, as an ingest does it at its start."""
    province = load(older / "province")
    with open_database(province.database) as db:
        deriver = Deriver(db, Streams(db))
        while deriver.step():
            pass
    return province


def test_figures_of_an_older_database_are_the_same(
    older: Path, province: Province, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = json.loads((older / "usage.json").read_text())
    begin = expected[0]["begin"]
    with pytest.raises(SystemExit) as ended:
        main(["-C", str(province.directory), "usage", "--since", begin, "--json"])
    assert ended.value.code in (None, 0)
    found = json.loads(capsys.readouterr().out)
    rows = found["rows"] if isinstance(found, dict) else found
    shown = {row["slot"]: row for row in rows}
    for row in expected:
        assert shown[row["slot"]] | row == shown[row["slot"]], row["slot"]


def test_every_report_of_a_device_is_still_evidence(older: Path, province: Province) -> None:
    segment = older / "device" / "state" / "journal" / "00000001.seg"
    journaled = read_segment(segment.read_bytes(), 1)
    with open_database(province.database, readonly=True) as db:
        evidence = stored(db, SLOT)
    assert journaled
    assert all(evidence[stream][seq] == message for (stream, seq), message in journaled.items())


def test_the_registry_and_the_root_key_open(older: Path, province: Province) -> None:
    with Registry.open(province.directory) as registry:
        assert len(registry.active_devices()) == 4
    root = load_root_key(province.root_key, PASSPHRASE)
    assert load_root_key(province.root_key, PASSPHRASE).public_key() == root.public_key()


def test_a_kit_opens(older: Path) -> None:
    kit = read_kit(older / "trip.desakit", KIT_PASSPHRASE)
    assert list(kit.slots) == [SLOT]
    assert datetime.fromtimestamp(kit.expires).year in (2026, 2027)


def test_a_device_goes_on_with_its_journal_and_configuration(older: Path) -> None:
    device = older / "device"
    settings = config.load(str(device / "config.json"))
    assert settings["slot"] == SLOT
    folder = device / "state" / "journal"
    held = read_segment((folder / "00000001.seg").read_bytes(), 1)
    journal = Journal(str(folder), settings["journal.capacity"], settings["journal.segment"])
    journal.open()
    newest = max(seq for _, seq in held)
    assert journal.next_seq == newest + 1
    assert journal.read(newest) == held[journal.stream, newest]
    journal.close()


def test_micropython_finds_the_board_that_an_older_configuration_names(older: Path) -> None:
    code = (
        "from agent import prepare\n"
        f"settings, board = prepare.load({str(older / 'device' / 'config.json')!r})\n"
        "print(settings['port'], board.board)\n"
    )
    ended = run_micropython(code, check=True)
    assert ended.stdout.split() == ["boards.unix.port", "unix"]
