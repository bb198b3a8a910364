"""The province's own check: the registry against the office log, what is stored against receipts.

Each function yields a sentence for each thing that is wrong, the most telling one first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from host_tools.archive.chain import Chain
from host_tools.common.i18n import _
from host_tools.evidence.container import EvidenceError
from host_tools.evidence.registry_check import registry_differences
from host_tools.evidence.store_check import Progress, StoreCheck
from host_tools.people.office_log import LOST, OfficeEntry, verify_entries
from host_tools.people.office_state import LostReceipts, OfficeState
from host_tools.people.technicians import verified_trusts
from host_tools.people.trust import INGEST, OFFICE, signers
from host_tools.province.registry import Registry
from host_tools.store import Database


def check(
    registry: Registry,
    db: Database | None,
    roots: Sequence[bytes],
    archive: Chain,
    progress: Progress = lambda _name: None,
) -> Iterator[str]:
    """Everything that is wrong with a province's evidence, a sentence each.

    Args:
        roots: its public root keys, 32 bytes each.

    Raises:
        TrustError, OfficeLogError, ReceiptError: a document or chain is not what was signed.
    """
    trusts = verified_trusts(registry, roots)
    hashes: list[bytes] = []

    def noted() -> Iterator[tuple[OfficeEntry, bytes]]:
        for entry, digest in verify_entries(registry.office_log(), signers(trusts, OFFICE)):
            hashes.append(digest)
            yield entry, digest

    state = OfficeState.replay(noted())
    yield from registry_differences(registry, state)
    if db is None:
        return
    store = StoreCheck(db, signers(trusts, INGEST), state.is_lost)
    for (number, digest), receipt in store.offices.items():
        if number >= len(hashes) or hashes[number] != digest:
            yield (
                _(
                    "Receipt {receipt} names entry {number} of the office log, and the log holds "
                    "{found} there: it was cut or forked."
                ).format(
                    receipt=receipt,
                    number=number,
                    found=_("another one") if number < len(hashes) else _("none"),
                )
            )
    if store.newest is not None and store.newest.trust > trusts[-1].version:
        yield _("Trust document {trust} is gone, which the newest receipt names.").format(
            trust=store.newest.trust
        )
    lines = {listed.digest for listed in archive}
    for digest_of_line, receipt in store.archives.items():
        if digest_of_line not in lines:
            yield (
                _(
                    "Receipt {receipt} names a line of the archive's list that is not there; put "
                    "{path} back from a backup."
                ).format(receipt=receipt, path=archive.path)
            )
    yield from store.differences(progress)


def lost_receipts(registry: Registry, roots: Sequence[bytes]) -> list[LostReceipts]:
    """What the office has declared lost.

    Raises:
        TrustError, OfficeLogError: a document or the log is not what was signed.
    """
    keys = signers(verified_trusts(registry, roots), OFFICE)
    return OfficeState.replay(verify_entries(registry.office_log(), keys)).lost


def declare_lost(
    registry: Registry,
    db: Database,
    roots: Sequence[bytes],
    first: int,
    last: int,
    *,
    why: str,
    by: str,
    now: int,
) -> None:
    """Enter that the reports of receipts from first to last are lost, as after a restore.

    Args:
        registry: signs what is changed.

    Raises:
        EvidenceError: there are no such receipts, or one of their reports is stored.
        OfficeLogError: one of them is declared lost already.
        TrustError, ReceiptError: a document or chain is not what was signed.
    """
    trusts = verified_trusts(registry, roots)
    store = StoreCheck(db, signers(trusts, INGEST))
    newest = -1 if store.newest is None else store.newest.number
    if not 0 <= first <= last <= newest:
        raise EvidenceError(
            _(
                "There are no receipts {first} to {last}; 'desalink evidence receipts' lists them."
            ).format(first=first, last=last)
        )
    stored = store.stored(range(first, last + 1))
    if stored is not None:
        raise EvidenceError(
            _(
                "Reports that receipt {number} counts are stored. Only receipts whose reports are "
                "all gone can be declared lost; 'desalink evidence check --all' names them."
            ).format(number=stored)
        )
    body = {"first": first, "last": last, "why": why, "at": now}
    OfficeState.replay(verify_entries(registry.office_log(), signers(trusts, OFFICE))).apply(
        OfficeEntry(0, b"", now, LOST, body, by), b""
    )
    registry.enter(LOST, body, by=by)


# ---- the registry -----------------------------------------------------------------------------


# ---- what is stored ---------------------------------------------------------------------------
