"""How a registry that is older than the revocation list or the trust document catches up.

An older registry.db has been put back. What it does not know as revoked would be valid again in
the next list that is made from it.
"""

from __future__ import annotations

from cryptography import x509

from host_tools.common.i18n import _, ngettext
from host_tools.keys.ca import PROBE_REASON, load_certificate, serial_text
from host_tools.people.technicians import newest_trust, root_public
from host_tools.people.trust import TrustError, verify_trust
from host_tools.province.registry import Registry
from host_tools.province.registry_merging import merge_serials, merge_trust, without_certificate
from host_tools.province.settings import Province


def listed(crl: x509.CertificateRevocationList) -> list[tuple[str, int]]:
    """Serial and Unix time of each certificate in a list, but for the probes of a reload."""
    return [
        (serial_text(entry.serial_number), int(entry.revocation_date_utc.timestamp()))
        for entry in crl
        if not _is_probe(entry)
    ]


def _is_probe(entry: x509.RevokedCertificate) -> bool:
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return False
    return reason is PROBE_REASON


def number(crl: x509.CertificateRevocationList) -> int:
    """The list's own number, which only grows."""
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def catch_up(province: Province, registry: Registry) -> list[str]:
    """Take over revocations that only the list and the trust document still know.

    Needs no passphrase, and changes nothing where nothing is missing.

    Returns:
        Sentences about what was missing.

    Raises:
        KeyFileError: the list or the CA's certificate can't be read.
    """
    from host_tools.broker.upkeep import load_crl

    found = []
    end = int(load_certificate(province.ca_certificate).not_valid_after_utc.timestamp())
    changed, unknown = merge_serials(registry, listed(load_crl(province)), end)
    # A list from before probes were marked holds one that the registry never knew.
    if changed or unknown > 1:
        count = changed + unknown
        found.append(
            ngettext(
                "The registry was older than the revocation list: {count} revocation is taken "
                "over.",
                "The registry was older than the revocation list: {count} revocations are taken "
                "over.",
                count,
            ).format(count=count)
        )
        slots = without_certificate(registry)
        if slots:
            found.append(
                _(
                    "These slots have only revoked certificates: {slots}. Their devices were "
                    "revoked or provisioned again after the registry's copy was made; import the "
                    "enrolments since then again, or run 'desalink devices revoke SLOT'."
                ).format(slots=", ".join(slots))
            )
    found += _catch_up_trust(province, registry)
    return found


def _catch_up_trust(province: Province, registry: Registry) -> list[str]:
    try:
        document = province.trust.read_bytes()
        trust = verify_trust(document, root_public(province), now=0)
    except (FileNotFoundError, TrustError):
        return []  # the next document replaces it
    newest = newest_trust(province, registry)
    if newest is not None and newest[0].version >= trust.version:
        return []
    keys = [(key.kid, key.public_key, key.role, key.name, key.not_after) for key in trust.keys]
    merge_trust(registry, trust.version, document, trust.issued, keys)
    return [
        _(
            "The registry was older than trust document {version}; the keys that it names, and no "
            "others, are valid."
        ).format(version=trust.version)
    ]
