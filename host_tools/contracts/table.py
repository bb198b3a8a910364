"""The table of contracts, as an office's spreadsheet has it; checked line by line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.spreadsheets import read_sheet
from host_tools.common.times import DAY_S, WITA, day
from host_tools.contracts.rules import EXCLUDABLE, Rules
from host_tools.province.contract_records import Contract, ContractEntry
from host_tools.province.records import Village, slot_name
from host_tools.province.villages import near_matches, plain_code

# English and Indonesian headings of each column; the first that a table has is taken.
COLUMNS: dict[str, tuple[str, ...]] = {
    "slot": ("slot", "code", "kode", "village", "village_code", "kode_desa", "kode_kemendagri"),
    "provider": ("provider", "penyedia"),
    "product": ("product", "produk", "layanan"),
    "medium": ("medium", "media", "akses"),
    "mbps": ("mbps", "bandwidth", "kecepatan"),
    "price": ("price", "harga", "harga_per_bulan"),
    "target": ("target", "sla", "target_sla"),
    "from": ("from", "valid_from", "mulai", "berlaku_mulai"),
    "to": ("to", "valid_to", "sampai", "berlaku_sampai"),
    "exclusions": ("exclusions", "pengecualian"),
    "hours": ("hours", "jam", "jam_layanan"),
    "number": ("number", "contract", "kontrak", "nomor_kontrak"),
}
_NEEDED = ("slot", "provider", "mbps", "price", "target", "from")
# A contract without an end; nobody reads figures of that year from this version.
OPEN_END = int(datetime(2100, 1, 1, tzinfo=WITA).timestamp())

_SLOT = re.compile(r"(.+)-([1-9][0-9]{0,2})")
_HOURS = re.compile(r"([01]?\d|2[0-3])[:.]([0-5]\d) ?[-–] ?([01]?\d|2[0-4])[:.]([0-5]\d)")
_MAX_TEXT = 120


class ContractError(DesalinkError):
    """A table of contracts that can't be imported."""


@dataclass
class ContractTable:
    """The good rows with their lines, and a sentence for each that is not."""

    contracts: list[tuple[int, Contract]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    encoding: str = "UTF-8"


def contract_id(contract: Contract) -> str:
    """The id of a contract: the first 8 bytes of SHA-256 of what is in it, in hex."""
    content = json.dumps(asdict(contract), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_contracts(
    path: Path, villages: Sequence[Village], known: Iterable[ContractEntry], rules: Rules
) -> ContractTable:
    """Read and check every row.

    Args:
        known: contracts on record that are not withdrawn.
        rules: what is excluded where the table does not say it.

    Raises:
        ContractError: a needed column is missing.
        SpreadsheetError, OSError: the file is no table, or can't be read.
    """
    sheet = read_sheet(path)
    places = _columns(sheet.heading, path)
    table = ContractTable(encoding=sheet.encoding)
    by_code = {village.code: village for village in villages}
    taken: dict[str, list[tuple[Contract, str, bool]]] = {}
    for entry in known:
        own = (entry.contract, _("the contract {id} on record").format(id=entry.id), True)
        taken.setdefault(entry.contract.slot, []).append(own)
    for line, cells in sheet.rows:
        row = {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
        try:
            contract = _contract(row, by_code, rules)
            others = taken.setdefault(contract.slot, [])
            for other, where, recorded in others:
                if contract == other and recorded:
                    continue
                if contract.begin < other.end and other.begin < contract.end:
                    raise ValueError(
                        _("{slot}: {period} overlaps {other} of {provider}, {where}").format(
                            slot=contract.slot,
                            period=_period(contract),
                            other=_period(other),
                            provider=other.provider,
                            where=where,
                        )
                    )
        except ValueError as error:
            table.problems.append(_("line {line}: {error}").format(line=line, error=error))
            continue
        others.append((contract, _("line {line}").format(line=line), False))
        table.contracts.append((line, contract))
    return table


def _period(contract: Contract) -> str:
    last = (
        _("without end")
        if contract.end == OPEN_END
        else _("to {date}").format(date=day(contract.end - 1))
    )
    return f"{day(contract.begin)} {last}"


def _columns(heading: Sequence[str], path: Path) -> dict[str, int]:
    plain = [re.sub(r"[ \-]+", "_", cell.casefold()) for cell in heading]
    places = {}
    for name, headings in COLUMNS.items():
        found = [plain.index(one) for one in headings if one in plain]
        if found:
            places[name] = found[0]
    missing = [name for name in _NEEDED if name not in places]
    if missing:
        shown = ", ".join(heading)[:200] or _("nothing")
        raise ContractError(
            _(
                "{path} has no column '{missing}' in its first line (it has: {shown}); the "
                "columns are {names}."
            ).format(path=path, missing=missing[0], shown=shown, names=", ".join(COLUMNS))
        )
    return places


def _contract(row: dict[str, str], villages: dict[str, Village], rules: Rules) -> Contract:
    """The contract of a row."""
    slot = _slot(row["slot"], villages)

    def named(name: str, needed: bool = False) -> str:
        text = " ".join(row.get(name, "").split())
        if needed and not text:
            raise ValueError(_("{slot}: {name} is empty").format(slot=slot, name=name))
        if len(text) > _MAX_TEXT or not text.isprintable():
            raise ValueError(
                _("{slot}: {name} is no text of at most {max_text} characters").format(
                    slot=slot, name=name, max_text=_MAX_TEXT
                )
            )
        return text

    def said(name: str, expected: str) -> ValueError:
        return ValueError(
            _("{slot}: {name} '{found}' is not {expected}").format(
                slot=slot, name=name, found=row.get(name, "")[:40], expected=expected
            )
        )

    provider = named("provider", needed=True)
    if not re.fullmatch(r"[1-9]\d{0,4}", row["mbps"]):
        raise said("mbps", _("a whole number of megabits a second"))
    price = _rupiah(row["price"])
    if price is None:
        raise said("price", _("an amount of rupiah such as 1.150.000"))
    target = _ppm(row["target"])
    if target is None:
        # A spreadsheet's own per cent is a share: 0.95 would be less than one per cent.
        raise said("target", _("a percentage from 50 to 100, such as 95 or 99,5"))
    begin = _day(row["from"])
    if begin is None:
        raise said("from", _("a day such as 2026-10-01 or 01/10/2026"))
    end = OPEN_END
    if row.get("to"):
        last = _day(row["to"])
        if last is None:
            raise said("to", _("a day such as 2026-10-31 or 31/10/2026"))
        end = last + DAY_S
    if end <= begin:
        raise ValueError(
            _("{slot}: it ends on {end}, before it begins on {begin}").format(
                slot=slot, end=day(end - 1), begin=day(begin)
            )
        )
    return Contract(
        slot=slot,
        provider=provider,
        product=named("product"),
        medium=named("medium"),
        mbps=int(row["mbps"]),
        price=price,
        target_ppm=target,
        excluded=_excluded(slot, row.get("exclusions", ""), rules),
        hours=_hours(slot, row.get("hours", "")),
        begin=begin,
        end=end,
        number=named("number"),
    )


def _slot(text: str, villages: dict[str, Village]) -> str:
    if not text:
        raise ValueError(_("the code is empty"))
    found = None if plain_code(text) else _SLOT.fullmatch(text)
    code = plain_code(found[1] if found else text)
    if code is None:
        raise ValueError(
            _("{text}: not a village code of 10 digits, nor a slot").format(text=text[:40])
        )
    if code not in villages:
        near = near_matches(code, villages.values(), 1)
        hint = (
            _("; the nearest is {dotted} {name}").format(dotted=near[0].dotted, name=near[0].name)
            if near
            else ""
        )
        raise ValueError(
            _("{text}: this province has no such village{hint}").format(text=text, hint=hint)
        )
    return slot_name(code, int(found[2]) if found else 1)


def _rupiah(text: str) -> int | None:
    """An amount with or without separators of thousands; rupiah have no cents."""
    text = re.sub(r"^rp\.? ?", "", text.casefold()).removesuffix(",00").removesuffix(",-")
    if not re.fullmatch(r"\d{1,12}|\d{1,3}(\.\d{3})+|\d{1,3}(,\d{3})+", text):
        return None
    return int(re.sub(r"\D", "", text))


def _ppm(text: str) -> int | None:
    text = text.removesuffix("%").strip().replace(",", ".")
    if not re.fullmatch(r"\d{1,3}(\.\d{1,4})?", text):
        return None
    ppm = int(Decimal(text) * 10_000)
    return ppm if 500_000 <= ppm <= 1_000_000 else None


def _day(text: str) -> int | None:
    for form in ("%Y-%m-%d", "%d/%m/%Y"):
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            continue
        if 2000 <= moment.year < 2100:
            return int(moment.replace(tzinfo=WITA).timestamp())
    return None


def _excluded(slot: str, text: str, rules: Rules) -> tuple[str, ...]:
    """Sorted kinds of time; empty: as the rules have it; `none`: nothing is excluded."""
    words = {word.strip().casefold() for word in re.split(r"[;,]", text) if word.strip()}
    if not words:
        return tuple(sorted(rules.excluded.default))
    if words == {"none"}:
        return ()
    strange = sorted(words - set(EXCLUDABLE))
    if strange:
        raise ValueError(
            _(
                "{slot}: nothing is called '{word}' that can be excluded (there are: {names})"
            ).format(slot=slot, word=strange[0][:40], names=", ".join(EXCLUDABLE))
        )
    return tuple(sorted(words))


def _hours(slot: str, text: str) -> tuple[int, int] | None:
    if not text or text.replace(" ", "") in ("24/7", "24", "00:00-24:00"):
        return None
    found = _HOURS.fullmatch(text)
    if found:
        opens, closes = (int(found[i]) * 3600 + int(found[i + 1]) * 60 for i in (1, 3))
        if opens < closes <= DAY_S:
            return opens, closes
    raise ValueError(
        _("{slot}: hours '{text}' is not a time of the day such as 06:00-22:00").format(
            slot=slot, text=text[:40]
        )
    )
