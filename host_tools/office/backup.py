"""A backup of the whole province, made while broker, ingest and people go on working."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from host_tools import __version__
from host_tools.broker.revoked import number
from host_tools.broker.upkeep import load_crl
from host_tools.common.files import sync_directory
from host_tools.common.i18n import _
from host_tools.common.locks import hold, is_held
from host_tools.keys.ca import load_certificate
from host_tools.office.archive_copies import add_archives, copies_directory
from host_tools.office.backup_file import BackupError, Manifest, Writer, read_files, read_manifest
from host_tools.office.locking import hold_office
from host_tools.province.registry_copies import copy_database, count_rows
from host_tools.province.settings import FILE, Province

SUFFIX = ".tar"
_PART = ".part"

# What can be made again, belongs to one run, or is copied in another way.
_LEFT_OUT = re.compile(
    r"(.*/)?(\..*|[^/]*\.lock|[^/]*\.db-(wal|shm|journal))|broker/(data(/.*)?|mosquitto\.pid)"
    r"|archive/[^/]*\.parquet"
)
# Without these nothing can be restored. The private keys of root and CA may lie elsewhere.
_NEEDED = (FILE, "registry.db", "keys/root.pub", "ca/ca.crt", "ca/crl.pem", "broker/server.crt")
_MAY_LIE_ELSEWHERE = ("keys/root.key", "ca/ca.key")


@dataclass(frozen=True)
class Backup:
    """A backup that was made and verified."""

    path: Path
    manifest: Manifest
    size: int
    deleted: tuple[Path, ...]
    """Older backups that made room for it."""
    notes: tuple[str, ...]
    """Sentences about what is not in it."""
    archives: Path
    """Where the files of the archive lie."""
    new_archives: int
    """How many of them were not there yet."""


def file_prefix(province: Province) -> str:
    """How the names of a province's backups begin, when they are put into a directory."""
    return f"desalink-{province.code}-"


def make_backup(
    province: Province, target: Path, *, keep: int | None = None, now: float | None = None
) -> Backup:
    """Write a backup, verify it, and only then give it its name.

    Args:
        target: a directory, which gets a file named after the time; or the file.
        keep: in a directory, delete all but so many of the newest backups of this province.
        now: Unix time, the present if None.

    Raises:
        BackupError: the place does not fit, or the province can't be copied as it is.
        ProvinceError: another desalink is at work (exit code 75).
        OSError: something can't be read or written.
    """
    at = int(time.time() if now is None else now)
    if target.is_dir():
        moment = datetime.fromtimestamp(at, UTC)
        path = target / f"{file_prefix(province)}{moment:%Y%m%dT%H%M%SZ}{SUFFIX}"
    elif keep is not None:
        raise BackupError(
            _(
                "--keep needs a directory, and {target} is not one; make it, or leave --keep out."
            ).format(target=target)
        )
    else:
        path = target
    _check_place(province, path)
    with hold_office(province.directory), _unfinished(path) as place:
        copies = copies_directory(path, province.code)
        manifest, notes, new_archives = _write(province, place, at, copies)
        size = place.stat().st_size
        os.rename(place, path)
    sync_directory(path.parent)
    deleted = _delete_older(province, path, keep) if keep is not None else ()
    return Backup(path, manifest, size, deleted, tuple(notes), copies, new_archives)


def _check_place(province: Province, path: Path) -> None:
    if path.exists():
        raise BackupError(_("{path} exists already; choose another name.").format(path=path))
    if not path.parent.is_dir():
        raise BackupError(
            _("There is no directory {parent}; make it and try again.").format(parent=path.parent)
        )
    if path.resolve().is_relative_to(province.directory):
        raise BackupError(
            _(
                "{path} lies inside the province; choose a place elsewhere, best on another disk."
            ).format(path=path)
        )


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """A file beside the final one, whose name says that it is not whole.

    A killed backup leaves it behind; the next one into the same directory deletes it.
    """
    prefix = f".{path.name.split('-')[0]}-"
    for remains in path.parent.glob(f"{prefix}*{_PART}"):
        with contextlib.suppress(OSError):
            if not is_held(remains):
                _delete(remains)
    place = path.with_name(f"{prefix}{secrets.token_hex(4)}{_PART}")
    with hold(place):
        try:
            yield place
        finally:
            _delete(place)


def _delete(place: Path) -> None:
    """Delete an unfinished file, after the copy of a database beside it."""
    for path in sorted(place.parent.glob(f"{place.name}*"), reverse=True):
        path.unlink()


def _write(
    province: Province, place: Path, at: int, copies: Path
) -> tuple[Manifest, list[str], int]:
    directory = province.directory
    manifest = Manifest(
        made_at=at,
        desalink=__version__,
        code=province.code,
        name=province.name,
        root=hashlib.sha256(province.root_public.read_bytes()).hexdigest(),
        owner=_owner(directory),
        crl_number=0,
    )
    with place.open("r+b") as file:
        writer = Writer(file, manifest)
        # In this order a file never lacks what an earlier one names: a report's device is in the
        # registry, and what the registry has revoked is in the list.
        first = (province.database, province.registry)
        for database in (*first, *sorted(set(directory.glob("*.db")) - {*first})):
            if database.exists():
                _add_database(writer, manifest, database, place)
        manifest.crl_number = number(load_crl(province))
        notes = _add_files(writer, directory, set(manifest.rows))
        # After the list, which may only grow, was written: no file of it is missing.
        new_archives = add_archives(province.archive, manifest, copies)
        missing = [name for name in _NEEDED if name not in manifest.files]
        if missing:
            raise BackupError(
                _(
                    "{directory} is missing, so this province can't be backed up; put it back "
                    "from an older backup."
                ).format(directory=directory / missing[0])
            )
        _check_pairs(province)
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    notes += [
        _(
            "{name} is not in the backup, because it is not in the province; keep its own copy "
            "safe."
        ).format(name=name)
        for name in _MAY_LIE_ELSEWHERE
        if name not in manifest.files
    ]
    read_files(place, read_manifest(place))
    return manifest, notes, new_archives


def _add_database(writer: Writer, manifest: Manifest, database: Path, place: Path) -> None:
    copy = place.with_name(f"{place.name}.db")
    try:
        copy_database(database, copy)
        manifest.rows[database.name] = count_rows(copy)
        writer.file(database.name, copy, database.stat().st_mode & 0o777)
    except sqlite3.Error as error:
        raise BackupError(
            _(
                "{database} can't be copied ({error}); if it is damaged, restore an older backup."
            ).format(database=database, error=error)
        ) from None
    copy.unlink()


def _add_files(writer: Writer, directory: Path, databases: set[str]) -> list[str]:
    notes = []
    for folder, folders, files in os.walk(directory):
        base = Path(folder)
        folders.sort()
        for name in list(folders):
            path = base / name
            relative = path.relative_to(directory).as_posix()
            if _LEFT_OUT.fullmatch(relative):
                folders.remove(name)
            elif path.is_symlink():
                notes.append(_link_note(path))
            else:
                writer.directory(relative, path.stat().st_mode & 0o777)
        for name in sorted(files):
            path = base / name
            relative = path.relative_to(directory).as_posix()
            if _LEFT_OUT.fullmatch(relative) or relative in databases:
                continue
            if path.is_symlink():
                notes.append(_link_note(path))
            elif path.is_file():
                # Whole, because a log may grow while it is copied.
                with contextlib.suppress(FileNotFoundError):
                    writer.content(relative, path.read_bytes(), path.stat().st_mode & 0o777)
    return notes


def _link_note(path: Path) -> str:
    return _(
        "{path} is a link and is not in the backup; back up what it points to yourself."
    ).format(path=path)


def _check_pairs(province: Province) -> None:
    """Make sure that no certificate was copied beside the key of another."""
    services = sorted((province.directory / "services").glob("*.crt"))
    for certificate in (*services, province.server_certificate):
        key_path = certificate.with_suffix(".key")
        try:
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        except (FileNotFoundError, ValueError, TypeError):
            key = None
        if key is None or key.public_key() != load_certificate(certificate).public_key():
            raise BackupError(
                _(
                    "{certificate} and {key} don't belong together; if they are just being "
                    "renewed, try again, else run 'desalink broker config'."
                ).format(certificate=certificate, key=key_path.name)
            )


def _owner(directory: Path) -> str:
    try:
        return pwd.getpwuid(directory.stat().st_uid).pw_name
    except KeyError:
        return ""


def _delete_older(province: Province, newest: Path, keep: int) -> tuple[Path, ...]:
    pattern = re.compile(re.escape(file_prefix(province)) + r"\d{8}T\d{6}Z" + re.escape(SUFFIX))
    older = sorted(
        path
        for path in newest.parent.iterdir()
        if pattern.fullmatch(path.name) and path != newest and path.is_file()
    )
    surplus = older[: max(0, len(older) + 1 - keep)]
    for path in surplus:
        path.unlink()
    return tuple(surplus)
