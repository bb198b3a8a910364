"""A visit to a board, over the raw REPL of its serial line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from host_tools.common.errors import printable
from host_tools.field.provision.errors import ProvisionError, understood
from host_tools.field.provision.payload import CONFIG
from host_tools.field.provision.repl import Repl
from host_tools.field.talk.visitor import (
    IMPORT,
    LOG_BYTES,
    HeardNetwork,
    old_agent,
    strongest_first,
    unknown_form,
)


class SerialVisitor:
    """Over the raw REPL of a board, which is entered."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl
        repl.soft_reset()  # for an empty heap
        load = f"{IMPORT}v=visit and visit.Visit({CONFIG!r})\n"
        if not repl.answer(load, "bool(v)", 120):
            raise old_agent()

    def ask(self, call: str, timeout: float = 60) -> Any:
        return self._repl.answer("", f"v.{call}", timeout)

    def networks(self) -> list[HeardNetwork] | None:
        load = "try:\n import network\nexcept ImportError: network=None\n"
        scan = "network and [[list(x[0]),x[3],x[2]] for x in _w.scan()]"
        load += "if network:\n _w=network.WLAN(network.STA_IF)\n _w.active(True)\n"
        with understood(unknown_form):
            found = self._repl.answer(load, scan, 60)
            if found is None:
                return None
            return strongest_first(
                [
                    HeardNetwork(printable(bytes(n).decode(errors="replace")), int(s), int(c))
                    for n, s, c in found
                    if n
                ]
            )

    def figures(self, row: dict[int, int]) -> dict[int, int]:
        return row

    def log(self) -> str:
        said = self._repl.run(
            "try:\n with open('/device/journal/reason.txt') as f: print(f.read())\n"
            "except OSError: pass"
        )
        return said.strip()[-LOG_BYTES:]

    def close(self) -> None:
        self.ask("close()")


@contextmanager
def visit_serial(port: str) -> Iterator[SerialVisitor]:
    """Interrupt the agent of the board on a port; it starts again after the block.

    Raises:
        ProvisionError: the board can't be reached, or has no agent.
    """
    with Repl(port) as repl:
        repl.interrupt()
        try:
            visitor = SerialVisitor(repl)
            yield visitor
            visitor.close()
        except BaseException:
            with contextlib.suppress(ProvisionError):  # the first error counts
                repl.interrupt()  # Ctrl-C on the laptop leaves a call running
                repl.start()
            raise
        repl.start()
