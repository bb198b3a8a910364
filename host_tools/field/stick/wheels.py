"""The packages of a stick: fetched by pip, each with its hash.

The versions are those that are installed beside desalink on this machine. pip uses the index that
this machine is set up with.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from host_tools.common.i18n import _
from host_tools.field.stick.platforms import Platform, StickError

# What technicians' verbs import; pip adds what these need in turn.
_NEEDED = (
    *("cbor2", "click", "cryptography", "esptool", "filelock", "fpdf2", "mpremote", "msgspec"),
    *("paramiko", "pillow", "pip", "PyNaCl", "pyserial", "rich", "segno"),
)
# Published without a wheel. It is pure Python: one that is built here runs everywhere.
_BUILT = ("esptool",)
_SOURCES = ("agent", "boards", "host_tools")
_ROOT = Path(__file__).parents[3]


def _pip(command: str, folder: Path, *arguments: str) -> None:
    """Run pip, to put wheels into a folder."""
    to = "--wheel-dir" if command == "wheel" else "--dest"
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, "--no-input", to, str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1][7:] if errors else done.stderr.strip()[-300:]
        raise StickError(
            _(
                "pip could not fetch the packages: {reason}. Check the network and 'pip config "
                "list', then run the same command."
            ).format(reason=reason.rstrip("."))
        )


def _installed() -> dict[str, str]:
    """Name -> version of every package beside desalink."""
    return {d.name: d.version for d in distributions() if d.name != "desalink"}


def own_wheel(folder: Path) -> Path:
    """Build desalink's own wheel in a folder.

    Raises:
        StickError: this desalink has no sources beside it, or pip fails.
    """
    if not (_ROOT / "pyproject.toml").exists():
        raise StickError(
            _(
                "This desalink was installed without its sources; run 'desalink stick create' "
                "from a clone of desalink, or give its wheel with --wheel FILE."
            )
        )
    # A copy: setuptools writes beside the sources, and keeps there what has been deleted since.
    source = folder / "source"
    for name in _SOURCES:
        shutil.copytree(
            _ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, source)
    _pip("wheel", folder, "--no-deps", str(source))
    return next(folder.glob("desalink-*.whl"))


def gather(
    folder: Path, platforms: Sequence[Platform], pythons: Sequence[str], own: Path
) -> dict[str, str]:
    """Fetch the wheels of some platforms into a folder.

    Args:
        pythons: versions such as "3.12".
        own: desalink's wheel.

    Returns:
        Platform -> its requirements, with the hash of each file that pip may install.

    Raises:
        StickError: pip fails.
    """
    installed = _installed()
    work = folder / "work"
    built = work / "built"
    built.mkdir(parents=True)
    for name in _BUILT:
        _pip("wheel", built, "--no-deps", f"{name}=={installed[name]}")
    pins = work / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in installed.items()))
    found = {}
    for platform in platforms:
        own_folder = work / platform.name
        tags = [argument for tag in platform.tags for argument in ("--platform", tag)]
        for python in pythons:
            _pip(
                *("download", own_folder, "--only-binary", ":all:", "--constraint", str(pins)),
                *("-f", str(built), "--python-version", python, *tags),
                *(*_NEEDED, *platform.extra),
            )
        shutil.copy(own, own_folder)
        files = sorted(own_folder.glob("*.whl"))
        found[platform.name] = _requirements(files)
        for file in files:
            file.replace(folder / file.name)
    shutil.rmtree(work)
    return found


def _requirements(wheels: Sequence[Path]) -> str:
    """Lines for `pip install --require-hashes`."""
    hashes: dict[str, list[str]] = {}
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        hashes.setdefault(f"{name}=={version}", []).append(f"--hash=sha256:{digest}")
    return "".join(f"{name} {' '.join(of)}\n" for name, of in hashes.items())
