"""Sizes for people."""

from __future__ import annotations

from host_tools.common.i18n import number


def size(count: float | None) -> str:
    """Bytes as the language writes numbers: `999 B`, `1.0 MB`; a dash: not measured."""
    if count is None:
        return "-"
    if count < 1000:
        return f"{number(count)} B"
    amount, units = count / 1000, ["TB", "GB", "MB", "kB"]
    # What a decimal rounds up to 1000 is one of the next unit.
    while round(amount, 1) >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop()
    return f"{number(amount, 1)} {units[-1]}"
