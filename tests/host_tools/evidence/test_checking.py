"""The province's own check: what verbs leave in the office log, and what a hand in SQL leaves."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from host_tools.evidence.verify import verify
from host_tools.field.enrolments import EnrolmentLog
from host_tools.keys.ca import Authority
from host_tools.people.office_log import OfficeEntry, verify_entries
from host_tools.people.office_state import OfficeState
from host_tools.people.technicians import root_public
from host_tools.people.trust import OFFICE, signers, verify_trust
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, load
from tests.host_tools.conftest import Run
from tests.host_tools.evidence.conftest import verify_evidence
from tests.world.evidencing import PASSPHRASE, SLOTS, Evidenced, evidenced
from tests.world.kits import FieldDevice, make_kit

ADDED = {"trust", "village", "enrol", "contract", "event", "close"}


def entries(province: Province) -> list[OfficeEntry]:
    """The office log, verified under the newest trust document."""
    trust = verify_trust(province.trust.read_bytes(), root_public(province))
    with Registry.open(province.directory) as registry:
        keys = signers([trust], OFFICE)
        return [entry for entry, _ in verify_entries(registry.office_log(), keys)]


@pytest.fixture(scope="session")
def closed_month(founded: Path, tmp_path_factory: pytest.TempPathFactory) -> Evidenced:
    """A province with a closed month; only to be read."""
    directory = tmp_path_factory.mktemp("evidenced") / "province"
    shutil.copytree(founded, directory)
    return evidenced(load(directory))


@pytest.fixture
def province(closed_month: Evidenced, tmp_path: Path) -> Province:
    """A copy of it, to be changed."""
    shutil.copytree(closed_month.province.directory, tmp_path / "province")
    return load(tmp_path / "province")


def test_each_verb_leaves_its_entry_and_the_check_is_content(
    desalink: Run, province: Province, tmp_path: Path
) -> None:
    before = [entry.kind for entry in entries(province)]
    assert set(before) == ADDED and before.count("enrol") == 3

    def verb(*arguments: object) -> str:
        ended = desalink("-C", province.directory, *arguments)
        assert ended.code == 0, ended.err
        return ended.out

    table = tmp_path / "contracts.csv"
    table.write_text(
        "slot,provider,product,medium,mbps,price,target,from,to\n"
        "6403112003-1,Icon,Fibre,fibre,20,1000000,99,2026-11-01,2026-11-30\n"
    )
    verb("contracts", "import", table, "--by", "Budi")
    number = verb("contracts", "list", "--village", "6403112003").splitlines()[1].split("\t")[0]
    verb("contracts", "end", number, "--on", "2026-11-14", "--why", "moved")
    number = verb("contracts", "list", "--village", "6403112003").splitlines()[1].split("\t")[0]
    verb("contracts", "withdraw", number, "--why", "wrong slot")
    day = ("--from", "2026-11-02", "--until", "2026-11-02")
    text = verb("events", "add", "maintenance", *day, "--everywhere", "--why", "new mast")
    verb("events", "withdraw", text.split()[1], "--why", "not held")
    rules = tmp_path / "rules.toml"
    rules.write_text(
        verb("rules", "show").replace("version = 1", "version = 2").replace("2025-01", "2026-12")
    )
    verb("rules", "add", rules)
    verb("month", "reopen", "2026-10", "--why", "a contract was missing")
    verb("month", "close", "2026-10")
    verb("devices", "revoke", SLOTS[0], "--why", "stolen")
    with Registry.open(province.directory) as registry:
        authority = Authority.load(province.ca_key, province.ca_certificate, PASSPHRASE)
        kit, _ = make_kit(province, registry, authority)
    log = EnrolmentLog(tmp_path / "log")
    record = FieldDevice("a0:b7:65:00:00:01").enrol(log, kit, SLOTS[0])
    (tmp_path / "ani.desalog").write_bytes(log.export())
    verb("enrolments", "import", tmp_path / "ani.desalog")
    verb("kit", "revoke", kit.id.hex(), "--yes")
    found = entries(province)[len(before) :]
    assert [entry.kind for entry in found] == [
        *("village", "contract", "contract_withdraw", "contract", "contract_withdraw"),
        *("event", "event_withdraw", "rules", "reopen", "close", "revoke"),
        *("trust", "kit", "enrol", "kit_revoke", "trust"),
    ]
    assert found[13].body["record"] == record.hash and found[13].by == "Ani"
    assert found[1].by == "Budi" and found[10].body["reason"] == "stolen"
    assert found[9].body["receipt"] == 30 and found[9].body["edition"] == 2
    assert all(entry.by for entry in found)
    assert "are what the office" in verb("evidence", "check")


def test_new_keys_end_the_former_ones_and_what_those_signed_stays_valid(
    desalink: Run, province: Province, tmp_path: Path
) -> None:
    def verb(*arguments: object) -> str:
        ended = desalink("-C", province.directory, *arguments)
        assert ended.code == 0, ended.err
        return ended.out

    former = province.office_key.read_bytes(), province.receipt_key.read_bytes()
    for only in ((), ("--only", "office"), ("--only", "ingest")):
        before = province.office_key.read_bytes(), province.receipt_key.read_bytes()
        assert "The new keys count" in verb("evidence", "renew-keys", *only)
        after = province.office_key.read_bytes(), province.receipt_key.read_bytes()
        assert (before[0] != after[0]) == (only != ("--only", "ingest"))
        assert (before[1] != after[1]) == (only != ("--only", "office"))
    verb("month", "reopen", "2026-10", "--why", "a contract was missing")
    heads = [verb("evidence", "receipts").splitlines()[-1].split("\t")[-1]]
    verb("evidence", "receipts", "--now")
    verb("month", "close", "2026-10")
    assert "are what the office" in verb("evidence", "check")
    heads.append(verb("evidence", "commit").split("head ")[1].split(",")[0])
    assert len(set(heads)) == 2
    file = tmp_path / "october.evidence"
    verb("evidence", "export", "--month", "2026-10", "-o", file)
    checked = verify(file, [root_public(province)], heads)
    other = verify_evidence.verdict(file, [province.root_public], heads)
    assert other["totals"] == checked.totals
    # A thief can only use the former keys on his own copy, and nobody believes it.
    for path, key in zip((province.office_key, province.receipt_key), former, strict=True):
        path.write_bytes(key)
    for arguments in (
        ("month", "reopen", "2026-10", "--why", "x"),
        ("evidence", "receipts", "--now"),
    ):
        ended = desalink("-C", province.directory, *arguments)
        assert ended.code == 1 and "is not the one that the trust document names" in ended.err


def test_without_the_passphrase_nothing_is_changed(
    desalink: Run, province: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESALINK_PASSPHRASE", "not the passphrase")
    ended = desalink("-C", province.directory, "month", "reopen", "2026-10", "--why", "x")
    assert ended.code == 1 and "is not the passphrase of" in ended.err
    assert desalink("-C", province.directory, "evidence", "check").code == 0


@pytest.mark.parametrize(
    ("database", "sql", "sentence"),
    [
        ("registry.db", "UPDATE devices SET public_key = zeroblob(32)", "'key' is 0000"),
        ("registry.db", "UPDATE contracts SET price = 1", "'price' is 1 in the registry"),
        ("registry.db", "DELETE FROM contract_events", "the registry has lost it"),
        ("registry.db", "UPDATE closed_months SET digest = zeroblob(32)", "2026-10 edition 1"),
        ("registry.db", "UPDATE villages SET name = 'X' WHERE code = '6403112001'", "'name' is X"),
        ("registry.db", "UPDATE devices SET revoked_at = 5, revoked_by = 'x'", "'revoked' is 5"),
        (
            "registry.db",
            "INSERT INTO rules VALUES (2, 'x', 1, 'x')",
            "Rules 2 is in the registry, and the office log knows none",
        ),
        ("registry.db", "DELETE FROM office_log WHERE number = 9", "does not continue"),
        (
            "registry.db",
            "DELETE FROM office_log WHERE number = (SELECT max(number) FROM office_log)",
            "Closed month 2026-10 edition 1 is in the registry",
        ),
        ("registry.db", "UPDATE trusts SET document = x'00'", "Trust document 1 is not signed"),
        (
            "province.db",
            "DELETE FROM reports WHERE id = (SELECT max(id) FROM reports)",
            "counts 2 reports of 6402012001-1, stream",
        ),
        ("province.db", "DELETE FROM reports WHERE stream_id = 1", "and 0 are stored"),
        (
            "province.db",
            "UPDATE reports SET received_at = received_at + 1 WHERE id = 7",
            "a message or a time of receipt was changed",
        ),
        ("province.db", "UPDATE reports SET message = zeroblob(300) WHERE id = 7", "was changed"),
        ("province.db", "UPDATE streams SET slot_id = 2 WHERE id = 1", "says that 6403112002-1"),
        ("province.db", "DELETE FROM births WHERE id = 1", "counts 3 births, and the 2"),
        ("province.db", "DELETE FROM receipts WHERE number = 3", "Receipt 3 is wrong"),
        (
            "province.db",
            "UPDATE receipts SET receipt = CAST(substr(receipt, 1, 200) || x'00' || "
            "substr(receipt, 202) AS BLOB) WHERE number = 2",
            "Receipt 2 is wrong",
        ),
    ],
)
def test_a_row_that_was_changed_by_hand_is_found(
    desalink: Run, province: Province, database: str, sql: str, sentence: str
) -> None:
    with closing(sqlite3.connect(province.directory / database)) as db:
        db.execute(sql)
        db.commit()
    ended = desalink("-C", province.directory, "evidence", "check")
    assert ended.code == 1 and sentence in ended.err, ended.err


def test_what_to_publish_is_one_line_and_a_qr_code(
    desalink: Run, province: Province, tmp_path: Path
) -> None:
    code = tmp_path / "head.png"
    ended = desalink("-C", province.directory, "evidence", "commit", "--qr", code)
    listed = desalink("-C", province.directory, "evidence", "receipts").out.splitlines()[-1]
    assert ended.code == 0 and listed.split("\t")[-1] in ended.out
    assert f"receipt 30 of 2026-10-31, head {listed.split()[-1]}, office log" in ended.out
    assert code.read_bytes().startswith(b"\x89PNG")


def test_a_province_from_before_begins_with_all_that_is_there(
    desalink: Run, founded: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "before"
    shutil.copytree(founded, directory)
    province = load(directory)
    with closing(sqlite3.connect(directory / "registry.db")) as db:
        db.executescript("DELETE FROM office_log; DELETE FROM role_keys; DELETE FROM trusts")
    for path in (province.office_key, province.receipt_key, province.trust):
        path.unlink()
    with Registry.open(directory) as registry:
        for number, replace in ((1, False), (2, True), (3, True)):
            key = bytes([number]) * 32
            registry.enrol(
                *(SLOTS[0], key),
                **{"board": "b", "firmware": "1", "by": "Ani", "replace": replace, "at": number},
            )
        kid = registry.revoke(registry.active_devices()[0].kid, by="Budi", at=4).kid
        registry.enrol(SLOTS[0], bytes(32), board="b", firmware="1", by="Ani", at=5)
    assert desalink("-C", directory, "technicians", "add", "Ani").code == 0
    ended = desalink("-C", directory, "evidence", "check")
    assert ended.code == 1 and "desalink evidence begin" in ended.err
    assert evidenced(province, SLOTS[1:]).closed.edition == 1
    assert desalink("-C", directory, "month", "reopen", "2026-10", "--why", "late").code == 0

    assert desalink("-C", directory, "evidence", "begin").code == 0
    found = entries(province)
    assert found[0].body["version"] == 2 and found[0].kind == "trust"
    assert all(entry.body["adopted"] for entry in found if entry.kind == "enrol")
    state = OfficeState.replay((entry, b"") for entry in found)
    assert state.devices[kid].end == 4 and len(state.devices) == 6
    assert desalink("-C", directory, "evidence", "check").code == 0
    ended = desalink("-C", directory, "evidence", "begin")
    assert ended.code == 1 and "keeps an office log already" in ended.err
