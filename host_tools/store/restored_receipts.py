"""Receipts that are newer than a backup: the chain goes on from its newest head, never forks."""

from __future__ import annotations

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.people.receipts import verify_receipts
from host_tools.people.technicians import former_roots, root_public, verified_trusts
from host_tools.people.trust import INGEST, signers
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.store.database import open_database
from host_tools.store.receipts import append_receipt, receipts


class ReceiptsForked(DesalinkError):
    """Two provinces that should be one have signed different receipts."""


def take_newer_receipts(former: Province, restored: Province) -> str | None:
    """Append the receipts that only the former province has; returns a note about them.

    Raises:
        ReceiptsForked: the two chains differ.
    """
    if not (former.database.exists() and restored.database.exists()):
        return None
    with open_database(restored.database) as db:
        ours = list(receipts(db))
        try:
            with open_database(former.database, readonly=True) as other:
                theirs = list(receipts(other))
            with Registry.open(restored.directory) as registry:
                roots = [*former_roots(restored), root_public(restored)]
                keys = signers(verified_trusts(registry, roots), INGEST)
            newer = [r for r, _hash in verify_receipts(theirs, keys) if r.number >= len(ours)]
        except DesalinkError as error:
            return _(
                "The receipts of {directory} can't be taken over ({error}); the chain goes on "
                "from the backup's newest one."
            ).format(directory=former.directory, error=error)
        common = min(len(ours), len(theirs))
        if ours[:common] != theirs[:common]:
            raise ReceiptsForked(
                _(
                    "The receipts of {directory} and those of the backup differ: one chain was "
                    "forked. Keep both, and find out which one the published heads belong to; to "
                    "restore all the same, move that directory away first."
                ).format(directory=former.directory)
            )
        if not newer:
            return None
        with db.transaction():
            for receipt in newer:
                append_receipt(db, receipt, theirs[receipt.number])
    return _(
        "Receipts {first} to {last} are newer than the backup and are kept. Reports that they "
        "count come again from the devices, as far as these still hold them, and are counted once "
        "more. Declare the receipts with 'desalink evidence lost {first} {last} --why TEXT': then "
        "what is missing is no tampering."
    ).format(first=common, last=len(theirs) - 1)
