"""The verification of a kit before a trip; each error is a sentence."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from host_tools.common.i18n import _, ngettext
from host_tools.common.times import day
from host_tools.keys.ca import common_name, serial_text
from host_tools.people.kits.model import Kit, KitCertificate
from host_tools.people.trust import TECHNICIAN, TrustError, verify_trust


@dataclass(frozen=True)
class KitCheck:
    """The result of one check. doubtful: correct for a trial, but wrong in a village."""

    what: str
    held: bool
    detail: str
    doubtful: bool = False


def is_loopback(host: str) -> bool:
    """Whether a broker's name is the device itself."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_kit(
    kit: Kit,
    *,
    roots: Collection[bytes] = (),
    ca_pem: bytes | None = None,
    firmware_hashes: dict[str, str] | None = None,
    now: float | None = None,
) -> Iterator[KitCheck]:
    """Check an opened kit, whose encryption and signature are verified already.

    Args:
        roots: the province's root keys, former ones too; empty if not known.
        ca_pem: the province's own, if known.
        firmware_hashes: file name -> SHA-256 in hexadecimal that the province pinned.
        now: Unix time, the present if None.
    """
    at = time.time() if now is None else now
    yield KitCheck(_("expiry"), kit.expires > at, _("until {date}").format(date=day(kit.expires)))
    where = f"{kit.broker_host}:{kit.broker_port}"
    if is_loopback(kit.broker_host):
        detail = _("{broker}: this address is the device itself; for trials only")
        yield KitCheck(_("broker"), True, detail.format(broker=where), doubtful=True)
    else:
        yield KitCheck(_("broker"), True, where)
    if roots:
        own = kit.root_public in roots
        yield KitCheck(
            _("province"),
            own,
            _("signed by this province's root key") if own else _("signed by another root key"),
        )
    yield from _trust(kit, at)
    yield _certificates(kit, ca_pem, at)
    for name, content in kit.firmware.items():
        yield _firmware(name, content, firmware_hashes or {})


def _trust(kit: Kit, at: float) -> Iterator[KitCheck]:
    try:
        trust = verify_trust(kit.trust, kit.root_public, now=at)
    except TrustError as error:
        yield KitCheck(_("trust document"), False, str(error))
        return
    yield KitCheck(
        _("trust document"),
        True,
        _("version {version}, until {date}").format(
            version=trust.version, date=day(trust.expires)
        ),
    )
    key = trust.find(kit.technician_kid)
    good = (
        key is not None
        and key.role == TECHNICIAN
        and key.name == kit.technician
        and key.not_after >= kit.expires
    )
    text = _("{name}, key {key}") if good else _("{name}, key {key}: not in the trust document")
    detail = text.format(name=kit.technician, key=kit.technician_kid.hex())
    yield KitCheck(_("technician"), good, detail)


def _certificates(kit: Kit, ca_pem: bytes | None, at: float) -> KitCheck:
    what = _("certificates")
    try:
        authorities = x509.load_pem_x509_certificates(kit.ca_pem)
    except ValueError:
        return KitCheck(what, False, _("the kit's CA certificate is not valid"))
    ca = authorities[0]  # the newest
    if ca_pem is not None and ca not in x509.load_pem_x509_certificates(ca_pem):
        return KitCheck(what, False, _("the kit's CA is not this province's"))
    for slot in kit.slots.values():
        for own in slot.certificates:
            wrong = _wrong(slot.slot, own, ca, at)
            if wrong:
                return KitCheck(what, False, f"{slot.slot}: {wrong}")
    text = ngettext(
        "{count} slot, issued by the kit's CA",
        "{count} slots, issued by the kit's CA",
        len(kit.slots),
    )
    return KitCheck(what, True, text.format(count=len(kit.slots)))


def _wrong(slot: str, own: KitCertificate, ca: x509.Certificate, at: float) -> str | None:
    try:
        certificate = x509.load_pem_x509_certificate(own.certificate_pem)
        certificate.verify_directly_issued_by(ca)
        key = serialization.load_pem_private_key(own.key_pem, None)
    except InvalidSignature:
        return _("the certificate is not from the kit's CA")
    except (ValueError, TypeError):
        return _("certificate or key can't be read")
    if common_name(certificate) != slot:
        return _("the certificate is for {name}").format(name=common_name(certificate))
    if serial_text(certificate.serial_number) != own.serial:
        return _("the certificate has another serial number")
    if key.public_key() != certificate.public_key():
        return _("the key is not the certificate's")
    if not (
        certificate.not_valid_before_utc.timestamp()
        <= at
        < certificate.not_valid_after_utc.timestamp()
    ):
        return _("the certificate is not valid today")
    return None


def _firmware(name: str, content: bytes, hashes: dict[str, str]) -> KitCheck:
    import hashlib

    digest = hashlib.sha256(content).hexdigest()
    wanted = hashes.get(name)
    if wanted is None:
        detail = _("SHA-256 {digest}..., as it was packed")
    elif digest == wanted:
        detail = _("SHA-256 {digest}..., as the province pinned it")
    else:
        detail = _("not the file that the province pinned")
    what = _("firmware {name}").format(name=name)
    return KitCheck(what, wanted in (None, digest), detail.format(digest=digest[:16]))
