"""Boots: each run of an agent, and the time before it in which nothing ran (docs/wire.md).

A power cut and a lost link look alike from the province until the device reports, after its next
start, when it was last alive and why it started.
"""

from __future__ import annotations

from agent.wire import ids
from host_tools.common.times import PROGRAMME
from host_tools.derive.reading import FUTURE_S, uint
from host_tools.store.derived_rows import BootRow, Told
from host_tools.wire.vocabulary import OFF_AGENT, OFF_POWER


def take_booted(boot: BootRow, event: Told) -> None:
    """Take what the `booted` event of a boot reports."""
    detail = event.detail
    boot.started_t = event.t
    boot.cause = uint(detail.get(1)) or ids.RESET_UNKNOWN
    alive = detail.get(2)
    pair = [uint(value) for value in alive] if isinstance(alive, list) else []
    boot.alive_boot, boot.alive_up = pair if len(pair) == 2 and None not in pair else (None, None)
    alive_t = uint(detail.get(3))
    believed = alive_t is not None and PROGRAMME <= alive_t <= event.received_at + FUTURE_S
    boot.alive_t = alive_t if believed else None
    boot.clean = int(detail.get(4) is True)


def find_off(boot: BootRow, before: BootRow | None) -> None:
    """Find the time before a boot in which nothing ran.

    Args:
        before: the boot of the stream before it, of those that are known.
    """
    boot.off_begin = boot.off_end = boot.off_state = None
    if boot.cause is None or boot.started_t is None:
        return
    begin = boot.alive_t
    if begin is None and boot.alive_boot is not None:
        known = before is not None and before.boot == boot.alive_boot
        if known and before and before.offset is not None and boot.alive_up is not None:
            begin = before.offset + boot.alive_up
    elif begin is None and before is not None and before.boot == boot.boot - 1:
        begin = before.last_t
    if begin is not None and before is not None and before.last_t is not None:
        # A sample that was taken proves that something ran, whatever was saved of it.
        begin = max(begin, before.last_t)
    if begin is not None and begin < boot.started_t:
        boot.off_begin, boot.off_end, boot.off_state = begin, boot.started_t, _state(boot)


def _state(boot: BootRow) -> str:
    if boot.cause in (ids.RESET_POWER, ids.RESET_BROWNOUT):
        return OFF_POWER
    # Where the platform can't tell why it started, an orderly end says that it was no cut.
    if boot.cause == ids.RESET_UNKNOWN and not boot.clean:
        return OFF_POWER
    return OFF_AGENT
