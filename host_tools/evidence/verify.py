"""Checks an evidence file against the root's public key, and counts its figures anew.

The order is that of the file: each part is checked with what the parts before it have proved.
What is wrong first ends the check, with a sentence that says what, where, and what it means.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.times import DAY_S, day
from host_tools.contracts.calendar import Month, month_of
from host_tools.contracts.months import FORMAT as FIGURES_FORMAT
from host_tools.contracts.rules import Rules
from host_tools.devices.proof import verify_proof
from host_tools.evidence.chains import BEFORE_S, SCOPES, Expected, Office, ReceiptChain
from host_tools.evidence.container import (
    FORMAT,
    EvidenceError,
    EvidenceReader,
    PartMessage,
    inflate,
)
from host_tools.evidence.recount import Received, Recounter, dumped
from host_tools.field.enrolments.record import Record, check_signer, parse_record
from host_tools.keys.signing import public_bytes
from host_tools.people.office_log import OfficeDevice
from host_tools.people.receipts import StreamDigest
from host_tools.people.trust import (
    INGEST,
    OFFICE,
    TECHNICIAN,
    RoleSigner,
    Trust,
    TrustError,
    signers,
    verify_trust,
)
from host_tools.province.records import village_of
from host_tools.store.ranges import RangeSet
from host_tools.wire import Refused, parse_report, topic_name
from host_tools.wire.envelope import byte_string_head, check_signature, signed_bytes, split

_MAX_ROOTS = 1 << 16  # bytes
_MAX_CLOSED = 64 << 20  # bytes of a province's figures

Progress = Callable[[str], None]


class EvidenceHeader(NamedTuple):
    """What a file says that it is. receipts: first and last whose reports are in it."""

    province: str
    month: Month
    scope: dict[str, str]
    slots: list[str]
    receipts: tuple[int, int]
    edition: int | None


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


def read_roots(path: Path) -> list[bytes]:
    """The public keys in a file, 32 bytes each: PEM, one or several.

    Raises:
        EvidenceError: it holds something else.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        pem = file.read(_MAX_ROOTS)
    end = b"-----END PUBLIC KEY-----"
    found: list[bytes] = []
    for part in pem.split(end)[:-1]:
        try:
            key = load_pem_public_key(part.lstrip() + end)
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            found.clear()
            break
        found.append(public_bytes(key))
    if not found:
        raise EvidenceError(
            _(
                "{path} is no public root key; give the province's keys/root.pub with --root."
            ).format(path=path)
        )
    return found


def verify(
    path: Path,
    roots: Sequence[bytes],
    heads: Sequence[str] = (),
    progress: Progress = lambda _name: None,
) -> Checked:
    """Check a file.

    Args:
        roots: public keys; more than one where the province has replaced its root key.
        heads: digests of receipts that were published, in hexadecimal.
        progress: called now and then with a sentence.

    Raises:
        EvidenceError: names the first thing that is wrong.
        OSError: the file can't be read.
    """
    with EvidenceReader(path) as file:
        try:
            return _verify(file, roots, heads, progress)
        except EvidenceError:
            raise
        except DesalinkError as error:
            raise EvidenceError(str(error)) from None


def _verify(
    file: EvidenceReader, roots: Sequence[bytes], heads: Sequence[str], progress: Progress
) -> Checked:
    header = _header(file.take("header"))
    hashes: list[bytes] = []
    trusts = trusts_under(_hashed(_byte_strings(file, "trust"), hashes), roots)
    office = Office(_byte_strings(file, "office"), signers(trusts, OFFICE), header.month)
    _check_trusts(office, {t.version: digest for t, digest in zip(trusts, hashes, strict=True)})
    chain = _receipts(file, header, office, trusts, heads)
    _check_window(header, office, chain)
    unproved = _records(file, header, office, signers(trusts, TECHNICIAN))
    rules = office.basis.rules
    if file.take("rules")["rules"] != office.rules_text:
        raise EvidenceError(
            _("The rules in the file are not version {version}, by which {name} counts.").format(
                version=rules.version, name=header.month.name
            )
        )
    published = _published(file, office) if office.closed else None
    _check_scope(header, office.slots(header.scope, chain.reported))
    figures: dict[str, bytes] = {}
    count = 0
    with Recounter(office.basis) as recounter:
        for number, slot in enumerate(header.slots, 1):
            _births(file, slot, office)
            reports = _Reports(file, slot, office, chain)
            figures[slot] = recounter.count(slot, reports)
            reports.end()
            count += reports.count
            progress(f"{number} of {len(header.slots)} slots are checked")
    for slot, mine in figures.items():
        _compare(slot, file.take("figures"), mine)
        if published is not None and dumped(published.get(slot)) != mine:
            raise EvidenceError(
                _("{slot} counts otherwise than in the closed month: {difference}.").format(
                    slot=slot, difference=_difference(published.get(slot), json.loads(mine))
                )
            )
    found = totals(map(json.loads, figures.values()))
    said = file.take("totals")["totals"]
    if said != found:
        raise EvidenceError(
            _("The totals of the file are wrong: {difference}.").format(
                difference=_difference(said, found)
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
    unproved += _lost(office, chain)
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


# ---- header ---------------------------------------------------------------------------------


def _header(item: dict[str, Any]) -> EvidenceHeader:
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


# ---- what the root, the office and the ingest signed ------------------------------------------


def _byte_strings(file: EvidenceReader, kind: str) -> Iterator[bytes]:
    for rows in file.parts(kind):
        for row in rows:
            if type(row) is not bytes:
                raise EvidenceError(
                    _("Something in '{kind}' of the file is no byte string.").format(kind=kind)
                )
            yield row


def trusts_under(documents: Iterable[bytes], roots: Sequence[bytes]) -> list[Trust]:
    """Every trust document, verified under one of the root keys.

    Raises:
        EvidenceError: one is not signed by these, or is left out.
    """
    trusts: list[Trust] = []
    for document in documents:
        trust = _under(document, roots)
        before = trusts[-1].version if trusts else trust.version - 1
        if trust.version != before + 1:
            raise EvidenceError(
                _(
                    "Trust document {version} follows {before}: one is left out, so a key that "
                    "was revoked could seem valid."
                ).format(version=trust.version, before=before)
            )
        trusts.append(trust)
    if not trusts:
        raise EvidenceError(_("There is no trust document: nobody's signature can be checked."))
    return trusts


def _under(document: bytes, roots: Sequence[bytes]) -> Trust:
    reason = ""
    for root in roots:
        try:
            return verify_trust(document, root, now=0)
        except TrustError as error:
            reason = str(error)
    raise EvidenceError(
        _(
            "A trust document is not signed by the root key that was given: it is a forgery, or "
            "of another province, or the key is the wrong one. {reason}"
        ).format(reason=reason)
    )


def _hashed(rows: Iterable[bytes], hashes: list[bytes]) -> Iterator[bytes]:
    for row in rows:
        hashes.append(hashlib.sha256(row).digest())
        yield row


def _check_trusts(office: Office, hashes: Mapping[int, bytes]) -> None:
    for version, digest in sorted(office.state.trusts.items()):
        if hashes.get(version) != digest:
            raise EvidenceError(
                _(
                    "The office log names trust document {version}, and the file does not hold "
                    "it: a key that it revokes could seem valid."
                ).format(version=version)
            )


def _receipts(
    file: EvidenceReader,
    header: EvidenceHeader,
    office: Office,
    trusts: Sequence[Trust],
    heads: Sequence[str],
) -> ReceiptChain:
    chain = ReceiptChain(office, trusts, set(header.slots))
    raw = _byte_strings(file, "receipts")
    for _receipt in chain.walk(raw, signers(trusts, INGEST), *header.receipts):
        pass
    missing = {head.strip().lower() for head in heads} - {h.hex() for h in chain.hashes}
    if missing:
        raise EvidenceError(
            _(
                "The published head {head} is none of the {count} receipts in the file: the "
                "receipts were made anew after it was published, or the file is older."
            ).format(head=min(missing), count=len(chain.hashes))
        )
    return chain


def _lost(office: Office, chain: ReceiptChain) -> Iterator[str]:
    """What the office says of receipts whose reports are not in the file."""
    for each in office.state.lost:
        count = sum(chain.lost[number] for number in chain.lost if number in each)
        if count:
            end = chain.spans[min(each.last, len(chain.spans) - 1)][1]
            yield _(
                "{by} declared on {date} that the reports of receipts {first} to {last} are lost, "
                "received from {begin} to {end}: {why}. They count {count} reports; what did not "
                "come again is unknown time."
            ).format(
                by=each.by,
                date=day(each.at),
                first=each.first,
                last=each.last,
                begin=day(chain.spans[each.first][0]),
                end=day(end - 1),
                why=each.why,
                count=count,
            )


def _check_window(header: EvidenceHeader, office: Office, chain: ReceiptChain) -> None:
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


def _records(
    file: EvidenceReader,
    header: EvidenceHeader,
    office: Office,
    technicians: Mapping[bytes, RoleSigner],
) -> list[str]:
    """Check who enrolled the devices; returns what was not proved."""
    slots = set(header.slots)
    devices = [device for device in office.state.devices.values() if device.slot in slots]
    named = {device.record for device in devices}
    records: dict[bytes, Record] = {}
    for raw in _byte_strings(file, "records"):
        try:
            record = parse_record(raw)
        except Refused as refused:
            raise EvidenceError(
                _("An enrolment record of the file is wrong: {refused}.").format(refused=refused)
            ) from None
        if record.hash in records or record.hash not in named:
            raise EvidenceError(
                _(
                    "An enrolment record of {slot} is in the file twice, or enrols no device."
                ).format(slot=record.slot)
            )
        records[record.hash] = record
    unproved = []
    for device in devices:
        where = f"Device {device.kid.hex()} of {device.slot}"
        if device.proof is None:
            if not device.adopted:
                raise EvidenceError(
                    _(
                        "{where} was enrolled without a proof that it has its key: any key could "
                        "have been entered."
                    ).format(where=where)
                )
            unproved.append(
                _("{where} was enrolled before there was an office log, and has no proof.").format(
                    where=where
                )
            )
            continue
        if verify_proof(device.proof, device.slot).public_key != device.key:
            raise EvidenceError(
                _("{where}: the proof is of another key than the office entered.").format(
                    where=where
                )
            )
        if device.record is None:
            continue
        found = records.get(device.record)
        if found is None:
            raise EvidenceError(
                _("{where}: the technician's record of it is not in the file.").format(where=where)
            )
        _check_record(where, device, found, technicians.get(found.technician))
    return unproved


def _check_record(
    where: str, device: OfficeDevice, record: Record, signer: RoleSigner | None
) -> None:
    if record.slot != device.slot or record.proof != device.proof:
        raise EvidenceError(
            _("{where}: the technician's record is of another device or slot.").format(where=where)
        )
    if signer is None:
        raise EvidenceError(
            _(
                "{where}: key {technician} signed the record, which no trust document names for a "
                "technician."
            ).format(where=where, technician=record.technician.hex())
        )
    try:
        check_signer(record, signer.public_key)
    except Refused as refused:
        raise EvidenceError(
            _("{where}: the technician's record is wrong: {refused}.").format(
                where=where, refused=refused
            )
        ) from None


# ---- the month ------------------------------------------------------------------------------


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


def _check_scope(header: EvidenceHeader, expected: list[str]) -> None:
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


# ---- what the devices signed ------------------------------------------------------------------


def _signed(
    slot: str, kind: str, message: bytes, where: str, office: Office, received_at: int
) -> tuple[bytes, bytes]:
    """kid and payload of a message that one of the slot's devices signed."""
    try:
        kid, begin = split(message)
    except Refused as refused:
        raise EvidenceError(
            _("{where} is no signed message: {refused}.").format(where=where, refused=refused)
        ) from None
    device = office.state.devices.get(kid)
    if device is None or device.slot != slot:
        raise EvidenceError(
            _(
                "{where} is signed by key {kid}, and the office has enrolled no such device for "
                "this slot."
            ).format(where=where, kid=kid.hex())
        )
    if not office.counts(kid, received_at):
        raise EvidenceError(
            _("{where} was received on {date}, after its device {kid} was revoked.").format(
                where=where, date=day(received_at), kid=kid.hex()
            )
        )
    topic = topic_name(slot, kind).encode()
    if not check_signature(
        device.key, signed_bytes(message, byte_string_head(len(topic)) + topic)
    ):
        raise EvidenceError(
            _(
                "{where} is not what its device {kid} signed: it was changed, or it is another "
                "slot's."
            ).format(where=where, kid=kid.hex())
        )
    return kid, message[begin:-66]


def _births(file: EvidenceReader, slot: str, office: Office) -> None:
    before = PartMessage(-1, 0, b"")
    for birth in file.of_slot("births", slot):
        where = f"A birth of {slot} (receipt {birth.receipt})"
        if birth <= before:
            raise EvidenceError(
                _("{where} is not in its order, or is there twice.").format(where=where)
            )
        before = birth
        _signed(slot, "birth", birth.message, where, office, birth.received_at)


class _Reports:
    """The reports of a slot, each verified and held against its receipt."""

    def __init__(
        self, file: EvidenceReader, slot: str, office: Office, chain: ReceiptChain
    ) -> None:
        self._file, self._slot, self._office, self._chain = file, slot, office, chain
        self._expected = iter(chain.expected.get(slot, ()))
        self._now: Expected | None = None
        self._digest = StreamDigest()
        self._seqs: dict[tuple[bytes, bytes], RangeSet] = {}
        self.count = 0

    def __iter__(self) -> Iterator[Received]:
        before = (-1, b"", b"", 0)
        for number, received_at, message in self._file.of_slot("reports", self._slot):
            where = f"Report {self.count} of {self._slot} (receipt {number})"
            kid, payload = _signed(self._slot, "report", message, where, self._office, received_at)
            try:
                report = parse_report(payload)
            except Refused as refused:
                raise EvidenceError(
                    _("{where} can't be read: {refused}.").format(where=where, refused=refused)
                ) from None
            key = (number, kid, report.stream, report.seq)
            if key <= before:
                raise EvidenceError(
                    _("{where} is not in its order, or is there twice.").format(where=where)
                )
            if key[:3] != before[:3]:
                self._begin(number, kid, report.stream, report.seq)
            before = key
            if not self._seqs.setdefault(key[1:3], RangeSet()).add(report.seq):
                raise EvidenceError(
                    _("{where} is there twice, in two receipts.").format(where=where)
                )
            if received_at >= self._chain.spans[number][1]:
                raise EvidenceError(
                    _("{where} was received on {date}, after its receipt ends.").format(
                        where=where, date=day(received_at)
                    )
                )
            self._digest.add(message, received_at)
            self.count += 1
            yield received_at, message, report

    def _begin(self, number: int, kid: bytes, stream: bytes, seq: int) -> None:
        self._finish()
        self._now = next(self._expected, None)
        if self._now is None or self._now[:3] != (number, kid, stream):
            if self._now is not None and self._now[:3] < (number, kid, stream):
                raise self._left_out(self._now)
            raise EvidenceError(
                _(
                    "Report {seq} of stream {stream} of {slot} is in the file, and receipt "
                    "{number} does not count that stream: it was added afterwards."
                ).format(seq=seq, stream=stream.hex(), slot=self._slot, number=number)
            )
        self._digest = StreamDigest()

    def _finish(self) -> None:
        now = self._now
        if now is None:
            return
        where = f"stream {now.stream.hex()} of {self._slot} in receipt {now.receipt}"
        if self._digest.count != now.reports:
            raise EvidenceError(
                _(
                    "The receipt counts {reports} reports of {where}, and the file holds {count}: "
                    "reports were left out or added."
                ).format(reports=now.reports, where=where, count=self._digest.count)
            )
        if self._digest.digest() != now.digest:
            raise EvidenceError(
                _(
                    "The reports of {where} are not those that the receipt counts: one was "
                    "exchanged, or its time of receipt was changed."
                ).format(where=where)
            )
        if now.highest < self._seqs[now.kid, now.stream].last:
            raise EvidenceError(
                _("The highest seq of {where} is less than that of its reports.").format(
                    where=where
                )
            )

    def _left_out(self, row: Expected) -> EvidenceError:
        return EvidenceError(
            _(
                "Receipt {receipt} counts {reports} reports of stream {stream} of {slot}, and the "
                "file holds none of them: they were left out."
            ).format(
                receipt=row.receipt, reports=row.reports, stream=row.stream.hex(), slot=self._slot
            )
        )

    def end(self) -> None:
        """See that nothing is missing."""
        self._finish()
        rest = next(self._expected, None)
        if rest is not None:
            raise self._left_out(rest)


# ---- figures ----------------------------------------------------------------------------------


def _compare(slot: str, item: dict[str, Any], mine: bytes) -> None:
    said = item["figures"]
    if item.get("slot") != slot or type(said) is not bytes:
        raise EvidenceError(
            _("The figures of {slot} are expected in the file, and others come.").format(slot=slot)
        )
    if said == mine:
        return
    try:
        table = json.loads(said)
    except (ValueError, RecursionError):
        raise EvidenceError(_("The figures of {slot} are no JSON.").format(slot=slot)) from None
    raise EvidenceError(
        _("The figures of {slot} are not what its reports give: {difference}.").format(
            slot=slot, difference=_difference(table, json.loads(mine))
        )
    )


def _difference(said: Any, counted: Any, where: str = "") -> str:
    """The first value that differs, as text for people."""
    if type(said) is dict and type(counted) is dict:
        for key in sorted(set(counted) | set(map(str, said))):
            if said.get(key) != counted.get(key):
                return _difference(said.get(key), counted.get(key), f"{where}.{key}"[:80])
    if type(said) is list and type(counted) is list and len(said) == len(counted):
        for number, pair in enumerate(zip(said, counted, strict=True)):
            if pair[0] != pair[1]:
                return _difference(*pair, f"{where}[{number}]")
    name = where.lstrip(".") or "the form"
    return f"{name} is {said!s:.60}, and the evidence gives {counted!s:.60}"


def totals(figures: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sums over all slots."""
    seconds: Counter[str] = Counter()
    found = {"slots": 0, "price": 0, "restitution": 0}
    for one in figures:
        found["slots"] += 1
        for piece in one["pieces"]:
            seconds.update(piece["seconds"])
            found["price"] += piece["price"]
            found["restitution"] += piece["restitution"]
    return {**found, "seconds": dict(sorted(seconds.items()))}
