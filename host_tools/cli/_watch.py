"""`desalink status --watch`: the same table again and again, on any terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from host_tools.cli._status_table import heading, show, table
from host_tools.common.i18n import _

if TYPE_CHECKING:
    from host_tools.situation.overview import Overview
    from host_tools.store.queries import SlotStatus

_EVERY_S = 2.0
_AROUND = 7  # lines that are no slot: two of counts, four of the table, one of help
_UP, _DOWN, _PAGE_UP, _PAGE_DOWN = ("\x1b[A", "k"), ("\x1b[B", "j"), ("\x1b[5~",), ("\x1b[6~", " ")

Load = Callable[[], "tuple[Overview, list[SlotStatus]]"]


def watch(load: Load) -> None:
    """Show it until q or Ctrl-C; arrow keys, Page Up, Page Down and space scroll."""
    with contextlib.suppress(KeyboardInterrupt):
        if not sys.stdout.isatty():
            while True:
                show(*load())
                time.sleep(_EVERY_S)
        from rich.live import Live

        first = 0
        with _keys() as key, Live(screen=True, auto_refresh=False) as live:
            while True:
                found, slots = load()
                due = time.monotonic() + _EVERY_S
                while True:
                    height = max(1, live.console.height - _AROUND - len(found.ours()))
                    first = max(0, min(first, len(slots) - height))
                    live.update(_screen(found, slots, first, height, live.console.width))
                    live.refresh()
                    pressed = key(max(0.0, due - time.monotonic()))
                    if pressed == "q":
                        return
                    if pressed is None and time.monotonic() >= due:
                        break
                    steps = {_UP: -1, _DOWN: 1, _PAGE_UP: -height, _PAGE_DOWN: height}
                    first += sum(by for names, by in steps.items() if pressed in names)


def _screen(found: Overview, slots: list[SlotStatus], first: int, height: int, width: int) -> Any:
    from rich.console import Group
    from rich.text import Text

    shown = slots[first : first + height]
    parts: list[Any] = [
        Text(line, no_wrap=True, overflow="ellipsis")
        for line in (*found.ours(), *heading(found).splitlines())
    ]
    if shown:
        parts.append(table(found, shown, width))
    if len(slots) > len(shown):
        last = first + len(shown)
        parts.append(
            Text(
                _("{first} to {last} of {count}; arrows scroll, q ends").format(
                    first=first + 1, last=last, count=len(slots)
                )
            )
        )
    return Group(*parts)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str | None]]:
    """Waits so long for a key, and returns it; None: none was pressed."""
    if not sys.stdin.isatty():

        def wait(seconds: float) -> None:
            time.sleep(seconds)

        yield wait
        return
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)

    def read(seconds: float) -> str | None:
        ready, _writable, _failed = select.select([handle], [], [], seconds)
        return os.read(handle, 8).decode(errors="replace") if ready else None

    try:
        tty.setcbreak(handle)
        yield read
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
