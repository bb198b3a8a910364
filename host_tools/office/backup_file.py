"""The file of a backup: a tar archive whose last member lists all others with their digests.

A file that was cut off has no list, so it can't pass for a whole one. Any `tar` can unpack it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

MANIFEST = "manifest.json"
FORMAT = 1

_MAX_MANIFEST = 16 << 20
_CHUNK = 1 << 20
_PART = re.compile(r"(?!\.{1,2}$)[^/\0]+")


class BackupError(DesalinkError):
    """A backup that can't be made, is damaged, or does not fit where it should be restored."""


@dataclass(frozen=True)
class BackupEntry:
    """A file of the province in the archive."""

    size: int
    mode: int
    sha256: str


@dataclass
class Manifest:
    """What is in an archive; times in Unix seconds."""

    made_at: int
    desalink: str
    code: str
    name: str
    root: str
    """SHA-256 of keys/root.pub: which province it is."""
    owner: str
    """The user to whom the province's files belonged."""
    crl_number: int
    directories: dict[str, int] = field(default_factory=dict)
    """Path and mode."""
    files: dict[str, BackupEntry] = field(default_factory=dict)
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of each database, the rows of each table."""
    archives: dict[str, BackupEntry] = field(default_factory=dict)
    """Files of the province's archive, which lie beside the backup (archive_copies.py)."""
    format: int = FORMAT


class _Digest:
    """A file that is read once, with the digest of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class Writer:
    """Writes an archive, member by member; without `close` it stays incomplete."""

    def __init__(self, file: IO[bytes], manifest: Manifest) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        self._manifest = manifest

    def directory(self, name: str, mode: int) -> None:
        """Note a directory, which may be empty."""
        self._manifest.directories[name] = mode
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(info)

    def file(self, name: str, path: Path, mode: int) -> None:
        """Add a file that nobody changes meanwhile.

        Raises:
            OSError: it can't be read, or has become shorter.
        """
        with path.open("rb") as source:
            self._add(name, source, os.fstat(source.fileno()).st_size, mode)

    def content(self, name: str, content: bytes, mode: int) -> None:
        """Add a file's content."""
        self._add(name, io.BytesIO(content), len(content), mode)

    def _add(self, name: str, source: IO[bytes], size: int, mode: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, mode, self._manifest.made_at
        digest = _Digest(source)
        self._tar.addfile(info, digest)
        self._manifest.files[name] = BackupEntry(size, mode, digest.hexdigest())

    def close(self) -> None:
        """Add the list; only now the archive is whole."""
        text = json.dumps(asdict(self._manifest), ensure_ascii=False, indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode, info.mtime = len(text), 0o600, self._manifest.made_at
        self._tar.addfile(info, io.BytesIO(text))
        self._tar.close()


# ---- reading -----------------------------------------------------------------------------


def _damaged(path: Path, why: str) -> BackupError:
    return BackupError(
        _("{path} is not a whole backup ({why}); choose another backup.").format(
            path=path, why=why
        )
    )


def _members(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    try:
        with tarfile.open(path, mode="r:") as tar:
            for member in tar:
                yield tar, member
    except tarfile.TarError as error:
        raise _damaged(path, str(error)) from None


def _open(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        raise _damaged(path, _("{name!r} is not a file").format(name=member.name))
    return source


def read_manifest(path: Path) -> Manifest:
    """The list of an archive; its files are not looked at.

    Raises:
        BackupError: it is cut off, damaged or not a backup.
    """
    last = None
    for tar, member in _members(path):
        last = None
        if member.name == MANIFEST:
            if member.size > _MAX_MANIFEST:
                raise _damaged(path, _("its list of files is too long"))
            last = _open(path, tar, member).read()
    if last is None:
        raise _damaged(path, _("its list of files is missing at the end"))
    try:
        return _parse(json.loads(last))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(
            path, _("its list of files is not valid: {error}").format(error=error)
        ) from None


def _parse(table: Any) -> Manifest:
    if table["format"] != FORMAT:
        raise ValueError(
            _("format {version}, this desalink knows {known}").format(
                version=table["format"], known=FORMAT
            )
        )
    files = {_name(name): BackupEntry(**entry) for name, entry in table.pop("files").items()}
    archives = {
        _name(name): BackupEntry(**entry) for name, entry in table.pop("archives", {}).items()
    }
    directories = {_name(name): _mode(mode) for name, mode in table.pop("directories").items()}
    manifest = Manifest(**table, files=files, directories=directories, archives=archives)
    texts = [manifest.desalink, manifest.code, manifest.name, manifest.root, manifest.owner]
    numbers = [manifest.made_at, manifest.crl_number]
    for entry in (*files.values(), *archives.values()):
        _mode(entry.mode)
        texts.append(entry.sha256)
        numbers.append(entry.size)
    if not all(type(text) is str for text in texts):
        raise ValueError(_("a text is not one"))
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(_("a number is not one"))
    if type(manifest.rows) is not dict:
        raise ValueError(_("the rows are no table"))
    return manifest


def _name(name: str) -> str:
    if name == MANIFEST or not all(_PART.fullmatch(part) for part in name.split("/")):
        raise ValueError(_("{name!r} is not a name of a file").format(name=name))
    return name


def _mode(mode: Any) -> int:
    if type(mode) is not int or mode & ~0o777:
        raise ValueError(_("{mode!r} is not a file's mode").format(mode=mode))
    return mode


def read_files(path: Path, manifest: Manifest, place: Path | None = None) -> None:
    """Check every file of an archive against its list, and unpack them if a place is given.

    Args:
        place: an empty directory; None only checks.

    Raises:
        BackupError: a file is missing, differs, or is not in the list.
        OSError: the archive can't be read, or the place can't be written.
    """
    missing = set(manifest.files)
    if place is not None:
        for name in sorted(manifest.directories):
            (place / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    for tar, member in _members(path):
        if member.isdir() or member.name == MANIFEST:
            continue
        entry = manifest.files.get(member.name)
        if entry is None or member.name not in missing or member.size != entry.size:
            raise _damaged(path, _("{name!r} is not as its list says").format(name=member.name))
        missing.remove(member.name)
        digest = _Digest(_open(path, tar, member))
        try:
            if place is None:
                while digest.read(_CHUNK):
                    pass
            else:
                _write(place / member.name, digest, entry.mode)
        except tarfile.TarError as error:
            raise _damaged(path, str(error)) from None
        if digest.hexdigest() != entry.sha256:
            raise _damaged(path, _("{name!r} was changed").format(name=member.name))
    if missing:
        raise _damaged(path, _("{name!r} is missing").format(name=min(missing)))
    if place is not None:
        for name, mode in manifest.directories.items():
            (place / name).chmod(mode)


def _write(path: Path, source: _Digest, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
