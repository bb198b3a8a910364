"""A new CA or a new root key, with a period in which devices accept the old one and the new one.

Each step is a signed document (keys/authorities.py) and an exchange of files, all or none. A
device follows with its next certificate. Nothing secret travels.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.broker.revoked import catch_up, number
from host_tools.broker.services import IDENTITIES, renew_services
from host_tools.broker.upkeep import load_crl
from host_tools.common.errors import ProvinceError
from host_tools.common.i18n import _
from host_tools.keys.authorities import (
    Authorities,
    load_documents,
    newest_authorities,
    read_authorities,
    sign_authorities,
    trusted_pem,
)
from host_tools.keys.ca import AUTHORITY_LIFE, Authority, load_certificates
from host_tools.keys.private_keys import encrypted_pem
from host_tools.keys.root import load_root_key, public_pem
from host_tools.keys.signing import public_bytes
from host_tools.people.office_pen import open_office
from host_tools.people.technicians import make_trust, publish_trust
from host_tools.province.registry import Registry
from host_tools.province.rekeying import exchange_files
from host_tools.province.settings import Province

_DER = serialization.Encoding.DER


def in_period(province: Province) -> bool:
    """Whether a former CA still counts.

    Raises:
        KeyFileError: the CA's file can't be read.
    """
    return len(load_certificates(province.ca_certificate)) > 1


def renew_authority(province: Province, registry: Registry, passphrase: str) -> Authority:
    """Make a new CA; it issues from now on, and the one before it still counts.

    The broker keeps its certificate of the former CA until `finish_authority`. The services get
    certificates of the new one.

    Raises:
        ProvinceError: the last change is not finished yet.
        PassphraseError, KeyFileError: the keys can't be opened.
        OSError: a file can't be written; nothing is changed.
    """
    if in_period(province):
        raise ProvinceError(
            _(
                "The CA before this one still counts; finish that change first, with 'desalink "
                "renew authority --finish'."
            )
        )
    old = Authority.load(province.ca_key, province.ca_certificate, passphrase)
    root = load_root_key(province.root_key, passphrase)
    catch_up(province, registry)
    # Another name than the old CA's, by which the revocation lists are told apart.
    made = Authority.generate(f"Desalink {province.name[:38]} {datetime.now(UTC):%Y%m%d%H%M%S}")
    made.former = old
    files = _signed(province, root, root, [made.certificate, old.certificate])
    files |= {
        "ca/former.key": old.encrypted_key(passphrase),
        "ca/ca.key": made.encrypted_key(passphrase),
        "ca/crl.pem": _crl(province, registry, made),
    }
    exchange_files(province.directory, files)
    renew_services(province, registry, made, 2 * AUTHORITY_LIFE)
    return made


def finish_authority(province: Province, registry: Registry, passphrase: str) -> Authority:
    """End the period: only the new CA counts, also for the broker's certificate.

    Raises:
        ProvinceError: there is no former CA.
        PassphraseError, KeyFileError: the keys can't be opened.
    """
    if not in_period(province):
        raise ProvinceError(_("No former CA counts any more; there is nothing to finish."))
    authority = Authority.load(province.ca_key, province.ca_certificate, passphrase)
    root = load_root_key(province.root_key, passphrase)
    catch_up(province, registry)
    authority.former = None
    issued = authority.issue_server(province.broker.server_names)
    files = _signed(province, root, root, [authority.certificate])
    files |= {
        "broker/server.crt": issued.certificate_pem,
        "broker/server.key": issued.key_pem,
        "ca/crl.pem": _crl(province, registry, authority),
    }
    exchange_files(province.directory, files)
    province.former_ca_key.unlink(missing_ok=True)
    return authority


def renew_root(province: Province, registry: Registry, passphrase: str) -> None:
    """Make a new root key. The old one signs the document that names it, and then no more.

    Raises:
        PassphraseError, KeyFileError: the keys can't be opened.
    """
    old = load_root_key(province.root_key, passphrase)
    new = Ed25519PrivateKey.generate()
    files = _signed(province, old, new, load_certificates(province.ca_certificate))
    former = province.former_roots.read_bytes() if province.former_roots.exists() else b""
    files |= {
        "keys/root.key": encrypted_pem(new, passphrase),
        "keys/root.pub": public_pem(new),
        "keys/former.pub": former + public_pem(old),
    }
    open_office(province, registry, passphrase)
    exchange_files(province.directory, files)
    with registry.transaction():
        make_trust(province, registry, new)
    publish_trust(province, registry)


def _signed(
    province: Province,
    old: Ed25519PrivateKey,
    new: Ed25519PrivateKey,
    authorities: Iterable[x509.Certificate],
) -> dict[str, bytes]:
    """The files that say what counts from now on: signed for devices, and as it is for others."""
    certificates = [authority.public_bytes(_DER) for authority in authorities]
    documents = load_documents(province.authorities)
    count = 1 + (read_authorities(documents[-1]).number if documents else 0)
    content = Authorities(count, tuple(certificates), public_bytes(new), int(time.time()))
    documents.append(sign_authorities(old, content))
    return {
        "ca/authorities.cbor": cbor2.dumps(documents),
        "ca/ca.crt": trusted_pem(certificates, content.root, count),
    }


def _crl(province: Province, registry: Registry, authority: Authority) -> bytes:
    above = number(load_crl(province))
    return authority.crl_pem(registry.revoked_certificates(), above=above)


def not_followed(
    province: Province, registry: Registry, shown: Mapping[str, str]
) -> tuple[str, ...]:
    """The slots whose devices have not shown yet that they accept the newest document.

    Args:
        shown: by slot, the serial of the certificate that its device has last shown.
    """
    newest = newest_authorities(province.authorities)
    if newest is None:
        return ()
    issued = {c.serial: c.issued_at for c in registry.certificates() if c.slot not in IDENTITIES}
    return tuple(
        slot
        for slot, used in registry.certificates_in_use().items()
        if issued.get(shown.get(slot, used.serial), 0) < newest.issued
    )
