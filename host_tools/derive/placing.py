"""The place in time of reports whose own clock is not believed (docs/wire.md, "Time")."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from host_tools.derive.reading import FUTURE_S, Reading

Anchor = tuple[int, int]  # seq, offset of a report whose clock is believed


def place(readings: Iterable[Reading], anchors: list[Anchor]) -> None:
    """Place reports of one boot by the nearest anchor of that boot, by seq.

    Args:
        anchors: ascending; at least the nearest before and after each of the reports.
    """
    seqs = [seq for seq, _ in anchors]
    for reading in readings:
        if reading.offset is not None:
            continue
        reading.t = None
        at = bisect_left(seqs, reading.seq)
        near = anchors[max(0, at - 1) : at + 1]
        if near:
            _, offset = min(near, key=lambda anchor: (abs(anchor[0] - reading.seq), anchor[0]))
            t = offset + reading.up
            if t + reading.extent <= reading.received_at + FUTURE_S:
                reading.t = t
