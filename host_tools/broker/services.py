"""The certificates of the province's services, renewed long before they end."""

from __future__ import annotations

import time
from datetime import timedelta

from cryptography.hazmat.primitives import serialization

from host_tools.broker.acl import SERVICES, check_identity
from host_tools.common.files import write_file
from host_tools.keys.ca import Authority, load_certificate, serial_text
from host_tools.province.registry import Registry
from host_tools.province.settings import CHECK_SLOTS, Province

IDENTITIES = (*SERVICES, *map(check_identity, SERVICES), *CHECK_SLOTS)

# Whoever opens the CA's key within the last year of a certificate renews it.
RENEW_WITHIN = timedelta(days=366)


def ending(province: Province, within: timedelta = RENEW_WITHIN) -> list[str]:
    """The identities whose certificates end within a time.

    Raises:
        KeyFileError: a certificate is missing or damaged.
    """
    limit = time.time() + within.total_seconds()
    return [
        name
        for name in IDENTITIES
        if load_certificate(province.service(name).certificate).not_valid_after_utc.timestamp()
        < limit
    ]


def renew_services(
    province: Province,
    registry: Registry,
    authority: Authority,
    within: timedelta = RENEW_WITHIN,
) -> list[str]:
    """Renew the certificates that end within a time; returns the names of their services.

    Each keeps its key: only one file changes, so after a crash each certificate still has the
    key that belongs to it. A service uses the new one from its next connection on.

    Raises:
        KeyFileError: a certificate is missing or damaged.
    """
    renewed = []
    for name in ending(province, within):
        path = province.service(name).certificate
        old = load_certificate(path)
        new = authority.renew_client(old)
        ends_no_later = new.not_valid_after_utc <= old.not_valid_after_utc
        if ends_no_later and new.issuer == old.issuer:
            continue  # both end with the CA, of which `desalink crl check` warns
        registry.record_certificate(
            serial_text(new.serial_number), name, int(new.not_valid_after_utc.timestamp())
        )
        write_file(path, new.public_bytes(serialization.Encoding.PEM))
        renewed.append(name)
    return renewed
