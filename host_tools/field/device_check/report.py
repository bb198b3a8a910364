"""The report of a check: one file for programs, one page for people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from host_tools import __version__
from host_tools.common.files import write_file
from host_tools.common.times import wita

FORMAT = 1


@dataclass(frozen=True)
class Figure:
    """One figure beside what the agent expects of a board."""

    name: str
    value: Any
    expected: str
    ok: bool


def page(parts: Mapping[str, Any], found: Sequence[Figure], made_at: int) -> str:
    board = parts["board"]
    lines = [
        "# Desalink: check of a board",
        "",
        f"{board.get('machine') or board.get('platform', '?')}, MicroPython "
        f"{board.get('version', '?')}; desalink {__version__}; {wita(made_at)}",
        "",
        "| | what | measured | expected |",
        "| --- | --- | --- | --- |",
        *(
            f"| {'ok' if f.ok else '**differs**'} | {f.name} | {f.value} | {f.expected} |"
            for f in found
        ),
        "",
        "All figures are in the JSON file beside this page. They hold no key, no password, no "
        "name of a network and no address of the chip.",
        "",
    ]
    return "\n".join(lines)


def write_report(folder: Path, parts: Mapping[str, Any], found: Sequence[Figure]) -> list[Path]:
    """Write both files into a folder; returns their paths."""
    made_at = int(time.time())
    stem = time.strftime("board-check-%Y%m%d-%H%M%S", time.gmtime(made_at + 8 * 3600))
    report = {
        "format": FORMAT,
        "desalink": __version__,
        "made_at": made_at,
        "parts": parts,
        "figures": [asdict(figure) for figure in found],
    }
    paths = [folder / f"{stem}.json", folder / f"{stem}.md"]
    write_file(paths[0], json.dumps(report, indent=1).encode() + b"\n")
    write_file(paths[1], page(parts, found, made_at).encode())
    return paths
