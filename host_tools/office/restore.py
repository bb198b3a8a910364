"""Putting a backup back: whole or not at all, and never with a revocation undone."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from host_tools.broker.config import broker_files, write_config
from host_tools.broker.process import running_pid
from host_tools.broker.revoked import catch_up, number
from host_tools.broker.upkeep import load_crl, unlisted
from host_tools.common.errors import DesalinkError, KeyFileError
from host_tools.common.files import make_directory, sync_directory, write_file, write_private
from host_tools.common.i18n import _, marked
from host_tools.keys.authorities import newest_authorities
from host_tools.keys.ca import load_certificate
from host_tools.office.archive_copies import copies_directory, restore_archives
from host_tools.office.backup_file import BackupError, Manifest, read_files, read_manifest
from host_tools.office.locking import OFFICE_BUSY, hold, office_lock
from host_tools.province.registry import Registry
from host_tools.province.registry_copies import copy_database, count_rows
from host_tools.province.registry_merging import merge_registry
from host_tools.province.settings import FILE, Province, load

# In the directory that is being built; who finds it unlocked may delete the directory.
_MARK = ".restoring"
_BEFORE = ".before-restore-"
_AT_WORK = marked(
    "The {what} of {directory} is running; stop it first, and start it again after the restore."
)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@dataclass(frozen=True)
class Restored:
    province: Province
    manifest: Manifest
    before: Path | None
    """Where the province that was there before is now."""
    revocations: int
    """Taken over from what was there before."""
    unlisted: int
    """Revoked certificates that the revocation list does not name yet."""
    notes: tuple[str, ...]


def restore(
    archive: Path,
    directory: Path,
    *,
    replace_existing: bool = False,
    take_receipts: Callable[[Province, Province], str | None] = lambda former, place: None,
) -> Restored:
    """Put a backup in place, under another name first.

    Revocations that an existing province knows are taken over: its registry's, its list's and its
    trust document's. Devices enrolled since the backup stay enrolled.

    Args:
        directory: where the province shall be; empty, or not there.
        replace_existing: a province may be there; it is kept beside under another name.
        take_receipts: takes the newer receipts of a province that was there before into the one
            that is being built, and returns a note.

    Raises:
        BackupError: the backup is damaged or another province's, or a province is there.
        ProvinceError: ingest, broker or another desalink is at work.
        OSError: something can't be read or written; then nothing has changed.
    """
    directory = directory.resolve()
    manifest = read_manifest(archive)
    existing = (directory / FILE).exists()
    if existing and not replace_existing:
        raise BackupError(
            _(
                "{directory} is a province already; give --replace to put the backup in its "
                "place. The present one is kept under another name, and its revocations stay."
            ).format(directory=directory)
        )
    if not existing and directory.exists() and any(directory.iterdir()):
        raise BackupError(
            _("{directory} is not empty; choose a new directory.").format(directory=directory)
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    earlier = sorted(directory.parent.glob(f"{directory.name}{_BEFORE}*"))
    with contextlib.ExitStack() as stack:
        if existing:
            _keep_still(directory, stack)
            earlier.append(directory)
        place = stack.enter_context(_building_place(directory))
        read_files(archive, manifest, place)
        restore_archives(copies_directory(archive, manifest.code), manifest, place)
        _check(archive, place, manifest)
        notes: list[str] = []
        revocations = 0
        for former in earlier:
            revocations += _take_over(former, place, manifest, notes, former == directory)
        if existing:
            notes += filter(None, [take_receipts(_province(directory), _province(place))])
        province = replace(load(place), directory=place)
        with Registry.open(place) as registry:
            notes += catch_up(province, registry)
            pending = unlisted(province, registry)
        _settle_files(place, manifest, notes)
        before = _put_in_place(place, directory, existing)
        province = load(directory)
        write_config(province)
        (directory / _MARK).unlink()
    return Restored(province, manifest, before, revocations, pending, tuple(notes))


def _keep_still(directory: Path, stack: contextlib.ExitStack) -> None:
    """Make sure that nobody works on a province, and hold others off."""
    stack.enter_context(hold(office_lock(directory), _(OFFICE_BUSY)))
    # As the ingest itself holds it (host_tools.store.database.lock).
    sentence = _(_AT_WORK).format(what="ingest", directory=directory)
    stack.enter_context(hold(directory / "province.db.lock", sentence))
    if running_pid(broker_files(_province(directory))) is not None:
        raise BackupError(_(_AT_WORK).format(what="broker", directory=directory))


def _province(directory: Path) -> Province:
    """A province by its place alone: its province.toml may be what is damaged."""
    try:
        return load(directory)
    except DesalinkError:
        from host_tools.province.settings import BrokerSettings

        moment = datetime.fromtimestamp(0, UTC)
        return Province(directory, "00", "", moment, BrokerSettings(("localhost",), 8883))


@contextlib.contextmanager
def _building_place(directory: Path) -> Iterator[Path]:
    """A directory beside the final one; what a killed restore left of its own is deleted."""
    prefix = f".{directory.name}.restore-"
    for remains in directory.parent.glob(prefix + "*"):
        with contextlib.suppress(OSError), (remains / _MARK).open("rb") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(remains)
    place = directory.parent / (prefix + secrets.token_hex(4))
    place.mkdir(mode=0o700)
    handle = os.open(place / _MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield place
    finally:
        if (place / _MARK).exists():
            shutil.rmtree(place, ignore_errors=True)
        os.close(handle)


def _check(archive: Path, place: Path, manifest: Manifest) -> None:
    """Look at what was unpacked as its users would."""
    try:
        load(place)
        for name, rows in manifest.rows.items():
            if count_rows(place / name) != rows:
                raise BackupError(
                    _(
                        "{archive}: {name} has other rows than its list says; choose another "
                        "backup."
                    ).format(archive=archive, name=name)
                )
        Registry.open(place).close()
    except sqlite3.Error as error:
        raise BackupError(
            _("{archive}: a database in it is damaged ({error}); choose another backup.").format(
                archive=archive, error=error
            )
        ) from None


def _take_over(
    former: Path, place: Path, manifest: Manifest, notes: list[str], must_fit: bool
) -> int:
    """Bring revocations of a province that was there before into the one that is being built.

    Returns:
        How many the backup did not know.
    """
    old, new = _province(former), _province(place)
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
    """The entries that only the other office log has; None: the two differ.

    Raises:
        OfficeLogError, TrustError: the other log is longer, and is not what the office signed.
    """
    from host_tools.people.office_log import verify_entries
    from host_tools.people.technicians import former_roots, root_public, verified_trusts
    from host_tools.people.trust import OFFICE, signers

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
    from host_tools.people.technicians import root_public
    from host_tools.people.trust import TrustError, verify_trust

    def version(province: Province) -> int:
        try:
            return verify_trust(province.trust.read_bytes(), root_public(new), now=0).version
        except (FileNotFoundError, TrustError):
            return 0

    if version(old) > version(new):
        write_file(new.trust, old.trust.read_bytes())


def _settle_files(place: Path, manifest: Manifest, notes: list[str]) -> None:
    """Give the files to their owner, and make all of them durable."""
    if os.geteuid() == 0 and manifest.owner:
        try:
            owner = pwd.getpwnam(manifest.owner)
        except KeyError:
            notes.append(
                _(
                    "The province belonged to the user {owner}, who does not exist here; give it "
                    "to another one with chown."
                ).format(owner=manifest.owner)
            )
        else:
            for path in (place, *place.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
    for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
        sync_directory(folder)


def _put_in_place(place: Path, directory: Path, existing: bool) -> Path | None:
    """Give what was built its name, in one step; returns where the former province is now."""
    if not existing:
        os.rename(place, directory)
        sync_directory(directory.parent)
        return None
    moment = f"{datetime.fromtimestamp(time.time(), UTC):%Y%m%dT%H%M%SZ}"
    before = directory.with_name(f"{directory.name}{_BEFORE}{moment}")
    while before.exists():
        before = before.with_name(f"{before.name}a")
    if _exchange(place, directory):
        os.rename(place, before)
    else:
        os.rename(directory, before)
        os.rename(place, directory)
    sync_directory(directory.parent)
    return before


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names at once (Linux renameat2); False where the file system can't."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code), str(other))
