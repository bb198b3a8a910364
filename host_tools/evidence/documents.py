"""What root, office, ingest and technicians have signed in an evidence file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.devices.proof import verify_proof
from host_tools.evidence.chains import Office, ReceiptChain
from host_tools.evidence.container import EvidenceError, EvidenceReader
from host_tools.evidence.header import EvidenceHeader
from host_tools.field.enrolments.record import Record, check_signer, parse_record
from host_tools.keys.signing import public_bytes
from host_tools.people.office_state import OfficeDevice
from host_tools.people.trust import INGEST, RoleSigner, Trust, TrustError, signers, verify_trust
from host_tools.wire import Refused

_MAX_ROOTS = 1 << 16  # bytes


def read_roots(path: Path) -> list[bytes]:
    """The public keys in a file, 32 bytes each: PEM, one or several.

    Raises:
        EvidenceError: it holds something else.
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


def byte_strings(file: EvidenceReader, kind: str) -> Iterator[bytes]:
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


def hashed(rows: Iterable[bytes], hashes: list[bytes]) -> Iterator[bytes]:
    for row in rows:
        hashes.append(hashlib.sha256(row).digest())
        yield row


def check_trusts(office: Office, hashes: Mapping[int, bytes]) -> None:
    for version, digest in sorted(office.state.trusts.items()):
        if hashes.get(version) != digest:
            raise EvidenceError(
                _(
                    "The office log names trust document {version}, and the file does not hold "
                    "it: a key that it revokes could seem valid."
                ).format(version=version)
            )


def check_receipts(
    file: EvidenceReader,
    header: EvidenceHeader,
    office: Office,
    trusts: Sequence[Trust],
    heads: Sequence[str],
) -> ReceiptChain:
    chain = ReceiptChain(office, trusts, set(header.slots))
    raw = byte_strings(file, "receipts")
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


def declared_lost(office: Office, chain: ReceiptChain) -> Iterator[str]:
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


def check_records(
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
    for raw in byte_strings(file, "records"):
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
