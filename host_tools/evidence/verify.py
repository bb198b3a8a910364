"""Checks an evidence file against the root's public key, and counts its figures anew.

The order is that of the file: each part is checked with what the parts before it have proved.
What is wrong first ends the check, with a sentence that says what, where, and what it means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.contracts.closing import FORMAT as FIGURES_FORMAT
from host_tools.contracts.rules import Rules
from host_tools.evidence.chains import Office
from host_tools.evidence.container import EvidenceError, EvidenceReader, inflate
from host_tools.evidence.documents import (
    byte_strings,
    check_receipts,
    check_records,
    check_trusts,
    declared_lost,
    hashed,
    trusts_under,
)
from host_tools.evidence.header import EvidenceHeader, check_scope, check_window, read_header
from host_tools.evidence.recount import dumped, totals
from host_tools.evidence.slots import check_slots, compare, difference
from host_tools.people.trust import OFFICE, TECHNICIAN, signers

_MAX_CLOSED = 64 << 20  # bytes of a province's figures

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Checked:
    """What a check found.

    digest: of the file; head: of the newest receipt in it, `head_end` where that ends; totals: of
    the figures; unproved: sentences.
    """

    header: EvidenceHeader
    digest: str
    head: str
    head_number: int
    head_end: int
    rules: Rules
    reports: int
    totals: dict[str, Any]
    unproved: list[str]


def verify(
    path: Path,
    roots: Sequence[bytes],
    heads: Sequence[str] = (),
    progress: Progress = lambda _name: None,
    *,
    workers: int | None = None,
) -> Checked:
    """Check a file.

    Args:
        roots: public keys; more than one where the province has replaced its root key.
        heads: digests of receipts that were published, in hexadecimal.
        progress: called now and then with a sentence.
        workers: processes that check slots; None: as many as there are cores and it is worth.

    Raises:
        EvidenceError: names the first thing that is wrong.
    """
    with EvidenceReader(path) as file:
        try:
            return _verify(file, roots, heads, progress, workers)
        except EvidenceError:
            raise
        except DesalinkError as error:
            raise EvidenceError(str(error)) from None


def _verify(
    file: EvidenceReader,
    roots: Sequence[bytes],
    heads: Sequence[str],
    progress: Progress,
    workers: int | None,
) -> Checked:
    header = read_header(file.take("header"))
    hashes: list[bytes] = []
    trusts = trusts_under(hashed(byte_strings(file, "trust"), hashes), roots)
    office = Office(byte_strings(file, "office"), signers(trusts, OFFICE), header.month)
    check_trusts(office, {t.version: digest for t, digest in zip(trusts, hashes, strict=True)})
    chain = check_receipts(file, header, office, trusts, heads)
    check_window(header, office, chain)
    unproved = check_records(file, header, office, signers(trusts, TECHNICIAN))
    rules = office.basis.rules
    if file.take("rules")["rules"] != office.rules_text:
        raise EvidenceError(
            _("The rules in the file are not version {version}, by which {name} counts.").format(
                version=rules.version, name=header.month.name
            )
        )
    published = _published(file, office) if office.closed else None
    check_scope(header, office.slots(header.scope, chain.reported))
    figures: dict[str, bytes] = {}
    count = 0
    slots = header.slots
    for number, one in enumerate(check_slots(file, slots, office, chain, workers), 1):
        figures[one.slot] = one.figures
        count += one.reports
        progress(f"{number} of {len(slots)} slots are checked")
    for slot, mine in figures.items():
        compare(slot, file.take("figures"), mine)
        if published is not None and dumped(published.get(slot)) != mine:
            raise EvidenceError(
                _("{slot} counts otherwise than in the closed month: {difference}.").format(
                    slot=slot, difference=difference(published.get(slot), json.loads(mine))
                )
            )
    found = totals(map(json.loads, figures.values()))
    said = file.take("totals")["totals"]
    if said != found:
        raise EvidenceError(
            _("The totals of the file are wrong: {difference}.").format(
                difference=difference(said, found)
            )
        )
    if file.peek() is not None:
        raise EvidenceError(
            _("The file goes on after its totals; get it from the province again.")
        )
    if office.closed is None:
        unproved.insert(
            0,
            _(
                "{name} is not closed: these figures may still change. They count what was "
                "received before {date}."
            ).format(name=header.month.name, date=day(chain.spans[-1][1])),
        )
    unproved += declared_lost(office, chain)
    if not heads:
        unproved.insert(
            0,
            _(
                "No published head was given (--head): whoever holds the ingest's key could have "
                "made other receipts, and left reports out."
            ),
        )
    newest = len(chain.spans) - 1
    head = chain.hashes[-1].hex(), newest, chain.spans[-1][1]
    return Checked(header, file.digest, *head, rules, count, found, unproved)


def _published(file: EvidenceReader, office: Office) -> dict[str, dict[str, Any]]:
    """The figures of the whole province as the month was closed, by slot."""
    text = inflate(file.take("closed")["closed"], _MAX_CLOSED)
    closed, rules = office.closed, office.basis.rules
    assert closed is not None
    if hashlib.sha256(text).digest() != closed.digest:
        raise EvidenceError(
            _(
                "The figures of {month}, edition {edition}, are not those that the office closed: "
                "their SHA-256 is {found}, and the office signed {digest}."
            ).format(
                month=closed.month,
                edition=closed.edition,
                found=hashlib.sha256(text).hexdigest(),
                digest=closed.digest.hex(),
            )
        )
    try:
        table = json.loads(text)
        said = (table["format"], table["month"], table["rules"])
        slots = {one["slot"]: one for one in table["slots"]}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise EvidenceError(_("The closed month's figures are no JSON of that form.")) from None
    if said != (FIGURES_FORMAT, closed.month, {"version": rules.version, "sha256": rules.digest}):
        raise EvidenceError(_("The closed month's figures are of another month or other rules."))
    return slots
