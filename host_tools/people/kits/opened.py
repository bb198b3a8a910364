"""A kit on a technician's laptop.

An opened kit is a directory that only its owner can read. The kit in it stays encrypted, so that a
lost laptop exposes no keys; a command decrypts it in memory only. The directory also has the log
of enrolments, which stays when the next kit of the same technician replaces this one.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from host_tools.common.files import make_directory, write_private
from host_tools.common.i18n import _
from host_tools.common.times import day
from host_tools.keys.authorities import succeeds
from host_tools.people.kits.model import Kit, KitError
from host_tools.people.kits.pages import unpack
from host_tools.people.kits.seal import MAX_KIT, Header, read_header, unseal

VARIABLE = "DESALINK_KIT"
FILE = "kit.desakit"
_OWNER = "technician"


def read_kit(path: Path, passphrase: str) -> Kit:
    """Decrypt a kit, also an expired one.

    Raises:
        KitError: not a kit, damaged, or not signed by its province.
        PassphraseError: wrong passphrase.
    """
    with path.open("rb") as file:
        header = read_header(file, path)
        kit = unpack(unseal(file, header, passphrase, path), path)
    if (kit.id, kit.expires) != (header.id, header.expires):
        raise KitError(
            _("{path} has the header of another kit; ask the province for a new one.").format(
                path=path
            )
        )
    return kit


def read_kit_header(path: Path) -> Header:
    """The part of a kit that is readable without its passphrase.

    Raises:
        KitError: not a kit.
    """
    with path.open("rb") as file:
        return read_header(file, path)


def refuse_expired(expires: int, name: object, now: float | None = None) -> None:
    """Raise KitError if a kit has expired."""
    if expires <= (time.time() if now is None else now):
        raise KitError(
            _(
                "The kit {name} expired on {date}; check this laptop's clock, or ask the province "
                "for a new kit."
            ).format(name=name, date=day(expires))
        )


def kit_file(path: Path) -> Path:
    """The file of a kit, from a file or from an opened kit's directory.

    Raises:
        KitError: there is no opened kit in the directory.
    """
    # A missing file with a kit's suffix is a typing error; opening it reports that.
    slip = path.suffix == ".desakit" and not path.exists()
    return path if path.is_file() or slip else KitDirectory(path).file


def open_kit(path: Path, passphrase: str, *, now: float | None = None) -> Kit:
    """Decrypt a kit that has not expired.

    Args:
        path: the kit's file, or an opened kit's directory.
        now: Unix time, the present if None.

    Raises:
        KitError: not a kit, damaged, not signed by its province, or expired.
        PassphraseError: not its passphrase.
    """
    path = kit_file(path)
    # The header first: do not ask for the passphrase of an expired kit.
    refuse_expired(read_kit_header(path).expires, path, now)
    kit = read_kit(path, passphrase)
    refuse_expired(kit.expires, path, now)
    return kit


def find_directory(given: Path | None = None) -> Path:
    """The place of the opened kit: `given`, else DESALINK_KIT, else the user's data folder."""
    if given is not None:
        return given
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME"
    data = os.environ.get(variable) or Path.home() / ".local" / "share"
    return Path(data) / "desalink" / "kit"


class KitDirectory:
    """The directory of an opened kit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def file(self) -> Path:
        """The kit, encrypted.

        Raises:
            KitError: there is no opened kit here.
        """
        file = self.path / FILE
        if not file.exists():
            raise KitError(
                _(
                    "There is no opened kit in {place}; open one with 'desalink kit open FILE', "
                    "or give its place with --kit or {variable}."
                ).format(place=self.path, variable=VARIABLE)
            )
        return file

    @property
    def enrolments(self) -> Path:
        """The folder of the log of enrolments; see EnrolmentLog."""
        return self.path / "enrolments"

    def header(self) -> Header:
        """What can be read of the kit without its passphrase.

        Raises:
            KitError: there is no opened kit here, or the file is no kit.
        """
        return read_kit_header(self.file)

    def open(self, passphrase: str, *, now: float | None = None) -> Kit:
        """Decrypt the kit; see `open_kit`."""
        return open_kit(self.file, passphrase, now=now)

    def put(self, source: Path, passphrase: str, *, now: float | None = None) -> Kit:
        """Open a kit into this directory; it replaces the earlier one.

        Raises:
            KitError: see `open_kit`; or the directory is another technician's or has other files.
            PassphraseError, OSError: see `open_kit`.
        """
        if source.stat().st_size > 2 * MAX_KIT:
            raise KitError(
                _("{file} is too large for a kit; ask the province for a new one.").format(
                    file=source
                )
            )
        kit = open_kit(source, passphrase, now=now)
        owner = f"{kit.province_code} {kit.root_public.hex()} {kit.technician}\n".encode()
        mark = self.path / _OWNER
        if mark.exists():
            if not _same_owner(mark.read_bytes(), kit):
                raise KitError(
                    _(
                        "{place} belongs to another technician or province; open the kit in "
                        "another folder with --to DIR."
                    ).format(place=self.path)
                )
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise KitError(
                _("{place} has other files; open the kit in another folder with --to DIR.").format(
                    place=self.path
                )
            )
        make_directory(self.path)
        write_private(mark, owner)
        if not (self.path / FILE).exists() or not source.samefile(self.path / FILE):
            write_private(self.path / FILE, source.read_bytes())
        return kit


def _same_owner(mark: bytes, kit: Kit) -> bool:
    """Whether a directory is that of the kit's technician; the root key may have changed since."""
    code, root, technician = mark.decode().rstrip("\n").split(" ", 2)
    return (code, technician) == (kit.province_code, kit.technician) and succeeds(
        kit.authorities, bytes.fromhex(root), kit.root_public
    )
