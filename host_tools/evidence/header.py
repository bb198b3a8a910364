"""What an evidence file says that it is, and whether chains and slots in it fit that."""

from __future__ import annotations

from typing import Any, NamedTuple

from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, day
from host_tools.contracts.calendar import Month, month_of
from host_tools.evidence.chains import BEFORE_S, SCOPES, Office, ReceiptChain
from host_tools.evidence.container import FORMAT, MAX_ITEM, EvidenceError
from host_tools.province.records import village_of
from host_tools.wire.columns import MAX_VALUE
from host_tools.wire.shapes import (
    FieldRefused,
    Form,
    Optional,
    array,
    fits,
    nullable,
    pair,
    row,
    table,
    text,
    uint,
)


class EvidenceHeader(NamedTuple):
    """What a file says that it is. receipts: first and last whose reports are in it."""

    province: str
    month: Month
    scope: dict[str, str]
    slots: tuple[str, ...]
    receipts: tuple[int, int]
    edition: int | None


_FORM = Form(
    "header",
    {
        "province": fits(text(MAX_ITEM), str.isprintable),
        "month": text(MAX_ITEM),
        "scope": fits(table(text(10), text(MAX_ITEM), 1), lambda scope: set(scope) <= set(SCOPES)),
        "slots": fits(array(text(14)), lambda slots: list(slots) == sorted(set(slots))),
        "receipts": fits(
            row(pair, uint(MAX_VALUE), uint(MAX_VALUE)),
            lambda receipts: receipts[0] <= receipts[1],
        ),
        "edition": Optional(nullable(uint(MAX_VALUE))),
    },
    named=True,
)


def read_header(item: dict[str, Any]) -> EvidenceHeader:
    """The header of a file.

    Raises:
        EvidenceError: it is of another format, or one of its fields is not valid.
    """
    if item.get("format") != FORMAT:
        raise EvidenceError(
            _("The file's format is {found}; this desalink reads {format}.").format(
                found=str(item.get("format"))[:40], format=FORMAT
            )
        )
    try:
        fields = _FORM.read(item)
    except FieldRefused as refused:
        raise EvidenceError(
            _("The header of the file has no valid '{name}'; get the file again.").format(
                name=refused.field
            )
        ) from None
    for slot in fields["slots"]:
        village_of(slot)
    return EvidenceHeader(**fields | {"month": month_of(fields["month"])})


def check_window(header: EvidenceHeader, office: Office, chain: ReceiptChain) -> None:
    (first, last), month = header.receipts, header.month
    if last >= len(chain.spans):
        raise EvidenceError(
            _("The file says that it counts receipts up to {last}, and holds {count}.").format(
                last=last, count=len(chain.spans)
            )
        )
    begin = chain.spans[first][0]
    if first and begin > month.begin - BEFORE_S:
        raise EvidenceError(
            _(
                "The reports in the file begin with receipt {first} ({date}), less than "
                "{days} days before {name}: what reaches into the month could be left out."
            ).format(first=first, date=day(begin), days=BEFORE_S // DAY_S, name=month.name)
        )
    closed = office.closed
    if header.edition != (closed.edition if closed else None):
        said = f"edition {header.edition}" if header.edition is not None else "no closed edition"
        holds = f"edition {closed.edition} holds" if closed else "none holds"
        raise EvidenceError(
            _("The file is of {said} of {name}, and by the office log {holds}.").format(
                said=said, name=month.name, holds=holds
            )
        )
    counted = len(chain.spans) - 1 if closed is None else closed.receipt
    if counted is None:
        raise EvidenceError(
            _("{name} was closed before a receipt counted its reports.").format(name=month.name)
        )
    if last < counted:
        raise EvidenceError(
            _(
                "The figures of {name} count receipts up to {counted}, and the file ends with "
                "receipt {last}: reports are left out."
            ).format(name=month.name, counted=counted, last=last)
        )


def check_scope(header: EvidenceHeader, expected: list[str]) -> None:
    missing = sorted(set(expected) - set(header.slots))
    if missing:
        raise EvidenceError(
            _("{missing} belongs into the file and is left out of it.").format(missing=missing[0])
        )
    more = sorted(set(header.slots) - set(expected))
    if more:
        raise EvidenceError(
            _("{more} is in the file and does not belong into it.").format(more=more[0])
        )
