"""Whether the agent with a configuration fits a board's heap.

What a board has stands in `budgets.heap_bytes` of its toml. What the agent needs stands in
heap.toml of the board's family, in KiB: the bench measures it on a 32-bit MicroPython.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.devices import boards
from host_tools.devices.boards import Board

FILE = "heap.toml"
# The key of the configuration that brings a part of the agent which is no source.
PARTS = {"portal": ("link", "portal"), "budget": ("budget", "month_mb")}
ALL = "all"
"""Every source at once."""


class HeapError(DesalinkError):
    """A board with too little heap for what its device is to do."""


@cache
def _needs(path: Path) -> dict[str, dict[str, int]]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def parts_of(config: Mapping[str, Any]) -> list[str]:
    """The parts and sources that a configuration asks for."""
    usage = config.get("usage", {})
    sources = sorted(name for name, value in usage.items() if isinstance(value, Mapping))
    parts = [name for name, (section, key) in PARTS.items() if config.get(section, {}).get(key)]
    return parts + sources


def need_kib(board: Board, config: Mapping[str, Any], romfs: bool) -> int:
    """KiB of heap that the agent needs. Several sources count as all."""
    table = _needs(boards.FOLDER / str(board.family) / FILE)["romfs" if romfs else "mpy"]
    base = table["base"]
    parts = parts_of(config)
    sources = [name for name in parts if name not in PARTS]
    if sources:
        one = sources[0] if len(sources) == 1 else ALL
        parts = [*(name for name in parts if name in PARTS), one]
    return base + table["board"] + sum(table.get(name, table[ALL]) - base for name in parts)


def check_heap(board: Board, config: Mapping[str, Any], romfs: bool, where: str) -> None:
    """Check that the agent fits the board's heap. A board with PSRAM has room for all.

    Args:
        config: a slot's.
        romfs: the board's firmware reads the agent in place, from ROMFS.
        where: file, slot and village, for the message.

    Raises:
        HeapError: what is too much, and what to do.
    """
    have = board.budgets.get("heap_bytes")
    if have is None or config.get("board", {}).get("psram"):
        return
    need = need_kib(board, config, romfs)
    if need * 1024 <= have:
        return
    parts = parts_of(config)
    what = _("with {parts}").format(parts=", ".join(parts)) if parts else _("without any source")
    if romfs:
        advice = _("Configure fewer sources, or use a board with PSRAM (board.psram = true).")
    else:
        advice = _(
            "Use firmware with ROMFS ('make firmware', docs/boards.md), configure fewer sources, "
            "or use a board with PSRAM (board.psram = true)."
        )
    raise HeapError(
        _(
            "{where}: the agent {what} needs {need} KiB of memory on {board}, which has about "
            "{have} KiB. {advice}"
        ).format(
            where=where, what=what, need=need, board=board.name, have=have >> 10, advice=advice
        )
    )
