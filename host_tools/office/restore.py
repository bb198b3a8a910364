"""Putting a backup back: whole or not at all, and never with a revocation undone."""

from __future__ import annotations

import contextlib
import ctypes
import errno
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

from host_tools.broker.config import broker_files, write_config
from host_tools.broker.process import running_pid
from host_tools.broker.revoked import catch_up
from host_tools.broker.upkeep import unlisted
from host_tools.common.files import sync_directory
from host_tools.common.i18n import _, marked
from host_tools.common.locks import hold, is_held
from host_tools.office.archive_copies import copies_directory, restore_archives
from host_tools.office.backup_file import BackupError, Manifest, read_files, read_manifest
from host_tools.office.locking import busy, hold_office
from host_tools.office.taking_over import any_province, take_over
from host_tools.province.registry import Registry
from host_tools.province.registry_copies import count_rows
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
            revocations += take_over(former, place, manifest, notes, former == directory)
        if existing:
            notes += filter(None, [take_receipts(any_province(directory), any_province(place))])
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
    stack.enter_context(hold_office(directory))
    # As the ingest itself holds it (host_tools.store.database.lock).
    sentence = _(_AT_WORK).format(what="ingest", directory=directory)
    stack.enter_context(hold(directory / "province.db.lock", lambda: busy(sentence)))
    if running_pid(broker_files(any_province(directory))) is not None:
        raise BackupError(_(_AT_WORK).format(what="broker", directory=directory))


@contextlib.contextmanager
def _building_place(directory: Path) -> Iterator[Path]:
    """A directory beside the final one; what a killed restore left of its own is deleted."""
    prefix = f".{directory.name}.restore-"
    for remains in directory.parent.glob(prefix + "*"):
        with contextlib.suppress(OSError):
            if (remains / _MARK).exists() and not is_held(remains / _MARK):
                shutil.rmtree(remains)
    place = directory.parent / (prefix + secrets.token_hex(4))
    place.mkdir(mode=0o700)
    with hold(place / _MARK):
        try:
            yield place
        finally:
            if (place / _MARK).exists():
                shutil.rmtree(place, ignore_errors=True)


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
