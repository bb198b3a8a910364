"""The forms of office log and receipts: what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pycddl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.keys.signing import public_bytes
from host_tools.people.office_log import (
    OfficeEntry,
    OfficeLogError,
    entry_hash,
    sign_entry,
    verify_entries,
)
from host_tools.people.office_state import OfficeState
from host_tools.people.receipts import (
    LateReports,
    Receipt,
    ReceiptError,
    StreamReceipt,
    receipt_hash,
    sign_receipt,
    verify_receipts,
)
from host_tools.people.trust import INGEST, OFFICE, RoleSigner, Trust, TrustedKey, signers
from host_tools.wire.envelope import hash8, split
from tests.support import ROOT

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KID = hash8(public_bytes(KEY))
KEYS = {KID: RoleSigner(public_bytes(KEY), "office", 1000, 9_000_000)}
ZERO = bytes(32)
SLOT = "6403112001-1"


def device(number: int, replaces: int | None = None, at: int = 2000) -> dict[str, Any]:
    key = bytes([number]) * 32
    old = None if replaces is None else hash8(bytes([replaces]) * 32)
    return {
        **{"slot": SLOT, "kid": hash8(key), "key": key, "proof": None, "certificate": None},
        **{"replaces": old, "record": None, "adopted": False, "at": at},
    }


def log(*entries: tuple[str, dict[str, Any]], **changed: Any) -> list[bytes]:
    signed: list[bytes] = []
    prev = ZERO
    for number, (kind, body) in enumerate(entries):
        entry = OfficeEntry(number, prev, 2000 + number, kind, body, "Ani")
        if number == len(entries) - 1:
            entry = replace(entry, **changed)
        signed.append(sign_entry(KEY, entry))
        prev = entry_hash(signed[-1])
    return signed


def test_a_log_says_which_device_fills_a_slot_and_until_when() -> None:
    revoked = {"kid": device(2)["kid"], "at": 5000, "reason": "lost"}
    signed = log(
        ("enrol", device(1)), ("enrol", device(2, replaces=1, at=3000)), ("revoke", revoked)
    )
    state = OfficeState.replay(verify_entries(signed, KEYS))
    first, second = state.devices.values()
    assert (first.end, first.replaced_by, second.end) == (3000, second.kid, 5000)
    assert first.counts(3000) and not first.counts(3100) and not state.active
    assert state.head == (2, hashlib.sha256(signed[2]).digest())


@pytest.mark.parametrize(
    ("entries", "changed", "problem"),
    [
        ([("enrol", device(1)), ("enrol", device(2))], {}, "filled by another device"),
        ([("enrol", device(1)), ("enrol", device(1, 1))], {}, "enrolled already"),
        ([("reopen", {"month": "2026-10", "edition": 1, "why": "", "at": 1})], {}, "not closed"),
        ([("enrol", device(1))], {"prev": bytes([1] * 32)}, "does not continue"),
        ([("enrol", device(1))], {"number": 1}, "does not continue"),
        ([("enrol", device(1)), ("enrol", device(2, 1))], {"time": 1999}, "older than"),
        ([("enrol", device(1))], {"time": 9_000_000}, "not valid when"),
    ],
)
def test_a_log_that_contradicts_itself_is_refused(
    entries: list[tuple[str, dict[str, Any]]], changed: dict[str, Any], problem: str
) -> None:
    with pytest.raises(OfficeLogError, match=problem):
        OfficeState.replay(verify_entries(log(*entries, **changed), KEYS))


def test_both_follow_wire_cddl() -> None:
    cddl = (ROOT / "docs" / "wire.cddl").read_text()
    late = (LateReports(bytes(8), bytes(4), ((1, 2), (9, 9))),)
    for kind, message in (
        ("office-entry", log(("enrol", device(1)))[0]),
        ("receipt", sign_receipt(KEY, receipt(late=late))),
    ):
        pycddl.Schema(f"start = {kind}\n{cddl}").validate_cbor(message[split(message)[1] : -66])


def test_only_the_office_s_key_and_the_kinds_that_are_known_count() -> None:
    signed = log(("enrol", device(1)))
    with pytest.raises(OfficeLogError, match="no trust document names"):
        list(verify_entries(signed, {}))
    with pytest.raises(OfficeLogError, match=r"Entry 0 .* does not verify"):
        list(verify_entries([signed[0][:-1] + bytes([signed[0][-1] ^ 1])], KEYS))
    for kind, body in (("gift", {}), ("enrol", device(1) | {"key": ZERO}), ("revoke", {})):
        with pytest.raises(OfficeLogError):
            log((kind, body))


def test_a_key_counts_from_the_document_that_names_it_to_the_one_that_does_not() -> None:
    named = TrustedKey(KID, public_bytes(KEY), OFFICE, "office", 90_000)
    trusts = [Trust(1, 10, 99, ()), Trust(2, 20, 99, (named,)), Trust(3, 30, 99, ())]
    assert signers(trusts, OFFICE)[KID] == RoleSigner(public_bytes(KEY), "office", 20, 30)
    assert signers(trusts[:2], OFFICE)[KID].end == 90_000
    assert signers(trusts, INGEST) == {}


def receipt(**changed: Any) -> Receipt:
    row = StreamReceipt(bytes(8), bytes(4), SLOT, 2, 5, 6, ZERO)
    made = Receipt(0, ZERO, 0, 1000, 2000, 2, 0, (row,), (4, ZERO), 1, ZERO, None)
    return replace(made, **changed)


def test_a_chain_of_receipts_holds_and_names_the_first_that_does_not_continue() -> None:
    first = sign_receipt(KEY, receipt())
    follows = {"number": 1, "prev": receipt_hash(first), "begin": 1000, "end": 3000, "made": 3000}
    late = (LateReports(bytes(8), bytes(4), ((1, 2), (9, 9))),)
    good = receipt(**follows, late=late)
    found = [found for found, _ in verify_receipts([first, sign_receipt(KEY, good)], KEYS)]
    assert found == [receipt(), good]
    row = good.streams[0]
    for changed in (
        {"prev": ZERO},
        {"begin": 900},
        {"made": 1999},
        {"trust": 0},
        {"office": None},
        {"reports": 3},
        {"streams": (replace(row, highest_seq=5, first_seq=4),)},
        {"streams": (replace(row, first_seq=6),)},
        {"streams": (row, row), "reports": 4},
        {"late": (LateReports(bytes(8), bytes(4), ((1, 2), (3, 4))),)},
        {"archive": "x"},
    ):
        second = sign_receipt(KEY, replace(good, **changed))
        with pytest.raises(ReceiptError, match="Receipt 1 is wrong"):
            list(verify_receipts([first, second], KEYS))
