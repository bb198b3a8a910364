"""What is or will soon be wrong with the broker's certificates and revocation list.

An expired revocation list makes Mosquitto refuse everybody, an expired or misnamed server
certificate makes every device refuse the broker: both are reported long before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509

from host_tools.broker.services import ending, renew_services
from host_tools.common.errors import KeyFileError
from host_tools.common.files import write_file, write_private
from host_tools.common.i18n import _
from host_tools.keys.ca import Authority, load_certificate, server_names
from host_tools.province.registry import Registry
from host_tools.province.settings import Province

ALARM = timedelta(days=180)


@dataclass
class Upkeep:
    """What must be renewed. `broken`: it refuses devices now; `due`: it will some day."""

    broken: list[str] = field(default_factory=list)
    due: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.broken or self.due)


def _expiry(upkeep: Upkeep, what: str, end: datetime) -> None:
    left = end - datetime.now(UTC)
    if left <= timedelta():
        upkeep.broken.append(_("{what} ended on {end:%Y-%m-%d}").format(what=what, end=end))
    elif left < ALARM:
        upkeep.due.append(_("{what} ends on {end:%Y-%m-%d}").format(what=what, end=end))


def load_crl(province: Province) -> x509.CertificateRevocationList:
    """Read the revocation list.

    Raises:
        KeyFileError: it is missing or damaged.
    """
    try:
        return x509.load_pem_x509_crl(province.crl.read_bytes())
    except (FileNotFoundError, ValueError):
        raise KeyFileError(
            _(
                "The revocation list {crl} is missing or damaged; put it back from the backup."
            ).format(crl=province.crl)
        ) from None


def unlisted(province: Province, registry: Registry) -> int:
    """How many revoked certificates the list does not name, because a command was interrupted."""
    listed = {entry.serial_number for entry in load_crl(province)}
    return sum(int(serial, 16) not in listed for serial, _at in registry.revoked_certificates())


def inspect(province: Province, registry: Registry) -> Upkeep:
    """Check the certificates and the list.

    Raises:
        KeyFileError: one of them can't be read.
    """
    upkeep = Upkeep()
    certificate = load_certificate(province.server_certificate)
    missing = set(province.broker.server_names) - server_names(certificate)
    if missing:
        upkeep.broken.append(
            _("the broker's certificate does not name {names} of province.toml").format(
                names=", ".join(sorted(missing))
            )
        )
    _expiry(upkeep, _("the broker's certificate"), certificate.not_valid_after_utc)
    crl = load_crl(province)
    if crl.next_update_utc is not None:
        _expiry(upkeep, _("the revocation list"), crl.next_update_utc)
    for service in ending(province, ALARM):
        _expiry(
            upkeep,
            _("the certificate of {service}").format(service=service),
            load_certificate(province.service(service).certificate).not_valid_after_utc,
        )
    pending = unlisted(province, registry)
    if pending:
        upkeep.due.append(
            _("{count} revoked certificates are not in the revocation list yet").format(
                count=pending
            )
        )
    return upkeep


def renew(province: Province, registry: Registry, authority: Authority) -> None:
    """Make both anew from province.toml and the registry, and services' certificates."""
    from host_tools.broker.revocation import write_crl

    issued = authority.issue_server(province.broker.server_names)
    write_private(province.server_key, issued.key_pem)
    write_file(province.server_certificate, issued.certificate_pem)
    write_crl(province, registry, authority)
    renew_services(province, registry, authority)
