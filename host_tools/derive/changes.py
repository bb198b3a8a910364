"""What one turn of the derivation has changed of a slot, and what it has cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from host_tools.store.derived_rows import Piece, Span

# Of a slot at once, about in reports: nothing that a device reports makes a step long.
MOST_COST = 2000

BootKey = tuple[int, int]  # stream id, boot


@dataclass(slots=True)
class Changes:
    """What a turn has changed of a slot.

    Attributes:
        outages, booted: boots with other events of outages, or of their start.
        begins: when outages begin that are other now.
        clocks: streams with other troubles of clocks.
        batches: streams with other findings in chunks, and their kinds.
        cost: of what was done, about in reports.
    """

    boots: dict[BootKey, list[Piece]] = field(default_factory=dict)
    outages: set[BootKey] = field(default_factory=set)
    booted: set[BootKey] = field(default_factory=set)
    streams: set[int] = field(default_factory=set)
    declared: set[tuple[bytes, bytes]] = field(default_factory=set)
    clocks: set[int] = field(default_factory=set)
    batches: set[tuple[int, str]] = field(default_factory=set)
    spans: list[Span] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    moved: bool = False
    now: int = 0
    cost: int = 0

    @property
    def enough(self) -> bool:
        """Whether the rest has to wait for another turn."""
        return self.cost >= MOST_COST

    def span(self, begin: int | None, end: int | None) -> None:
        if begin is not None and end is not None and end >= begin:
            self.spans.append((begin, end))
