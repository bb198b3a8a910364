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
from host_tools.common.times import day
from host_tools.keys.ca import Authority, load_certificate, serial_text
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.wire.topics import topic_name

# Run once a year, this renews each certificate at least a year before it ends.
WITHIN = timedelta(days=2 * 366)

KIND = "certificate"
CERTIFICATE = 1
"""Key of the certificate (DER) in the payload."""


@dataclass(frozen=True)
class Renewal:
    """What a renewal of devices' certificates did."""

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

    Each is on record before it exists anywhere else. `publish_certificates` comes after.

    Raises:
        sqlite3.Error: the registry can't be written.
    """
    moment = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    renewals = registry.renewals()
    renewed, left, waiting = [], [], 0
    for slot, used in registry.certificates_in_use().items():
        newest = renewals.get(used.serial, used)
        if newest.not_after >= (moment + within).timestamp():
            waiting += newest is not used
            continue
        if used.revoked_at is not None:
            continue
        content = registry.certificate_content(used.serial)
        if content is None:
            left.append(
                (
                    slot,
                    f"its certificate of {day(used.not_after)} was issued before this desalink "
                    "kept certificates; give it with --certificate, or provision the device again",
                )
            )
            continue
        new = authority.renew_client(x509.load_der_x509_certificate(content))
        end = int(new.not_valid_after_utc.timestamp())
        if end <= newest.not_after:
            left.append((slot, f"the CA itself ends on {day(end)}; found its successor"))
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
        OSError: a file can't be read.
    """
    authority = load_certificate(province.ca_certificate)
    count = 0
    for path in paths:
        certificate = load_certificate(path)
        content = certificate.public_bytes(serialization.Encoding.DER)
        try:
            certificate.verify_directly_issued_by(authority)
            known = registry.keep_certificate(serial_text(certificate.serial_number), content)
        except (ValueError, TypeError, InvalidSignature):
            known = False
        if not known:
            raise KeyFileError(
                f"{path} is not a certificate that this province has issued; choose the file "
                "client.pem of one of its devices."
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
    host, port = province.broker.local_host, configured_port(province)
    count = 0
    with CheckClient(host, port, province.service("operator")) as client:
        for slot, used in registry.certificates_in_use().items():
            renewal = renewals.get(used.serial)
            content = None if renewal is None else registry.certificate_content(renewal.serial)
            payload = b"" if content is None else cbor2.dumps({CERTIFICATE: content})
            client.publish(topic_name(slot, KIND), payload, retain=True)
            count += content is not None
    return count
