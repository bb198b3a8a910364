"""When the certificates, lists and documents end on which every device depends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from host_tools.broker.acl import SERVICES
from host_tools.broker.upkeep import load_crl
from host_tools.common.i18n import _
from host_tools.common.times import day, wita
from host_tools.keys.ca import load_certificate, load_certificates
from host_tools.people.technicians import newest_trust
from host_tools.province.registry import Registry
from host_tools.province.settings import Province

_DAY_S = 86400

WARN_DAYS = 90
"""Time to do something about what ends."""


@dataclass(frozen=True)
class End:
    """Something that ends: what, when (Unix seconds), in how many whole days, what to do."""

    what: str
    at: int
    days: int
    remedy: str


def ends(
    province: Province,
    registry: Registry,
    now: float | None = None,
    shown: Mapping[str, str] = MappingProxyType({}),
) -> list[End]:
    """Everything that ends, the soonest first.

    Args:
        shown: by slot, the serial of the certificate that its device has last shown.
        now: Unix time, the present if None.

    Raises:
        KeyFileError: a certificate or the list is missing or damaged.
        TrustError: the trust document is not this province's.
    """
    moment = time.time() if now is None else now
    found = [
        End(what, at, int((at - moment) // _DAY_S), remedy)
        for what, at, remedy in _all(province, registry, shown)
    ]
    return sorted(found, key=lambda end: end.at)


def warning(soon: Sequence[End]) -> str:
    """What ends, and the command that renews it.

    Args:
        soon: of `ends`, the soonest first; at least one.
    """
    first = soon[0]
    when = _("ends in {days} days").format(days=first.days) if first.days >= 0 else _("has ended")
    others = _(" (and {count} more)").format(count=len(soon) - 1) if len(soon) > 1 else ""
    return _("{what} {when}, on {time}{others}; {remedy}.").format(
        what=first.what, when=when, time=wita(first.at), others=others, remedy=first.remedy
    )


def in_use(registry: Registry, shown: Mapping[str, str]) -> list[str]:
    """The slots whose devices show their newest renewed certificate.

    Args:
        shown: as for `ends`.
    """
    renewals = registry.renewals()
    return [
        slot
        for slot, used in registry.certificates_in_use().items()
        if used.serial in renewals and renewals[used.serial].serial == shown.get(slot)
    ]


def _all(
    province: Province, registry: Registry, shown: Mapping[str, str]
) -> Iterator[tuple[str, int, str]]:
    renew = _(
        "renew it with 'desalink broker config' (its passphrase is needed) and restart the broker"
    )
    crl = load_crl(province)
    if crl.next_update_utc is not None:
        yield _("The revocation list"), int(crl.next_update_utc.timestamp()), renew
    server = load_certificate(province.server_certificate)
    former = load_certificates(province.ca_certificate)[1:]
    if server.issuer not in [ca.subject for ca in former]:  # else it ends with that
        yield _("The broker's certificate"), int(server.not_valid_after_utc.timestamp()), renew
    remedy = _("make its successor with 'desalink renew authority'")
    for what, ca in zip(
        (_("The CA's certificate"), _("The former CA's certificate")),
        load_certificates(province.ca_certificate),
        strict=False,
    ):
        yield what, int(ca.not_valid_after_utc.timestamp()), remedy
        remedy = _("end its use with 'desalink renew authority --finish' and restart the broker")
    for service in SERVICES:
        certificate = load_certificate(province.service(service).certificate)
        yield (
            _("The certificate of the service {service}").format(service=service),
            int(certificate.not_valid_after_utc.timestamp()),
            _("renew it with 'desalink renew services'"),
        )
    yield from _devices(registry, shown)
    trust = newest_trust(province, registry)
    if trust is not None:
        yield (
            _("The trust document"),
            trust[0].expires,
            _("make a new one with 'desalink technicians add NAME --renew'"),
        )


def _devices(registry: Registry, shown: Mapping[str, str]) -> Iterator[tuple[str, int, str]]:
    """The first of the devices' certificates in use to end; a kit's spare does not count."""
    renewals = registry.renewals()
    used = registry.certificates_in_use()
    for slot in in_use(registry, shown):
        used[slot] = renewals[used[slot].serial]
    for slot, certificate in sorted(used.items(), key=lambda item: item[1].not_after)[:1]:
        remedy = _("renew it with 'desalink renew devices', or provision it again with a new kit")
        renewal = renewals.get(certificate.serial)
        if renewal is not None:
            remedy = _(
                "its successor of {date} waits at the broker; provision the device again if it "
                "can't be reached"
            ).format(date=day(renewal.not_after))
        yield (
            _("The certificate of the device of {slot}").format(slot=slot),
            certificate.not_after,
            remedy,
        )
