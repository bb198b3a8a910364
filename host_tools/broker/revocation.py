"""How a revocation takes effect: the list, the broker's reload, the end of a live session."""

from __future__ import annotations

import time
from datetime import timedelta

from host_tools.broker.client import AccessRefused, CheckClient, temporary_identity
from host_tools.broker.config import configured_port
from host_tools.broker.process import request_reload
from host_tools.broker.revoked import catch_up, number
from host_tools.broker.services import renew_services
from host_tools.broker.upkeep import load_crl
from host_tools.common.errors import BrokerError
from host_tools.common.files import write_file
from host_tools.common.i18n import _
from host_tools.keys.ca import Authority, Issued
from host_tools.province.registry import Registry
from host_tools.province.settings import CHECK_VILLAGE, Province, TlsFiles

# Such certificates are not in the registry: they live for an hour, and their keys for seconds.
PROBE_LIFE = timedelta(hours=1)
PROBE_SLOT = f"{CHECK_VILLAGE}-9"

RELOAD_TIMEOUT_S = 10.0
_REPEAT_S = 1.0


def write_crl(
    province: Province, registry: Registry, authority: Authority, *probes: Issued
) -> None:
    """Write the revocation list: the registry's certificates, and probes unknown to it.

    What the list named before stays in it, also where the registry is an older copy.
    """
    catch_up(province, registry)
    text = authority.crl_pem(
        registry.revoked_certificates(),
        [probe.serial for probe in probes],
        number(load_crl(province)),
    )
    write_file(province.crl, text)


def is_refused(province: Province, identity: TlsFiles, port: int) -> bool:
    """Whether the running broker refuses a certificate now."""
    try:
        CheckClient(province.broker.local_host, port, identity).close()
    except AccessRefused:
        return True
    return False


def reload_until_refused(province: Province, identity: TlsFiles, port: int) -> bool:
    """Have the broker read the new list until it refuses a revoked certificate.

    The broker does not answer SIGHUP: only its behaviour shows when it has read the list. And it
    loses a SIGHUP that comes while it still works on another, so the request is repeated.

    Returns:
        False if it still does not refuse after 10 s.
    """
    begin = time.monotonic()
    asked = begin
    while not is_refused(province, identity, port):
        now = time.monotonic()
        if now - begin > RELOAD_TIMEOUT_S:
            return False
        if now - asked > _REPEAT_S:
            request_reload(province)
            asked = now
        time.sleep(0.05)
    return True


def apply_revocations(province: Province, registry: Registry, authority: Authority) -> bool:
    """Write the revocation list and return once the running broker refuses what is on it.

    Returns:
        False if no broker of this province runs on this machine.

    Raises:
        BrokerError: it does not refuse; what was revoked can still connect.
    """
    renew_services(province, registry, authority)  # while the CA's key is open
    probe = authority.issue_client(PROBE_SLOT, PROBE_LIFE)
    write_crl(province, registry, authority, probe)
    if not request_reload(province):
        return False
    with temporary_identity(province.ca_certificate, probe) as identity:
        if not reload_until_refused(province, identity, configured_port(province)):
            raise BrokerError(
                _(
                    "The revocation list is written, but the running broker does not use it; "
                    "restart the broker with 'desalink broker run'."
                )
            )
    return True


def drop_session(province: Province, authority: Authority, slot: str) -> None:
    """Cut a slot's live connection and forget its session.

    Mosquitto checks certificates only at the handshake. But a second connection under the same
    name takes the place of the first, so the CA makes itself one, for moments.

    Raises:
        BrokerError: the broker refused the connection.
    """
    issued = authority.issue_client(slot, PROBE_LIFE)
    host, port = province.broker.local_host, configured_port(province)
    with temporary_identity(province.ca_certificate, issued) as identity:
        try:
            CheckClient(host, port, identity).close()
        except AccessRefused as error:
            raise BrokerError(
                _(
                    "The live connection of {slot} was not cut: the broker at {host}:{port} does "
                    "not answer ({error}). Start it again with 'desalink broker run', then run "
                    "this command again."
                ).format(slot=slot, host=host, port=port, error=error)
            ) from None
