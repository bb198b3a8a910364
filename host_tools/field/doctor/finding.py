"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """A sentence on one check, and the remedy.

    `check` is a stable name for programs; a `problem` stops the work, a `warning` may. Both have a
    `fix`.
    """

    check: str
    level: Level
    text: str
    fix: str | None = None


def ok(check: str, text: str) -> Finding:
    """The check found no problem."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, fix: str) -> Finding:
    """A possible problem."""
    return Finding(check, "warning", text, fix)


def problem(check: str, text: str, fix: str) -> Finding:
    """No device can be set up before this is corrected."""
    return Finding(check, "problem", text, fix)
