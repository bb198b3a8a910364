"""What the reports of a boot in a chunk say together."""

from __future__ import annotations

from host_tools.derive.reading import Reading
from host_tools.store.derived_rows import Piece


def anchors(piece: Piece) -> tuple[int | None, ...]:
    """The first and the last report whose clock is believed."""
    return piece.first_anchor, piece.first_offset, piece.last_anchor, piece.last_offset


def shrunk(old: Piece, new: Piece) -> bool:
    """Whether a piece covers less than before: reports of it were found corrupt."""
    if old.t_begin is None or old.t_end is None:
        return False
    return (
        new.t_begin is None
        or new.t_end is None
        or new.t_begin > old.t_begin
        or new.t_end < old.t_end
    )


def troubled(piece: Piece) -> bool:
    """Whether a report has no place in time, or a clock from the future."""
    return piece.unplaced_first is not None or piece.future_first is not None


def piece_of(slot_id: int, boot: int, chunk: int, readings: list[Reading]) -> Piece:
    """What the reports of a boot in a chunk say together; ascending by seq."""
    piece = Piece(readings[0].stream_id, boot, chunk, slot_id)
    for r in readings:
        if r.received_at > piece.received_at:
            piece.received_at = r.received_at
        if r.offset is not None:
            if piece.first_anchor is None:
                piece.first_anchor, piece.first_offset = r.seq, r.offset
            piece.last_anchor, piece.last_offset = r.seq, r.offset
        else:
            piece.clockless += 1
        if r.ahead:
            if piece.future_first is None:
                piece.future_first, piece.ahead = r.seq, r.ahead
            piece.future_last = r.seq
        if r.t is None:
            if piece.unplaced_first is None:
                piece.unplaced_first = r.seq
            piece.unplaced_last = r.seq
            continue
        piece.offset = r.t - r.up
        if r.n:
            end = r.end
            if piece.t_begin is None or r.t < piece.t_begin:
                piece.t_begin = r.t
            if piece.t_end is None or end > piece.t_end:
                piece.t_end = end
            up = r.last_up()
            if up is not None and (piece.last_up is None or up > piece.last_up):
                piece.last_up = up
    return piece
