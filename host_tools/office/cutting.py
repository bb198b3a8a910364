"""Making revocations count at the broker; the CA's key is asked for only if there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from host_tools.broker.revocation import apply_revocations, drop_session
from host_tools.broker.upkeep import load_crl
from host_tools.common.errors import BrokerError
from host_tools.common.i18n import _
from host_tools.keys.ca import Authority
from host_tools.province.registry import Registry
from host_tools.province.settings import Province


def pending_slots(province: Province, registry: Registry) -> list[str]:
    """The slots of certificates that are revoked and not in the revocation list yet."""
    listed = {entry.serial_number for entry in load_crl(province)}
    return sorted(
        {
            certificate.slot
            for certificate in registry.certificates()
            if certificate.revoked_at is not None and int(certificate.serial, 16) not in listed
        }
    )


def cut_off(
    province: Province,
    registry: Registry,
    open_authority: Callable[[], Authority],
    slots: Iterable[str] = (),
    spared: Iterable[str] = (),
) -> list[str]:
    """Write the revocation list, have the broker heed it, and drop live sessions.

    Args:
        open_authority: called only if there is something to do.
        slots: whose sessions are dropped beside those of certificates not yet in the list.
        spared: whose sessions are kept: their devices use other certificates.

    Returns:
        Sentences about what did not get through.
    """
    affected = sorted({*slots, *pending_slots(province, registry)})
    if not affected:
        return []
    authority = open_authority()
    try:
        in_force = apply_revocations(province, registry, authority)
    except BrokerError as error:
        return [str(error)]
    if not in_force:
        return [
            _(
                "No broker of this province runs on this machine; the revocations take effect "
                "when one starts with {crl}."
            ).format(crl=province.crl)
        ]
    warnings = []
    for slot in sorted(set(affected) - set(spared)):
        try:
            drop_session(province, authority, slot)
        except BrokerError as error:
            warnings.append(str(error))
    return warnings
