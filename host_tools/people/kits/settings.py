"""The settings file of a kit (TOML or JSON).

Its sections are those of a device's configuration (docs/agent.md), for every slot.
`[regency.6403]`, `[village.6403112001]` and `[slot."6403112001-1"]` have the same sections for
some slots; the narrower one overrides the wider one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from agent.config import ConfigError
from agent.config import load as load_config
from host_tools.common.errors import EnrolmentError
from host_tools.common.files import write_private
from host_tools.common.i18n import _
from host_tools.common.tables import TableError, checked
from host_tools.devices.boards import Board
from host_tools.devices.config import set_value
from host_tools.devices.heap import check_heap
from host_tools.people.kits.model import KitError
from host_tools.province.records import village_of

_SCOPES = ("regency", "village", "slot")
# Only kit and board set these.
RESERVED = ("slot", "port", "state_dir", "broker.ca", "broker.cert", "broker.key")
_MAX_FILE = 4 << 20

_Section = Annotated[dict[str, Any], Meta(description="a section")]


@dataclass(frozen=True)
class _Settings:
    """The sections for some slots, by code. The agent's code checks all other sections."""

    regency: dict[str, _Section] = field(default_factory=dict)
    village: dict[str, _Section] = field(default_factory=dict)
    slot: dict[str, _Section] = field(default_factory=dict)


def read_settings(path: Path) -> dict[str, Any]:
    """Read a settings file.

    Raises:
        KitError: it is neither TOML nor JSON, or no object.
    """
    import tomllib

    with path.open("rb") as file:
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise KitError(
            _("{path} is too large for settings; check that it is the right file.").format(
                path=path
            )
        )
    try:
        text = content.decode()
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        json.dumps(found)  # TOML knows dates, configurations do not
    except (ValueError, TypeError, RecursionError) as error:
        raise KitError(
            _("{path} can't be understood: {error}; correct it and try again.").format(
                path=path, error=error
            )
        ) from None
    try:
        checked(found, _Settings, strict=False)
    except TableError as error:
        raise KitError(
            _("{path}: {error} Correct it and try again.").format(path=path, error=error)
        ) from None
    return dict(found)


def slot_config(settings: dict[str, Any], slot: str, host: str, port: int) -> dict[str, Any]:
    """The configuration of a slot, without its board's settings.

    Args:
        settings: from `read_settings`.
        host, port: of the broker.

    Raises:
        KitError: a key that settings can't set, or that the agent would refuse.
    """
    config: dict[str, Any] = {
        "slot": slot,
        "state_dir": "state",
        "broker": {
            "host": host,
            "port": port,
            "ca": "ca.pem",
            "cert": "client.pem",
            "key": "client.key",
        },
    }
    common = {key: value for key, value in settings.items() if key not in _SCOPES}
    village = village_of(slot)
    own = [
        settings.get(scope, {}).get(code, {})
        for scope, code in zip(_SCOPES, (village[:4], village, slot), strict=True)
    ]
    for layer in (common, *own):
        for key, value in _flat(layer):
            if key in RESERVED or key.partition(".")[0] in RESERVED:
                raise KitError(
                    _("The settings can't set {key}; take it out and try again.").format(key=key)
                )
            try:
                set_value(config, key, value)
            except EnrolmentError as error:
                raise KitError(
                    _("The settings for {slot}: {error}").format(slot=slot, error=error)
                ) from None
    check_config(config, slot)
    return config


def _flat(layer: dict[str, Any]) -> list[tuple[str, Any]]:
    """Key paths and values. `board` stays one object, because only the board knows its keys."""
    found: list[tuple[str, Any]] = []
    for key, value in layer.items():
        if isinstance(value, dict) and key != "board":
            found += [(f"{key}.{name}", inner) for name, inner in value.items()]
        else:
            found.append((key, value))
    return found


def check_config(config: dict[str, Any], slot: str) -> None:
    """Check it with the agent's own code, so that no device refuses it in a village.

    Raises:
        KitError: it refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="desalink-") as name:  # mode 0700
        path = Path(name) / "settings"
        write_private(path, json.dumps(config).encode())
        try:
            load_config(str(path))
        except ConfigError as error:
            sentence = str(error).removeprefix(f"{path}: ")
            raise KitError(
                _("The settings for {slot} are not what a device takes: {sentence}.").format(
                    slot=slot, sentence=sentence
                )
            ) from None


def check_boards(
    config: dict[str, Any], boards: Iterable[Board], where: str, romfs: Collection[str] = ()
) -> None:
    """Check the section `board` with the code of each board that a slot may get, and whether the
    agent fits its heap.

    Args:
        config: from `slot_config`.
        boards: those of the kit; only the one that the section names, if it names one.
        where: file, slot and village, for messages.
        romfs: names of the boards whose firmware in the kit has ROMFS.

    Raises:
        KitError: a board would refuse it.
        HeapError: a board has too little heap for it.
    """
    own = config.get("board", {})
    boards = list(boards)
    if not isinstance(own, dict):
        raise KitError(
            _("{where}: board must be a section; correct it and try again.").format(where=where)
        )
    name = own.get("name")
    named = [board for board in boards if board.name == name]
    if name is not None and boards and not named:
        packed = ", ".join(board.name for board in boards)
        raise KitError(
            _(
                "{where}: board.name is {name!r} and the kit is packed for {packed}; correct it, "
                "or pack that board too (--board)."
            ).format(where=where, name=name, packed=packed)
        )
    for board in named or boards:
        check_heap(board, config, board.name in romfs, where)
        package = board.port.split(".")[1]
        # Some boards have settings of their own and a check for them.
        if not (board.directory.parent / package / "settings.py").is_file():
            continue
        check = import_module(f"boards.{package}.settings").check
        try:
            check({**board.settings, **own})
        except ValueError as error:
            raise KitError(
                _(
                    "{where}: the section board is not what {name} takes: {error}; correct the "
                    "settings (--settings) and try again."
                ).format(where=where, name=board.name, error=error)
            ) from None


def scopes(settings: dict[str, Any]) -> set[str]:
    """The codes of regencies, villages and slots that the settings name."""
    return {code for scope in _SCOPES for code in settings.get(scope, {})}
