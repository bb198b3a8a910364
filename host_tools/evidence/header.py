"""What an evidence file says that it is, and whether chains and slots in it fit that."""

from __future__ import annotations

from typing import Any, NamedTuple

from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, day
from host_tools.contracts.calendar import Month, month_of
from host_tools.evidence.chains import BEFORE_S, SCOPES, Office, ReceiptChain
from host_tools.evidence.container import FORMAT, EvidenceError
from host_tools.province.records import village_of


class EvidenceHeader(NamedTuple):
    """What a file says that it is. receipts: first and last whose reports are in it."""

    province: str
    month: Month
    scope: dict[str, str]
    slots: list[str]
    receipts: tuple[int, int]
    edition: int | None


def read_header(item: dict[str, Any]) -> EvidenceHeader:
    def wrong(name: str) -> EvidenceError:
        return EvidenceError(
            _("The header of the file has no valid '{name}'; get the file again.").format(
                name=name
            )
        )

    if item.get("format") != FORMAT:
        raise EvidenceError(
            _("The file's format is {found}; this desalink reads {format}.").format(
                found=str(item.get("format"))[:40], format=FORMAT
            )
        )
    province, scope, slots = item.get("province"), item.get("scope"), item.get("slots")
    if type(province) is not str or not province.isprintable():
        raise wrong("province")
    if type(item.get("month")) is not str:
        raise wrong("month")
    month = month_of(item["month"])
    if (
        type(scope) is not dict
        or len(scope) > 1
        or not set(scope) <= set(SCOPES)
        or any(type(value) is not str for value in scope.values())
    ):
        raise wrong("scope")
    if type(slots) is not list or any(type(slot) is not str for slot in slots):
        raise wrong("slots")
    if slots != sorted(set(slots)):
        raise wrong("slots")
    for slot in slots:
        village_of(slot)
    window, edition = item.get("receipts"), item.get("edition")
    if (
        type(window) is not list
        or len(window) != 2
        or any(type(number) is not int for number in window)
        or not 0 <= window[0] <= window[1]
    ):
        raise wrong("receipts")
    if edition is not None and type(edition) is not int:
        raise wrong("edition")
    return EvidenceHeader(province, month, scope, slots, (window[0], window[1]), edition)


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
