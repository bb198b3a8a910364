"""The boards: boards/<name>/board.toml, over its family's family.toml.

An unknown, missing or wrong key is an error that names file and key, so that no mistake is found
only in a village.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.common.tables import TableError, checked, choice, text, whole

FILE = "board.toml"
FAMILY = "family.toml"
FOLDER = Path(__file__).resolve().parents[2] / "boards"

_FLASH = 0x4000000  # 64 MiB, more than any of these chips can address


class BoardError(DesalinkError):
    """A board that does not exist, or whose board.toml is wrong."""


@dataclass(frozen=True, kw_only=True)
class BoardFirmware:
    """The MicroPython that a board runs.

    version: such as "1.26.1"; file: its name at url; sha256: hex, "" if not pinned yet; mpy:
    version of its .mpy files; arch: their native architecture; app_offset: address in flash of
    the application.
    """

    version: Annotated[str, text(r"\d+\.\d+\.\d+", 'a version such as "1.26.1"')]
    file: Annotated[str, text(r"[\w.-]+\.bin", 'a file name that ends in ".bin"')]
    sha256: Annotated[str, text(r"([0-9a-f]{64})?", '64 hexadecimal digits, or "" if not pinned')]
    url: Annotated[str, text(r"https://\S+", 'an address that begins with "https://"')]
    mpy: Annotated[str, text(r"\d+\.\d+", 'a version of .mpy files such as "6.3"')]
    # Native architectures of .mpy files for these chips.
    arch: Annotated[str, choice("xtensawin", "rv32imc")]
    app_offset: Annotated[int, whole(0, 0x100000)]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One kind of device, as its board.toml says; sizes and offsets in bytes.

    port: the module of its class Board; baud: rates for flashing, the fastest first; files: paths
    from the repository's root for the device, besides the agent, `port` and their imports;
    optional: module -> keys of the configuration; a device with one of them gets the module;
    settings: the section `board` of its configuration; budgets: names and bytes; also_for:
    products, for people; code_bytes: the part of the file system for code (None: all).
    """

    name: Annotated[str, text(r"[a-z][a-z0-9-]{1,31}", "lower-case letters, digits and dashes")]
    title: Annotated[str, text(r".{1,60}", "a text of 1 to 60 characters")]
    transport: Annotated[str, choice("serial", "ssh", "local")]
    interpreter: Annotated[str, choice("micropython", "cpython")]
    port: Annotated[str, text(r"boards(\.\w+){2}", 'a module such as "boards._linux.board"')]
    directory: Path
    chip: Annotated[str, choice("esp32", "esp32s3", "esp32c3")] | None = None
    flash_size: Annotated[int, whole(0x100000, _FLASH)] | None = None
    flash_offset: Annotated[int, whole(0, 0x10000)] = 0
    baud: Annotated[
        tuple[Annotated[int, whole(9600, 3000000)], ...],
        Meta(description="a list of rates from 9600 to 3000000"),
    ] = ()
    files: Annotated[
        tuple[Annotated[str, text(r"(?!.*\.\.)boards/[\w./-]+", "a path")], ...],
        Meta(description='a list of paths such as "boards/_linux/board.py"'),
    ] = ()
    also_for: Annotated[tuple[str, ...], Meta(description="a list of texts")] = ()
    code_bytes: (
        Annotated[
            int,
            Meta(
                ge=0x40000,
                le=_FLASH,
                multiple_of=0x1000,
                description="a multiple of 0x1000 from 0x40000 up",
            ),
        ]
        | None
    ) = None
    family: Annotated[str, text(r"_[a-z]\w*", 'a folder of boards/ such as "_esp32"')] | None = (
        None
    )
    optional: dict[str, list[str]] = field(default_factory=dict)
    firmware: BoardFirmware | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    budgets: dict[str, Annotated[int, Meta(ge=1, description="a number of bytes")]] = field(
        default_factory=dict
    )


_SERIAL_CHIP = ("flash_size", "flash_offset", "baud", "firmware")


def _check_together(path: Path, table: dict[str, Any]) -> None:
    """Checks between keys, and between keys and folder."""
    if table["name"] != _name(path):
        raise BoardError(
            _("{path}: name: expected {name!r}, as its folder is called, got {found!r}.").format(
                path=path, name=_name(path), found=table["name"]
            )
        )
    named = table.get("settings", {}).get("name", table["name"])
    if named != table["name"]:
        raise BoardError(
            _("{path}: settings.name: expected {name!r}, the board's own, got {named!r}.").format(
                path=path, name=table["name"], named=named
            )
        )
    for name in _SERIAL_CHIP:
        if "chip" in table and name not in table:
            raise BoardError(
                _("{path}: {name} is missing: a board with a chip needs it; add it.").format(
                    path=path, name=name
                )
            )
        if "chip" not in table and name in table:
            raise BoardError(
                _("{path}: {name}: only a board with a chip has it; remove it.").format(
                    path=path, name=name
                )
            )
    if sorted(table.get("baud", []), reverse=True) != table.get("baud", []):
        raise BoardError(
            _("{path}: baud: expected the fastest rate first, got {found!r}.").format(
                path=path, found=table["baud"]
            )
        )
    root = FOLDER.parent
    for file in table.get("files", []):
        if not (root / file).is_file():
            raise BoardError(
                _("{path}: files: there is no {file}; correct or remove it.").format(
                    path=path, file=file
                )
            )
    port = table["port"].replace(".", "/") + ".py"
    if not (root / port).is_file():
        raise BoardError(
            _("{path}: port: there is no {port}; correct the module's name.").format(
                path=path, port=port
            )
        )


def _name(path: Path) -> str:
    """The board's name, from its folder; a folder with Python code has no dashes."""
    return path.parent.name.replace("_", "-")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BoardError(
            _("{path} is missing: a board needs one; put it there.").format(path=path)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BoardError(
            _("{path} can't be understood: {error}; correct it.").format(path=path, error=error)
        ) from None


def read_board(path: Path) -> Board:
    """Read one board.toml, and its family's file.

    Raises:
        BoardError: one is missing or wrong; names file and key.
    """
    table = _read(path)
    family = table.get("family")
    if isinstance(family, str) and re.fullmatch(r"_[a-z]\w*", family):
        for key, value in _read(FOLDER / family / FAMILY).items():
            own = table.setdefault(key, value)
            if isinstance(value, dict) and isinstance(own, dict):
                table[key] = {**value, **own}
    try:
        board = checked({"directory": path.parent, **table}, Board)
    except TableError as error:
        raise BoardError(f"{path}: {error}") from None
    _check_together(path, table)
    return board


def board_names() -> list[str]:
    """Names of all boards, sorted."""
    return sorted(_paths())


def _paths() -> dict[str, Path]:
    return {_name(path): path for path in FOLDER.glob(f"*/{FILE}")}


def load_board(name: str) -> Board:
    """The board of that name.

    Raises:
        BoardError: no such board, or its board.toml is wrong.
    """
    paths = _paths()
    if name not in paths:
        raise BoardError(
            _("There is no board '{name}'; choose one of {names}.").format(
                name=name, names=", ".join(sorted(paths))
            )
        )
    return read_board(paths[name])


def all_boards() -> list[Board]:
    """Every board, by name. Raises BoardError if any is wrong."""
    return [load_board(name) for name in board_names()]
