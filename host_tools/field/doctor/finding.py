"""One thing that the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Diagnosis:
    """A sentence on one check, and what to do about it.

    `check` is a stable name for programs; a `problem` stops the work, a `warning` may. Both have a
    `fix`.
    """

    check: str
    level: Level
    text: str
    fix: str | None = None


def ok(check: str, text: str) -> Diagnosis:
    """All is as it should be."""
    return Diagnosis(check, "ok", text)


def warning(check: str, text: str, fix: str) -> Diagnosis:
    """Something that may go wrong, or that can't be told for sure."""
    return Diagnosis(check, "warning", text, fix)


def problem(check: str, text: str, fix: str) -> Diagnosis:
    """Something with which no device can be set up."""
    return Diagnosis(check, "problem", text, fix)
