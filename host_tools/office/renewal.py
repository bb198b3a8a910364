"""Renewing devices' certificates from afar: the same key, new dates (docs/wire.md).

Nothing secret is needed and nothing secret travels: the device keeps its key.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from host_tools.broker.client import CheckClient
from host_tools.broker.config import configured_port
from host_tools.common.errors import KeyFileError
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.keys.authorities import for_devices, load_documents, newest_authorities
from host_tools.keys.ca import Authority, load_certificate, load_certificates, serial_text
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.wire.topics import topic_name

# Run once a year, this renews each certificate at least a year before it ends.
WITHIN = timedelta(days=2 * 366)

KIND = "certificate"
CERTIFICATE = 1
"""Key of the certificate (DER) in the payload."""
AUTHORITIES = 2
"""Key of the documents that name CAs and root key."""


@dataclass(frozen=True)
class Renewal:
    renewed: tuple[str, ...]
    """Slots with a new certificate."""
    waiting: int
    """Certificates that were made before and are good for longer than asked for."""
    left: tuple[tuple[str, str], ...]
    """Slots whose certificate could not be renewed, and why."""


def renew_devices(
    province: Province,
    registry: Registry,
    authority: Authority,
    within: timedelta = WITHIN,
    now: float | None = None,
) -> Renewal:
    """Issue a new certificate to each device in use whose certificate ends within a time.

    After a change of the CA or the root key, to each whose certificate is older than that.

    Each is on record before it exists anywhere else. `publish_certificates` comes after.

    Raises:
        sqlite3.Error: the registry can't be written.
    """
    moment = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    renewals = registry.renewals()
    change = newest_authorities(province.authorities)
    changed = 0 if change is None else change.issued
    renewed, left, waiting = [], [], 0
    for slot, used in registry.certificates_in_use().items():
        newest = renewals.get(used.serial, used)
        outdated = newest.issued_at < changed
        if not outdated and newest.not_after >= (moment + within).timestamp():
            waiting += newest is not used
            continue
        if used.revoked_at is not None:
            continue
        content = registry.certificate_content(used.serial)
        if content is None:
            left.append(
                (
                    slot,
                    _(
                        "its certificate of {date} was issued before this desalink kept "
                        "certificates; give it with --certificate, or provision the device again"
                    ).format(date=day(used.not_after)),
                )
            )
            continue
        new = authority.renew_client(x509.load_der_x509_certificate(content))
        end = int(new.not_valid_after_utc.timestamp())
        if end < newest.not_after or (end == newest.not_after and not outdated):
            text = _(
                "the CA itself ends on {}; make its successor with 'desalink renew authority'"
            )
            left.append((slot, text.format(day(end))))
            continue
        registry.record_certificate(
            serial_text(new.serial_number),
            slot,
            end,
            new.public_bytes(serialization.Encoding.DER),
            used.serial,
        )
        renewed.append(slot)
    return Renewal(tuple(renewed), waiting, tuple(left))


def keep_certificates(province: Province, registry: Registry, paths: Iterable[Path]) -> int:
    """Put devices' certificates on record that were issued before the registry kept them.

    Raises:
        KeyFileError: a file is not a certificate of this province.
    """
    authorities = {a.subject: a for a in load_certificates(province.ca_certificate)}
    count = 0
    for path in paths:
        certificate = load_certificate(path)
        content = certificate.public_bytes(serialization.Encoding.DER)
        try:
            certificate.verify_directly_issued_by(authorities[certificate.issuer])
            known = registry.keep_certificate(serial_text(certificate.serial_number), content)
        except (KeyError, ValueError, TypeError, InvalidSignature):
            known = False
        if not known:
            raise KeyFileError(
                _(
                    "{path} is not a certificate that this province has issued; choose the file "
                    "client.pem of one of its devices."
                ).format(path=path)
            )
        count += 1
    return count


def publish_certificates(province: Province, registry: Registry) -> int:
    """Publish each device's renewed certificate, retained on its slot's own topic.

    A slot for which there is none gets an empty message: that of a former device goes.

    Returns:
        How many certificates are published.

    Raises:
        BrokerError: the broker is not there, or does not confirm.
    """
    renewals = registry.renewals()
    documents = for_devices(load_documents(province.authorities))
    changes = {AUTHORITIES: documents} if documents else {}
    host, port = province.broker.local_host, configured_port(province)
    count = 0
    with CheckClient(host, port, province.service("operator")) as client:
        for slot, used in registry.certificates_in_use().items():
            renewal = renewals.get(used.serial)
            content = None if renewal is None else registry.certificate_content(renewal.serial)
            payload = b""
            if content is not None:
                payload = cbor2.dumps({CERTIFICATE: content, **changes}, canonical=True)
            client.publish(topic_name(slot, KIND), payload, retain=True)
            count += content is not None
    return count
