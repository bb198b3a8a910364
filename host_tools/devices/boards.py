"""What each board is: boards/<name>/board.toml over its family's family.toml, read strictly.

Whatever is unknown, missing or of the wrong kind is an error that names file and key: a mistake in
such a file would otherwise show on a boat, at the first device.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

FILE = "board.toml"
FAMILY = "family.toml"
_FOLDER = Path(__file__).resolve().parents[2] / "boards"

CHIPS = ("esp32", "esp32s3", "esp32c3")
TRANSPORTS = ("serial", "ssh", "local")
INTERPRETERS = ("micropython", "cpython")
# Native architectures of .mpy files that mpy-cross knows and these chips have.
ARCHITECTURES = ("xtensawin", "rv32imc")


class BoardError(DesalinkError):
    """A board that there is not, or whose board.toml is wrong."""


@dataclass(frozen=True)
class Firmware:
    """The MicroPython that a board runs.

    version: such as "1.26.1"; file: its name, as published at url; sha256: hex, "" if nobody has
    pinned it yet; mpy: version of its .mpy files; arch: their native architecture; app_offset:
    address in flash of the application; app_bytes: its size, None while the file is not at hand.
    """

    version: str
    file: str
    sha256: str
    url: str
    mpy: str
    arch: str
    app_offset: int
    app_bytes: int | None = None


@dataclass(frozen=True)
class Board:
    """One kind of device, as its board.toml tells; sizes and offsets in bytes.

    port: the module of its class Board; baud: rates for flashing, the fastest first; files: paths
    from the repository's root that the device gets beside the agent, `port` and what they import;
    optional: module -> keys of the configuration, one of which a device that gets it has;
    settings: the section `board` of its configuration; budgets: names and bytes; also_for: what
    else it serves, for people; code_bytes: how much of the firmware's file system is left for
    code (None: all); romfs: its firmware has a ROMFS.
    """

    name: str
    title: str
    transport: str
    interpreter: str
    port: str
    directory: Path
    chip: str | None = None
    flash_size: int | None = None
    flash_offset: int = 0
    baud: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    also_for: tuple[str, ...] = ()
    code_bytes: int | None = None
    romfs: bool = False
    family: str | None = None
    optional: dict[str, list[str]] = field(default_factory=dict)
    firmware: Firmware | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    budgets: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Key:
    """One key: what it must be, in words and as a test; whether it may be left out."""

    expected: str
    valid: Callable[[Any], bool]
    required: bool = False


def _is_int(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _text(pattern: str, expected: str, required: bool = False) -> _Key:
    return _Key(
        expected, lambda v: isinstance(v, str) and re.fullmatch(pattern, v) is not None, required
    )


def _choice(values: tuple[str, ...], required: bool = False) -> _Key:
    return _Key("one of " + ", ".join(f'"{v}"' for v in values), lambda v: v in values, required)


def _integer(least: int, most: int) -> _Key:
    return _Key(
        f"a whole number from {least} to {most}", lambda v: _is_int(v, least, most), required=False
    )


def _list(item: Callable[[Any], bool], expected: str) -> _Key:
    return _Key(expected, lambda v: isinstance(v, list) and all(item(i) for i in v))


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"(?!.*\.\.)boards/[\w./-]+", value) is not None


_TABLE = _Key("a table", lambda v: isinstance(v, dict))
_FLASH = 0x4000000  # 64 MiB, more than any of these chips can address

_BOARD = {
    "name": _text(r"[a-z][a-z0-9-]{1,31}", "lower-case letters, digits and dashes", True),
    "title": _text(r".{1,60}", "a text of 1 to 60 characters", True),
    "interpreter": _choice(INTERPRETERS, True),
    "transport": _choice(TRANSPORTS, True),
    "family": _text(r"_[a-z]\w*", 'a folder of boards/ such as "_esp32"'),
    "port": _text(r"boards(\.\w+){2}", 'a module such as "boards._linux.board"', True),
    "optional": _Key("a table", lambda v: isinstance(v, dict)),
    "chip": _choice(CHIPS),
    "flash_size": _integer(0x100000, _FLASH),
    "flash_offset": _integer(0, 0x10000),
    "baud": _list(lambda v: _is_int(v, 9600, 3000000), "a list of rates from 9600 to 3000000"),
    "files": _list(_is_file, 'a list of paths such as "boards/_linux/board.py"'),
    "also_for": _list(lambda v: isinstance(v, str) and len(v) > 0, "a list of texts"),
    "code_bytes": _Key(
        "a multiple of 0x1000 from 0x40000 up",
        lambda v: _is_int(v, 0x40000, _FLASH) and v % 0x1000 == 0,
    ),
    "romfs": _Key("true or false", lambda v: isinstance(v, bool)),
    "firmware": _TABLE,
    "settings": _TABLE,
    "budgets": _TABLE,
}

_FIRMWARE = {
    "version": _text(r"\d+\.\d+\.\d+", 'a version such as "1.26.1"', True),
    "file": _text(r"[\w.-]+\.bin", 'a file name that ends in ".bin"', True),
    "url": _text(r"https://\S+", 'an address that begins with "https://"', True),
    "sha256": _text(r"([0-9a-f]{64})?", '64 hexadecimal digits, or "" if not pinned', True),
    "mpy": _text(r"\d+\.\d+", 'a version of .mpy files such as "6.3"', True),
    "arch": _choice(ARCHITECTURES, True),
    "app_offset": _Key("an address from 0 to 0x100000", lambda v: _is_int(v, 0, 0x100000), True),
}

_SERIAL_CHIP = ("flash_size", "flash_offset", "baud", "firmware")


def _check(path: Path, table: dict[str, Any], keys: dict[str, _Key], prefix: str = "") -> None:
    for name, value in table.items():
        key = keys.get(name)
        if key is None:
            known = ", ".join(keys)
            raise BoardError(
                f"{path}: {prefix}{name}: no such key; correct or remove it (there are: {known})."
            )
        if not key.valid(value):
            raise BoardError(f"{path}: {prefix}{name}: expected {key.expected}, got {value!r}.")
    for name, key in keys.items():
        if key.required and name not in table:
            raise BoardError(
                f"{path}: {prefix}{name} is missing: expected {key.expected}; add it."
            )


def _check_together(path: Path, table: dict[str, Any]) -> None:
    """What no key can tell alone."""
    if table["name"] != _name(path):
        raise BoardError(
            f"{path}: name: expected {_name(path)!r}, as its folder is called, got "
            f"{table['name']!r}."
        )
    named = table.get("settings", {}).get("name", table["name"])
    if named != table["name"]:
        raise BoardError(
            f"{path}: settings.name: expected {table['name']!r}, the board's own, got {named!r}."
        )
    for name in _SERIAL_CHIP:
        if "chip" in table and name not in table:
            raise BoardError(f"{path}: {name} is missing: a board with a chip needs it; add it.")
        if "chip" not in table and name in table:
            raise BoardError(f"{path}: {name}: only a board with a chip has it; remove it.")
    if sorted(table.get("baud", []), reverse=True) != table.get("baud", []):
        raise BoardError(f"{path}: baud: expected the fastest rate first, got {table['baud']!r}.")
    for name, value in table.get("budgets", {}).items():
        if not _is_int(value, 1, 1 << 40):
            raise BoardError(f"{path}: budgets.{name}: expected a number of bytes, got {value!r}.")
    root = _FOLDER.parent
    for file in table.get("files", []):
        if not (root / file).is_file():
            raise BoardError(f"{path}: files: there is no {file}; correct or remove it.")
    port = table["port"].replace(".", "/") + ".py"
    if not (root / port).is_file():
        raise BoardError(f"{path}: port: there is no {port}; correct the module's name.")


def _name(path: Path) -> str:
    """The board's name, from the path of its board.toml: a folder with Python has no dashes."""
    return path.parent.name.replace("_", "-")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BoardError(f"{path} is missing: a board needs one; put it there.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BoardError(f"{path} can't be understood: {error}; correct it.") from None


def read_board(path: Path) -> Board:
    """Read one board.toml, and its family's file.

    Raises:
        BoardError: one is missing or wrong; names file and key.
    """
    table = _read(path)
    family = table.get("family")
    if family is not None and _BOARD["family"].valid(family):
        for key, value in _read(_FOLDER / family / FAMILY).items():
            own = table.setdefault(key, value)
            if isinstance(value, dict) and isinstance(own, dict):
                table[key] = {**value, **own}
    _check(path, table, _BOARD)
    firmware = None
    if "firmware" in table:
        _check(path, table["firmware"], _FIRMWARE, "firmware.")
        firmware = Firmware(**table["firmware"])
    _check_together(path, table)
    lists = {name: tuple(table.pop(name, ())) for name in ("baud", "files", "also_for")}
    return Board(**{**table, **lists, "firmware": firmware, "directory": path.parent})


def board_names() -> list[str]:
    """Names of all boards, sorted."""
    return sorted(_paths())


def _paths() -> dict[str, Path]:
    return {_name(path): path for path in _FOLDER.glob(f"*/{FILE}")}


def load_board(name: str) -> Board:
    """The board of that name.

    Raises:
        BoardError: there is none, or its board.toml is wrong.
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


def boards_for_chip(chip: str) -> list[Board]:
    """The boards with that chip ("esp32", "esp32s3", "esp32c3"), by name."""
    return [board for board in all_boards() if board.chip == chip]
