"""Columns of a report back to values (docs/wire.md, "Columns")."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from host_tools.wire.reasons import malformed
from host_tools.wire.vocabulary import METRICS

if TYPE_CHECKING:
    from host_tools.wire.payload import Report

# JSON can't hold a value beyond this exactly, and no measurement needs one.
MAX_VALUE = 2**53 - 1

NAMES: dict[int, str] = {number: name for number, name, *_ in METRICS}
SCALES: dict[str, int] = {name: scale for _, name, _, scale, *_ in METRICS}
_COUNTS = frozenset(number for number, _, _, _, kind, _ in METRICS if kind == "count")

_ELEMENTS = frozenset((int, type(None)))
# The wire's unit of a count, bytes.
_COUNT_UNIT = 1024
# 60 differences of this size, or one count, stay in the range: only larger ones are decoded to be
# checked.
_SAFE = MAX_VALUE // _COUNT_UNIT
# The heads of CBOR's longest integers: without these bytes none is beyond 32 bits.
_LONG, _LONG_NEGATIVE = 0x1B, 0x3B

Column = list[int | None]


def check_columns(metrics: dict[int, Any], n: int, payload: bytes) -> None:
    """Check what `decode_columns` relies on; made for the hot path, about 4 us for 15 columns.

    Args:
        payload: the CBOR in which the columns lie.

    A column that is an integer, which stands for an array of this one element, becomes that.

    Raises:
        Refused: malformed: a column is empty, longer than n, not of integers and nulls, or beyond
            the range of +-(2^53 - 1); a count is negative.
    """
    elements: list[Any] = []
    for metric, column in metrics.items():
        if type(column) is int:
            metrics[metric] = column = [column]
        if type(column) is not list or not 0 < len(column) <= n:
            raise malformed(f"a column is not an integer or an array of 1 to n = {n} elements")
        elements += column
    if not _ELEMENTS.issuperset(map(type, elements)):
        raise malformed("a column holds something that is neither an integer nor null")
    for metric in _COUNTS:
        column = metrics.get(metric)
        if column and min(filter(None, column), default=0) < 0:
            raise malformed("a count is negative")
    if _LONG not in payload and _LONG_NEGATIVE not in payload:
        return
    if max(map(abs, filter(None, elements)), default=0) > _SAFE:
        for metric, column in metrics.items():
            for value in _values(column, n, metric in _COUNTS):
                if value is not None and abs(value) > MAX_VALUE:
                    raise malformed(f"a value of metric {metric} is beyond 2^53 - 1")


def _values(column: Column, n: int, count: bool) -> Column:
    values: Column
    if count:
        values = [None if element is None else element * _COUNT_UNIT for element in column]
        return values + [0] * (n - len(column))
    last: int | None = None
    if None not in column:
        values = list(accumulate(column))
        last = values[-1]
    else:
        values = []
        for element in column:
            if element is not None:
                last = element if last is None else last + element
            values.append(None if element is None else last)
    # "The value did not change" speaks of values; a null at the end is always sent.
    values += [last] * (n - len(values))
    return values


def decode_column(column: Column, n: int, metric: int) -> Column:
    """The `n` values of one column of a report that `parse_report` has returned."""
    return _values(column, n, metric in _COUNTS)


def total(column: Column | None, n: int) -> int | None:
    """The sum of a column of counts; None: none of the `n` values is known."""
    if column is None:
        return None
    if None not in column:
        return sum(column) * _COUNT_UNIT  # type: ignore[arg-type]
    known = [element for element in column if element is not None]
    return sum(known) * _COUNT_UNIT if known or len(column) < n else None


def greatest(column: Column) -> int | None:
    """The greatest value of a column that is not one of counts; None: none is known."""
    if None not in column:
        return max(accumulate(column))  # type: ignore[type-var]
    return max(accumulate(e for e in column if e is not None), default=None)


def decode_columns(report: Report) -> dict[str, Column]:
    """What a report's samples measured.

    Returns:
        For each metric that this version knows, by name, `n` integers (value in the metric's unit
        times its scale) or None. Metrics from a newer version stay in the signed bytes.

    Raises:
        Nothing for a report that `parse_report` has returned.
    """
    return {
        NAMES[metric]: _values(column, report.n, metric in _COUNTS)
        for metric, column in report.metrics.items()
        if metric in NAMES
    }
