"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Diagnosis:
    """A sentence on one check, and the remedy.

    `check` is a stable name for programs; a `problem` stops the work, a `warning` may. Both have a
    `fix`.
    """

    check: str
    level: Level
    text: str
    fix: str | None = None


def ok(check: str, text: str) -> Diagnosis:
    return Diagnosis(check, "ok", text)


def warning(check: str, text: str, fix: str) -> Diagnosis:
    return Diagnosis(check, "warning", text, fix)


def problem(check: str, text: str, fix: str) -> Diagnosis:
    """No device can be set up before this is corrected."""
    return Diagnosis(check, "problem", text, fix)
