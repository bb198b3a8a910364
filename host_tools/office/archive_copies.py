"""The archive's files beside the backups: each is copied once, and serves all later backups.

They are never changed, so a nightly backup need not copy years of them again. Their names hold
their digests: files of two provinces, or of a damaged one, don't get in each other's place.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from host_tools.archive.chain import Chain
from host_tools.common.files import make_directory, sync_directory
from host_tools.common.i18n import _
from host_tools.office.backup_file import BackupEntry, BackupError, Manifest

_BLOCK = 1 << 20


def copies_directory(backup: Path, code: str) -> Path:
    """Where the archive's files of a province lie, beside its backup."""
    return backup.parent / f"desalink-{code}-archive"


def _copy_name(name: str, sha256: str) -> str:
    path = Path(name)
    return f"{path.stem}-{sha256[:16]}{path.suffix}"


def add_archives(archive: Path, manifest: Manifest, copies: Path) -> int:
    """Copy the files that are not there yet, and note all of them; returns how many were copied.

    Raises:
        ArchiveDamaged: the archive's list is damaged.
        BackupError: a file is missing, or not the one that was archived.
        OSError: a file can't be read or written.
    """
    new = 0
    for listed in Chain(archive):
        entry = BackupEntry(listed.size, 0o400, listed.sha256)
        manifest.archives[f"{archive.name}/{listed.file}"] = entry
        target = copies / _copy_name(listed.file, listed.sha256)
        if target.exists() and target.stat().st_size == listed.size:
            continue
        make_directory(copies)
        copy_checked(archive / listed.file, target, entry)
        new += 1
    return new


def restore_archives(copies: Path, manifest: Manifest, place: Path) -> None:
    """Put the archive's files of a backup into the directory that is being restored.

    Raises:
        BackupError: one is missing, or is another one.
        OSError: it can't be read, or the place can't be written.
    """
    for name, entry in manifest.archives.items():
        target = place / name
        make_directory(target.parent)
        copy_checked(copies / _copy_name(target.name, entry.sha256), target, entry)


def copy_checked(source: Path, target: Path, entry: BackupEntry) -> None:
    """Copy a file whose digest is known; on return it is on the disk under its name."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    digest = hashlib.sha256()
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as written, source.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                written.write(block)
            written.flush()
            os.fchmod(written.fileno(), entry.mode)
            os.fsync(written.fileno())
        if digest.hexdigest() != entry.sha256:
            raise BackupError(
                _(
                    "{source} is not the file that was archived; put it back from another backup."
                ).format(source=source)
            )
        os.replace(part, target)
    except FileNotFoundError:
        raise BackupError(
            _(
                "{source} is missing; put it back from another backup. A backup needs the folder "
                "with the archive's files beside it."
            ).format(source=source)
        ) from None
    finally:
        part.unlink(missing_ok=True)
    sync_directory(target.parent)
