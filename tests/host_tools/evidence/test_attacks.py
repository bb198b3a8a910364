"""Ways to change a figure for somebody who has the database, the CA and the ingest's key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tools.evidence.container import PartMessage
from tests.host_tools.evidence.conftest import Exports
from tests.host_tools.evidence.forging import Forgery, table_of
from tests.world.devices import Device, ordinary
from tests.world.month import CA, SLOTS, B, E, trust

FIRST, SECOND = SLOTS
Way = Callable[[Forgery], None]
WAYS: list[tuple[Way, str, bool, bool]] = []


def way(says: str, *, closed: bool = False, head: bool = True) -> Callable[[Way], Way]:
    """A way to cheat, and what is said of it.

    Args:
        closed: with the file of the closed month.
        head: whoever checks knows a head that was published before.
    """

    def add(function: Way) -> Way:
        WAYS.append((function, says, closed, head))
        return function

    return add


# ---- reports ------------------------------------------------------------------------------------


def replaced(file: Forgery, slot: str, number: int, **values: object) -> None:
    file.reports[slot][number] = file.reports[slot][number]._replace(**values)


@way("holds none of them: they were left out")
def delete_the_tail_of_a_stream(file: Forgery) -> None:
    file.reports[FIRST] = [row for row in file.reports[FIRST] if row.receipt < 6]
    file.count_again()


@way("is none of the 39 receipts")
def delete_the_tail_and_sign_the_receipts_again(file: Forgery) -> None:
    delete_the_tail_of_a_stream(file)
    file.sign_receipts()


@way("The receipt counts")
def delete_one_report(file: Forgery) -> None:
    del file.reports[FIRST][10]
    file.count_again()


@way("is none of the 39 receipts")
def delete_one_report_and_sign_the_receipts_again(file: Forgery) -> None:
    delete_one_report(file)
    file.sign_receipts()


@way("its time of receipt was changed")
def change_when_a_report_was_received(file: Forgery) -> None:
    replaced(file, FIRST, 10, received_at=file.reports[FIRST][10].received_at - 4000)
    file.count_again()


@way("is none of the 39 receipts")
def change_when_all_were_received_so_that_no_clock_is_believed(file: Forgery) -> None:
    rows = file.reports[FIRST]
    file.reports[FIRST] = [row._replace(received_at=row.received_at - 4000) for row in rows]
    file.sign_receipts()
    file.count_again()


@way("is not in its order")
def change_the_order(file: Forgery) -> None:
    rows = file.reports[FIRST]
    rows[3], rows[4] = rows[4], rows[3]
    file.sorted = False


@way("after its receipt ends")
def count_a_report_in_an_earlier_receipt(file: Forgery) -> None:
    moved = max(n for n, row in enumerate(file.reports[FIRST]) if row.receipt == 6)
    replaced(file, FIRST, moved, receipt=5)
    file.count_again()


@way("no such device for this slot")
def move_a_stream_to_another_slot(file: Forgery) -> None:
    file.reports[SECOND], file.reports[FIRST] = file.reports[FIRST], file.reports[SECOND]


@way("is not what its device")
def change_a_byte_of_what_was_measured(file: Forgery) -> None:
    row = file.reports[FIRST][12]
    at = len(row.message) - 80
    message = row.message[:at] + bytes([row.message[at] ^ 1]) + row.message[at + 1 :]
    replaced(file, FIRST, 12, message=message)


@way("no such device for this slot", head=False)
def sign_reports_with_a_key_of_ones_own(file: Forgery) -> None:
    own = Device(FIRST, seed=99, now=E - 20 * 86_400, step=3600)
    for row in list(file.reports[FIRST]):
        if row.receipt > 5:
            file.reports[FIRST].remove(row)
            file.reports[FIRST].append(row._replace(message=own.report(ordinary())))
    file.sign_receipts()


@way("is there twice")
def count_a_report_twice(file: Forgery) -> None:
    row = file.reports[FIRST][10]
    later = max(r.receipt for r in file.reports[FIRST])
    file.reports[FIRST].append(PartMessage(later, row.received_at, row.message))


def stolen(file: Forgery, received_at: int, receipt: int) -> None:
    own = Device(SECOND, seed=2, now=B + 3600, step=3600, seq=900)
    file.reports[SECOND].append(PartMessage(receipt, received_at, own.report(ordinary())))


@way("after its device", head=False)
def go_on_with_a_stolen_device_after_it_was_revoked(file: Forgery) -> None:
    stolen(file, B + 15 * 86_400, 20)
    file.sign_receipts()


@way("does not count that stream: it was added afterwards")
def go_on_with_a_stolen_device_and_an_older_time(file: Forgery) -> None:
    stolen(file, B + 86_400 - 7200, 20)


# ---- receipts -----------------------------------------------------------------------------------


@way("is none of the 30 receipts")
def cut_off_the_newest_receipts(file: Forgery) -> None:
    del file.receipts[30:]
    file.header["receipts"][1] = 29


@way("Receipt 10 is wrong: it does not continue")
def leave_out_a_receipt(file: Forgery) -> None:
    del file.receipts[10]
    file.header["receipts"][1] -= 1


@way("which no trust document names for the ingest")
def sign_the_receipts_with_the_ca(file: Forgery) -> None:
    file.sign_receipts("root of the CA")


@way("was not valid when it was signed")
def sign_the_receipts_with_a_former_key_of_the_ingest(file: Forgery) -> None:
    file.sign_receipts("ingest 0")


@way("less than 3 days before 2026-10")
def let_the_file_begin_later(file: Forgery) -> None:
    file.header["receipts"][0] = 6
    for slot in SLOTS:
        file.reports[slot] = [row for row in file.reports[slot] if row.receipt >= 6]
    file.count_again()


@way("and the file ends with receipt 37: reports are left out")
def let_the_file_end_earlier(file: Forgery) -> None:
    file.header["receipts"][1] = 37


# ---- the office ---------------------------------------------------------------------------------


@way("which no trust document names for the office")
def change_the_price_of_a_contract(file: Forgery) -> None:
    file.change_entry("contract", lambda body: body.update(price=1), "ingest")


@way("the signature does not verify")
def change_the_price_and_leave_the_signature(file: Forgery) -> None:
    number = next(n for n, entry in enumerate(file.office) if table_of(entry)[4] == "contract")
    price = b"\x1a" + (1_150_000).to_bytes(4, "big")
    assert price in file.office[number]
    file.office[number] = file.office[number].replace(price, b"\x1a" + bytes([0, 1, 0, 0]))


@way("does not continue the entry before")
def leave_out_a_maintenance(file: Forgery) -> None:
    number = next(n for n, entry in enumerate(file.office) if table_of(entry)[4] == "event")
    del file.office[number]


@way("what the office did last is left out")
def cut_off_the_replacement_of_a_device(file: Forgery) -> None:
    number = next(
        n for n, e in enumerate(file.office) if (table_of(e)[5].get("replaces")) is not None
    )
    del file.office[number:]


@way("which no trust document names for the office")
def swap_the_key_of_a_device(file: Forgery) -> None:
    own = Device(FIRST, seed=99)
    file.change_entry("enrol", lambda body: body.update(kid=own.kid, key=own.public_key), "ingest")


@way("the technician's record of it is not in the file")
def leave_out_the_record_of_a_technician(file: Forgery) -> None:
    file.records.clear()


@way("is not signed by the root key that was given")
def name_a_key_of_ones_own_for_the_office(file: Forgery) -> None:
    file.trust.append(trust(3, E, ["office 9", "office", "ingest", "technician"], root=CA))


@way("trust document 2, and the file does not hold it")
def replay_the_trust_document_of_before(file: Forgery) -> None:
    del file.trust[1:]
    file.sign_receipts("ingest 0")


@way("one is left out, so a key that was revoked could seem valid")
def leave_out_a_trust_document(file: Forgery) -> None:
    file.trust.append(trust(4, E, ["office", "ingest"]))


# ---- the month ----------------------------------------------------------------------------------


def cheaper(text: bytes) -> bytes:
    table = json.loads(text)
    for piece in table.get("pieces") or table["slots"][0]["pieces"]:
        piece["restitution"] = 0
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode()


@way("restitution is 0, and the evidence gives")
def change_a_figure(file: Forgery) -> None:
    file.figures[FIRST] = cheaper(file.figures[FIRST])
    file.sum_up()


@way("The totals of the file are wrong: restitution is 0")
def change_the_totals(file: Forgery) -> None:
    file.totals["restitution"] = 0


@way("The figures of 6403112001-1 are not what its reports give")
def exchange_the_figures_of_two_slots(file: Forgery) -> None:
    file.figures[FIRST], file.figures[SECOND] = file.figures[SECOND], file.figures[FIRST]


@way("6403112001-1 belongs into the file and is left out")
def leave_out_a_slot(file: Forgery) -> None:
    file.header["slots"].remove(FIRST)
    file.sum_up()


@way("is in the file and does not belong into it")
def add_a_village_that_pays_for_another(file: Forgery) -> None:
    file.header["scope"] = {"village": SECOND[:10]}


@way("The rules in the file are not version 1")
def use_a_milder_rule(file: Forgery) -> None:
    file.rules = file.rules.replace("threshold_s = 300", "threshold_s = 86400")


@way("are not those that the office closed", closed=True)
def change_the_closed_figures(file: Forgery) -> None:
    assert file.closed is not None
    file.closed = cheaper(file.closed)
    change_a_figure(file)


@way("and by the office log edition 1 holds", closed=True)
def show_a_closed_month_as_open(file: Forgery) -> None:
    file.header["edition"], file.closed = None, None


@way("and by the office log none holds")
def show_an_open_month_as_closed(file: Forgery) -> None:
    file.header["edition"] = 1


@way("and by the office log edition 1 holds", closed=True)
def show_another_edition(file: Forgery) -> None:
    file.header["edition"] = 2


@way("less than 3 days before 2026-09")
def show_another_month(file: Forgery) -> None:
    file.header["month"] = "2026-09"


def test_the_files_themselves_are_good(exports: Exports):
    assert exports.refusal(exports.open, exports.head) == ""
    assert exports.refusal(exports.closed, exports.head) == ""
    assert exports.refusal(exports.closed) == ""


@pytest.mark.parametrize(
    ("cheat", "says", "closed", "head"), WAYS, ids=[function.__name__ for function, *_ in WAYS]
)
def test_it_is_found(
    cheat: Way, says: str, closed: bool, head: bool, exports: Exports, tmp_path: Path
):
    file = exports.forged(closed)
    cheat(file)
    file.write(tmp_path / "forged.evidence")
    assert says in exports.refusal(tmp_path / "forged.evidence", *[exports.head] * head)
