"""What a restore keeps of the province that was there: all that it has revoked since then."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from host_tools.broker.revoked import number
from host_tools.broker.upkeep import load_crl
from host_tools.common.errors import DesalinkError, KeyFileError
from host_tools.common.files import make_directory, write_file, write_private
from host_tools.common.i18n import _
from host_tools.keys.authorities import newest_authorities
from host_tools.keys.ca import load_certificate
from host_tools.office.backup_file import BackupError, Manifest
from host_tools.people.office_log import verify_entries
from host_tools.people.technicians import former_roots, root_public, verified_trusts
from host_tools.people.trust import OFFICE, TrustError, signers, verify_trust
from host_tools.province.registry import Registry
from host_tools.province.registry_copies import copy_database, count_rows
from host_tools.province.registry_merging import merge_registry
from host_tools.province.settings import BrokerSettings, Province, load


def any_province(directory: Path) -> Province:
    """A province by its place alone: its province.toml may be what is damaged."""
    try:
        return load(directory)
    except DesalinkError:
        moment = datetime.fromtimestamp(0, UTC)
        return Province(directory, "00", "", moment, BrokerSettings(("localhost",), 8883))


def take_over(
    former: Path, place: Path, manifest: Manifest, notes: list[str], must_fit: bool
) -> int:
    """Bring revocations of a province that was there before into the one that is being built.

    Returns:
        How many the backup did not know.
    """
    old, new = any_province(former), any_province(place)
    try:
        root = hashlib.sha256(old.root_public.read_bytes()).hexdigest()
    except FileNotFoundError:
        root = manifest.root  # a damaged province is no reason to give up
    if root != manifest.root:
        if not must_fit:
            return 0
        raise BackupError(
            _(
                "{former} has another root key than the backup. The backup is of another "
                "province, or was made before the root key was replaced; choose another backup or "
                "another directory."
            ).format(former=former)
        )
    if not _take_newer_authority(old, new, notes):
        _take_newer_list(old, new, notes)
    _take_newer_trust(old, new)
    for key in sorted(old.technicians.glob("*.key")) if old.technicians.is_dir() else ():
        if not (new.technicians / key.name).exists():
            make_directory(new.technicians)
            write_private(new.technicians / key.name, key.read_bytes())
    copy = place / ".former" / "registry.db"
    copy.parent.mkdir(mode=0o700)
    try:
        # A copy: opening the registry would bring it to this version's format.
        copy_database(old.registry, copy)
        count_rows(copy)
        with Registry.open(copy.parent) as other, Registry.open(place) as registry:
            entries = _newer_entries(new, registry, other)
            if entries is None and must_fit:
                raise BackupError(
                    _(
                        "The office log of {former} and that of the backup differ: one of them "
                        "was forked. Keep both, and find out which one the published heads belong "
                        "to; to restore all the same, move that directory away first."
                    ).format(former=former)
                )
            if entries is None:
                notes.append(
                    _("{former} has another office log, of which nothing is taken over.").format(
                        former=former
                    )
                )
            return merge_registry(registry, other, entries or ())
    except BackupError:
        raise
    except (sqlite3.Error, DesalinkError) as error:
        notes.append(
            _(
                "The registry of {former} can't be read ({error}): only revocations that its "
                "revocation list and trust document name are taken over. Import the enrolments "
                "since the backup again."
            ).format(former=former, error=error)
        )
        return 0
    finally:
        shutil.rmtree(copy.parent)


def _take_newer_authority(old: Province, new: Province, notes: list[str]) -> bool:
    """Keep the CA that devices have followed to since the backup, with all that it has issued."""

    def change(province: Province) -> int:
        newest = newest_authorities(province.authorities)
        return 0 if newest is None else newest.number

    try:
        if change(old) <= change(new):
            return False
        load_crl(old)
        load_certificate(old.ca_certificate)
    except (KeyFileError, OSError) as error:
        notes.append(
            _("The CA of {directory} can't be read ({error}); the backup's counts.").format(
                directory=old.directory, error=error
            )
        )
        return False
    # The root key is the same; its passphrase is that of the CA's key.
    names = ["keys/root.key", "keys/office.key", "broker/server.crt", "broker/server.key"]
    for pattern in ("ca/*", "services/*", "technicians/*.key"):
        names += [p.relative_to(old.directory).as_posix() for p in old.directory.glob(pattern)]
    shutil.rmtree(new.ca_key.parent)
    for name in names:
        source, path = old.directory / name, new.directory / name
        if not path.parent.exists():
            make_directory(path.parent)
        if source.exists():
            write_private(path, source.read_bytes())
    notes.append(
        _(
            "The CA of {directory} is newer than the backup, and devices know it: it counts, with "
            "the certificates of broker and services, under the passphrase that it had last."
        ).format(directory=old.directory)
    )
    return True


def _newer_entries(province: Province, ours: Registry, theirs: Registry) -> list[bytes] | None:
    """The entries that only the other office log has; None: the two differ."""

    own, found = list(ours.office_log()), list(theirs.office_log())
    common = min(len(own), len(found))
    if own[:common] != found[:common]:
        return None
    if len(found) > common:
        roots = [*former_roots(province), root_public(province)]
        keys = signers(verified_trusts(theirs, roots), OFFICE)
        for _entry in verify_entries(found, keys):
            pass
    return found[common:]


def _take_newer_list(old: Province, new: Province, notes: list[str]) -> None:
    try:
        theirs = load_crl(old)
    except KeyFileError:
        notes.append(
            _("{crl} can't be read; the backup's revocation list counts.").format(crl=old.crl)
        )
        return
    if _signed_by(theirs, new) and number(theirs) > number(load_crl(new)):
        write_file(new.crl, old.crl.read_bytes())


def _signed_by(crl: x509.CertificateRevocationList, province: Province) -> bool:
    key = load_certificate(province.ca_certificate).public_key()
    return crl.is_signature_valid(key)  # type: ignore[arg-type]


def _take_newer_trust(old: Province, new: Province) -> None:

    def version(province: Province) -> int:
        try:
            return verify_trust(province.trust.read_bytes(), root_public(new), now=0).version
        except (FileNotFoundError, TrustError):
            return 0

    if version(old) > version(new):
        write_file(new.trust, old.trust.read_bytes())
