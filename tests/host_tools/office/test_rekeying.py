"""A new passphrase: for every key of the province, or for none."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools.common.errors import PassphraseError
from host_tools.keys.ca import Authority
from host_tools.keys.root import load_encrypted, load_root_key
from host_tools.people import technicians
from host_tools.province.rekeying import exchange_files
from host_tools.province.settings import Province, load
from tests.host_tools.conftest import PASSPHRASE, Run
from tests.world.evidencing import signing_registry
from tests.world.killed import count_steps, killed_at

NEW = "staple horse battery"


@pytest.fixture
def staffed(kaltim: Province) -> Province:
    """The province with a technician."""
    root = load_root_key(kaltim.root_key, PASSPHRASE)
    with signing_registry(kaltim) as registry:
        technicians.add(kaltim, registry, root, "Ani", PASSPHRASE)
    return kaltim


def _keys(province: Province) -> list[Path]:
    own = (province.root_key, province.ca_key, province.office_key)
    return [*own, *province.technicians.glob("*.key")]


def _opened_by(province: Province, passphrase: str) -> list[bool]:
    found = []
    for path in _keys(province):
        try:
            load_encrypted(path, passphrase)
            found.append(True)
        except PassphraseError:
            found.append(False)
    return found


def test_every_key_opens_with_the_new_passphrase_only(
    staffed: Province, tmp_path: Path, desalink: Run
):
    file = tmp_path / "new"
    file.write_text(f"{NEW}\n")
    file.chmod(0o600)
    ended = desalink(
        "-C", staffed.directory, "passphrase", "change", "--new-passphrase-file", file
    )
    assert (ended.code, ended.out) == (0, "4 keys now under the new passphrase.\n")
    assert _opened_by(staffed, NEW) == [True] * 4
    assert _opened_by(staffed, PASSPHRASE) == [False] * 4
    assert [path.stat().st_mode & 0o777 for path in _keys(staffed)] == [0o600] * 4
    Authority.load(staffed.ca_key, staffed.ca_certificate, NEW)


def test_nothing_changes_if_one_key_does_not_open(
    staffed: Province, tmp_path: Path, desalink: Run
):
    file = tmp_path / "new"
    (key,) = staffed.technicians.glob("*.key")
    for passphrase, content, sentence in (
        ("short", None, "at least 8"),
        (NEW, b"nothing", f"{key} is not a private key"),
    ):
        file.write_text(passphrase)
        file.chmod(0o600)
        if content is not None:
            key.write_bytes(content)
        before = {path: path.read_bytes() for path in _keys(staffed)}
        ended = desalink(
            "-C", staffed.directory, "passphrase", "change", "--new-passphrase-file", file
        )
        assert ended.code == 1 and sentence in ended.err
        assert {path: path.read_bytes() for path in _keys(staffed)} == before


def test_a_change_that_was_killed_counts_for_all_files_or_none(kaltim: Province):
    """With files that need no passphrase: what matters is the exchange."""
    names = ("keys/root.key", "ca/ca.key", "technicians/1.key")
    (kaltim.directory / "technicians").mkdir()
    new = {name: b"new" for name in names}
    old = {name: b"old" for name in names}
    outcomes = set()
    total = count_steps(lambda: exchange_files(kaltim.directory, new))
    for step in range(1, total + 1):
        exchange_files(kaltim.directory, old)
        killed_at(step, lambda: exchange_files(kaltim.directory, new))
        load(kaltim.directory)  # whatever comes next finishes what counts
        (content,) = {(kaltim.directory / name).read_bytes() for name in names}
        outcomes.add(content)
    assert outcomes == {b"old", b"new"}
