"""The table of docs/security.md: what each further key makes possible, and what a published head
still shows.

Everybody here has the database and the CA.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host_tools.evidence.conftest import Exports
from tests.host_tools.evidence.forging import Forgery, table_of
from tests.support import ROOT as REPOSITORY
from tests.world.devices import Device, ordinary
from tests.world.month import BEGIN, SLOTS, E, trust

FIRST, SECOND = SLOTS
EARLIER = 4  # the number of a receipt whose head was published, before the last reports came
ANEW = "is none of the 39 receipts"


def delete_tail(file: Forgery, ingest: str | None) -> None:
    rows = file.reports[FIRST]
    file.reports[FIRST] = [row for row in rows if row.receipt <= EARLIER]
    assert len(file.reports[FIRST]) < len(rows)
    finish(file, ingest)


def finish(file: Forgery, ingest: str | None) -> None:
    """Sign the receipts again if there is a key for it, and make the figures fit."""
    if ingest is not None:
        file.sign_receipts(ingest)
    file.count_again()


def cheaper_contract(file: Forgery, office: str, ingest: str | None) -> None:
    # Its id is that of what is in it, which nobody compares but the figures name.
    file.change_entry("contract", lambda body: body.update(price=1), office)
    finish(file, ingest)


def withdraw_the_maintenance(file: Forgery, office: str) -> None:
    body = {"id": "0badcafe", "why": "no reason", "at": E}
    file.add_entry("event_withdraw", body, office)
    file.count_again()


def sign_again_as(file: Forgery, device: Device, ingest: str | None) -> None:
    """All reports of the first slot, without any outage."""
    rows = file.reports[FIRST]
    for number, row in enumerate(rows):
        rows[number] = row._replace(message=device.report(ordinary()))
    finish(file, ingest)


def own_device() -> Device:
    return Device(FIRST, seed=99, now=BEGIN + 86_400, step=3600)


def swap_a_key(file: Forgery, office: str, ingest: str | None) -> None:
    own = own_device()
    change = {"kid": own.kid, "key": own.public_key, "proof": own.proof()}
    file.change_entry("enrol", lambda body: body.update(change), office)
    file.births.pop(FIRST)
    sign_again_as(file, own_device(), ingest)


def stolen_device(file: Forgery, ingest: str | None) -> None:
    first = table_of(file.reports[FIRST][0].message)
    device = Device(FIRST, seed=1, now=BEGIN + 86_400, step=3600, seq=first[2] - 1)
    sign_again_as(file, device, ingest)


def record_of_ones_own(file: Forgery) -> None:
    own = own_device()
    file.reports[FIRST] = [
        row._replace(message=own.report(ordinary())) for row in file.reports[FIRST]
    ]


def keys_of_ones_own(file: Forgery) -> None:
    """With the root: a document that names keys of one's own from the beginning on."""
    names = ["office", "office 9", "ingest", "ingest 9", "technician"]
    file.trust.append(trust(3, BEGIN, names))


def all_anew(file: Forgery) -> None:
    keys_of_ones_own(file)
    file.change_entry("contract", lambda body: body.update(price=1), "office 9")
    swap_a_key(file, "office 9", "ingest 9")


def later_anew(file: Forgery) -> None:
    keys_of_ones_own(file)
    delete_tail(file, "ingest")


Cheat = Callable[[Forgery], None]
# What is tried, whether a head was published (None, "earlier", "newest"), and what is said.
ROWS: list[tuple[str, Cheat, str | None, str]] = [
    ("no key: the tail", lambda f: delete_tail(f, None), None, "they were left out"),
    ("ingest: the tail", lambda f: delete_tail(f, "ingest"), None, ""),
    ("ingest: the tail", lambda f: delete_tail(f, "ingest"), "newest", ANEW),
    ("ingest: after the head", lambda f: delete_tail(f, "ingest"), "earlier", ""),
    (
        "office: a contract",
        lambda f: cheaper_contract(f, "office", None),
        None,
        "the log was written anew afterwards",
    ),
    ("office: a new entry", lambda f: withdraw_the_maintenance(f, "office"), "newest", ""),
    (
        "ingest, office: a contract",
        lambda f: cheaper_contract(f, "office", "ingest"),
        None,
        "",
    ),
    (
        "ingest, office: a contract",
        lambda f: cheaper_contract(f, "office", "ingest"),
        "earlier",
        ANEW,
    ),
    ("ingest, office: a swapped key", lambda f: swap_a_key(f, "office", "ingest"), None, ""),
    (
        "ingest, office: a swapped key",
        lambda f: swap_a_key(f, "office", "ingest"),
        "earlier",
        ANEW,
    ),
    ("device: its past", lambda f: stolen_device(f, None), None, "are not those that the receipt"),
    ("device, ingest: its past", lambda f: stolen_device(f, "ingest"), None, ""),
    ("device, ingest: its past", lambda f: stolen_device(f, "ingest"), "earlier", ANEW),
    ("technician: a device", record_of_ones_own, None, "has enrolled no such device"),
    ("root: everything", all_anew, None, ""),
    ("root: everything", all_anew, "earlier", ANEW),
    ("root: after the head", later_anew, "earlier", ""),
]


@pytest.mark.parametrize(
    ("cheat", "head", "says"),
    [row[1:] for row in ROWS],
    ids=[f"{name}, {head or 'no'} head" for name, _, head, _ in ROWS],
)
def test_what_is_possible_and_what_is_found(
    cheat: Cheat, head: str | None, says: str, exports: Exports, tmp_path: Path
):
    file = exports.forged()
    before = dict(file.figures)
    heads = {"newest": exports.head, "earlier": file.hash_of(EARLIER)}
    cheat(file)
    file.write(tmp_path / "forged.evidence")
    said = exports.refusal(tmp_path / "forged.evidence", *([heads[head]] if head else []))
    assert says in said if says else said == ""
    assert file.figures != before or "no such device" in says


def test_the_page_has_each_row():
    page = (REPOSITORY / "docs" / "security.md").read_text()
    for name, *_ in ROWS:
        keys = name.partition(":")[0]
        assert f"| {keys} |" in page, keys
