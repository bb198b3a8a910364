"""Starts desalink from a stick.

    start.py PLATFORM [ARGUMENT ...]

Runs before anything is installed, so it uses only Python itself. The first time it makes a
private environment in the user's data folder, without network. The hash of each package is
checked. Without an argument it starts the menu.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent
STICK = PROGRAM.parent
WINDOWS = os.name == "nt"


class StartError(Exception):
    """A sentence for the technician, in both languages."""


def main(platform: str, arguments: list[str]) -> int:
    """Returns the exit code."""
    requirements = PROGRAM / (platform + ".txt")
    if not requirements.exists():
        raise StartError(
            f"Stik ini tidak untuk {platform}; minta stik lain dari kantor.\n"
            f"This stick is not for {platform}; ask the office for another one."
        )
    environment = _home() / "program" / _name_of(requirements)
    if not (environment / "ready").exists():
        print("Menyiapkan Desalink, sekali saja / Preparing Desalink, only once ...", flush=True)
        _make(environment, requirements)
    programs = environment / ("Scripts" if WINDOWS else "bin")
    command = [str(programs / ("desalink.exe" if WINDOWS else "desalink"))]
    command += arguments or ["menu"]
    # For the terminal that the menu opens, and for the menu.
    os.environ["PATH"] = str(programs) + os.pathsep + os.environ.get("PATH", "")
    os.environ["DESALINK_STICK"] = str(STICK)
    if not WINDOWS:
        os.execv(command[0], command)  # nosec B606 # no shell is what we want
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command
    return subprocess.call(command)


def _home() -> Path:
    variable = "LOCALAPPDATA" if WINDOWS else "XDG_DATA_HOME"
    return Path(os.environ.get(variable) or Path.home() / ".local" / "share") / "desalink"


def _name_of(requirements: Path) -> str:
    """Another stick or another Python gets its own environment."""
    content = requirements.read_bytes() + sys.version.encode() + sys.executable.encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _make(environment: Path, requirements: Path) -> None:
    shutil.rmtree(environment, ignore_errors=True)  # one that was interrupted
    # With the stick's pip: Debian's Python has none.
    venv.create(environment, with_pip=False, symlinks=not WINDOWS)
    python = environment / ("Scripts/python.exe" if WINDOWS else "bin/python")
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    done = subprocess.run(
        [
            *(str(python), str(_pip(requirements) / "pip"), "install", "--quiet", "--no-index"),
            *("--no-deps", "--require-hashes", "--no-warn-script-location", "--no-cache-dir"),
            *("-f", str(PROGRAM / "wheels"), "--requirement", str(requirements)),
        ],
        env={**settings, "PIP_CONFIG_FILE": os.devnull},
        check=False,
    )
    if done.returncode:
        raise StartError(
            "Paket di stik rusak atau disk penuh; minta stik baru dari kantor.\n"
            "The packages on the stick are damaged or the disk is full; ask the office for a new "
            "stick."
        )
    (environment / "ready").touch()


def _pip(requirements: Path) -> Path:
    """The stick's own pip, whose hash is checked here: it checks all others."""
    listed = requirements.read_text(encoding="utf-8")
    for wheel in (PROGRAM / "wheels").glob("pip-*.whl"):
        if hashlib.sha256(wheel.read_bytes()).hexdigest() in listed:
            return wheel
    raise StartError(
        "pip di stik rusak; minta stik baru dari kantor.\n"
        "The stick's pip is damaged; ask the office for a new stick."
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
    except (StartError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
