"""Puts a stick together."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.field.stick.guide import write_guides
from host_tools.field.stick.interpreter import Interpreters, version_of
from host_tools.field.stick.platforms import Platform, StickError
from host_tools.field.stick.wheels import gather, own_wheel
from host_tools.people.kits.opened import read_kit_header, refuse_expired

PROGRAM = "program"
PYTHONS = ("3.11", "3.12", "3.13")
_FILES = Path(__file__).with_name("files")
_SCRIPTS = ("Mulai.cmd", "mulai.sh")


def create_stick(
    stick: Path,
    platforms: Sequence[Platform],
    pythons: Sequence[str] = PYTHONS,
    *,
    kit: Path | None = None,
    interpreters: Interpreters | None = None,
    wheel: Path | None = None,
    progress: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Make a stick, or renew one.

    Args:
        stick: a new or empty folder, or a stick.
        pythons: versions of Python that laptops have.
        kit: copied as it is, encrypted.
        interpreters: the office's, for laptops without Python.
        wheel: desalink's, None to build it.
        progress: gets a sentence before each part that takes time.

    Raises:
        StickError: the folder holds other things, or pip fails.
        KitError: `kit` is none, or it has expired.
        OSError: something can't be read or written.
    """
    _refuse_other(stick)
    if kit is not None:
        refuse_expired(read_kit_header(kit).expires, kit)
    archives = {p.name: interpreters.archive(p) if interpreters else None for p in platforms}
    versions = sorted({*pythons, *(version_of(a.name) for a in archives.values() if a)})
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        program = work / PROGRAM
        (program / "wheels").mkdir(parents=True)
        progress(_("Building desalink's own package ..."))
        own = wheel or own_wheel(work)
        progress(_("Fetching the packages for {names} ...").format(names=", ".join(archives)))
        for platform, text in gather(program / "wheels", platforms, versions, own).items():
            (program / f"{platform}.txt").write_text(text, encoding="utf-8")
        (program / "pythons.txt").write_text(" ".join(versions) + "\n", encoding="utf-8")
        shutil.copy(_FILES / "start.py", program)
        progress(_("Copying to {place} ...").format(place=stick))
        stick.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(stick / PROGRAM, ignore_errors=True)
        shutil.copytree(program, stick / PROGRAM)
    for platform, archive in archives.items():
        if archive is not None:
            (stick / PROGRAM / "python").mkdir(exist_ok=True)
            _copy_python(archive, platform, stick / PROGRAM / "python")
    for script in _SCRIPTS:
        shutil.copy(_FILES / script, stick)
    write_guides(stick)
    if kit is not None:
        for old in stick.glob("*.desakit"):
            old.unlink()
        shutil.copy(kit, stick)


def _copy_python(archive: Path, platform: str, folder: Path) -> None:
    """With its hash beside it, which the start script checks before it unpacks the archive."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    copy = folder / f"{platform}-{digest[:12]}.tar.gz"
    shutil.copy(archive, copy)
    line_end = "\r\n" if platform.startswith("windows") else "\n"
    Path(f"{copy}.sha256").write_text(digest + line_end, encoding="ascii", newline="")


def _refuse_other(stick: Path) -> None:
    if stick.exists() and not (stick / PROGRAM / "start.py").exists():
        # What a USB stick has of its own: a trash folder and the like.
        others = [p.name for p in stick.iterdir() if not p.name.startswith((".", "$", "System"))]
        if others:
            raise StickError(
                _("{place} holds other things ({names}); give an empty folder.").format(
                    place=stick, names=", ".join(sorted(others)[:3])
                )
            )
