"""Several boards side by side, with a thread for each port."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from host_tools.common.files import write_file
from host_tools.common.i18n import _, ngettext
from host_tools.field.provision.dealer import Dealer
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.flow import STEPS, DeviceResult, Plan, Provisioning
from host_tools.field.provision.ports import list_ports
from host_tools.field.provision.screen import ProvisionScreen
from host_tools.field.provision.serial_device import over_cable
from host_tools.listings.files import csv_text
from host_tools.listings.model import Listing, positional_columns

_POLL_S = 0.25
_COLUMNS = ("mac", "slot", "village", "board", "key", "check", "state", "class", "next", "seconds")


class BatchProvisioning:
    """One run over a hub.

    Args:
        slots: to deal, in this order.
        pattern: of ports; None: all USB ports.
        count: end after this many boards; None: when `stop` is called.
        ask: ask for the village of each board.
    """

    def __init__(
        self,
        plan: Plan,
        slots: Sequence[str],
        pattern: str | None,
        count: int | None,
        screen: ProvisionScreen,
        ask: bool = False,
    ) -> None:
        self._plan = plan
        self._dealer = Dealer(plan, slots, screen.ask if ask else None)
        self._pattern = pattern
        self._count = count
        self._screen = screen
        self._begun = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self.summary = plan.work / f"summary-{datetime.now():%Y%m%d-%H%M%S}.csv"
        self.results: list[tuple[DeviceResult, Exception | None]] = []

    @property
    def failed(self) -> int:
        """How many boards failed at their last attempt."""
        last = {result.mac or result.port: error for result, error in self.results}
        return sum(error is not None for error in last.values())

    def stop(self) -> None:
        """Take no more boards; the running ones continue."""
        self._stop.set()

    def run(self) -> None:
        """Provision boards until `count` is reached or `stop` is called."""
        while not self._stop.is_set():
            present = list_ports(self._pattern)
            for port in [p for p in self._threads if p not in present]:
                if not self._threads[port].is_alive():
                    del self._threads[port]  # the next one there is another board
            for port in present:
                if port not in self._threads and not self._full():
                    self._begin(port)
            self._note()
            busy = any(thread.is_alive() for thread in self._threads.values())
            if self._full() and not busy:
                left = [port for port in list_ports(self._pattern) if port not in self._threads]
                if left:
                    self._screen.note_that(
                        _("Not taken, because of --count: {ports}").format(ports=", ".join(left))
                    )
                break
            self._stop.wait(_POLL_S)
        self.wait()

    def wait(self) -> None:
        for thread in list(self._threads.values()):
            while thread.is_alive():
                thread.join(0.5)  # short waits, so that Ctrl-C works

    def _full(self) -> bool:
        """Whether `count` boards were started, without those that were ready before."""
        if self._count is None:
            return False
        with self._lock:
            ready = sum(error is None and was_ready(found) for found, error in self.results)
            return self._begun - ready >= self._count

    def _begin(self, port: str) -> None:
        # A daemon thread, so that a second Ctrl-C ends at once. That is safe at any moment.
        thread = threading.Thread(target=self.provision, args=(port,), name=port, daemon=True)
        self._threads[port] = thread
        self._begun += 1
        thread.start()

    def provision(self, port: str) -> None:
        """Provision the board on a port, and record the result."""
        row = self._screen.row(port)
        dealt: list[str] = []

        def deal(mac: str) -> str:
            dealt.append(self._dealer.deal(mac))
            return dealt[-1]

        work = Provisioning(self._plan, port, partial(over_cable, port), deal, row)
        error: Exception | None = None
        try:
            work.run()
        except Exception as caught:  # a defect must not leave the board as running
            error = caught
            # Keep a slot that was dealt on the other port of a board with two sockets.
            if dealt:
                self._dealer.give_back(work.result.mac)
        row.end(result_text(work.result, error), error is not None)
        with self._lock:
            self.results.append((work.result, error))
            write_summary(self.summary, self.results)

    def _note(self) -> None:
        with self._lock:
            done = sum(error is None and not was_ready(r) for r, error in self.results)
        if self._count is None:
            text = ngettext(
                "{done} board done. Plug in more, or press Ctrl-C to end.",
                "{done} boards done. Plug in more, or press Ctrl-C to end.",
                done,
            ).format(done=done)
        else:
            text = _("{done} of {count} boards done.").format(done=done, count=self._count)
        self._screen.note_that(text)


def was_ready(result: DeviceResult) -> bool:
    """Whether the board was a village's device before this run."""
    return result.states.get("enrol") == "already"


def error_class(error: Exception) -> str:
    """A short name of the error, for tables."""
    return error.kind if isinstance(error, ProvisionError) else type(error).__name__


def result_text(result: DeviceResult, error: Exception | None) -> str:
    """The result for a board, in one line."""
    if error is not None:
        return str(error)
    return _("{village} ({slot}) is ready: key {kid}, label {check}").format(
        village=result.village, slot=result.slot, kid=result.kid, check=result.check
    )


def write_summary(path: Path, results: Sequence[tuple[DeviceResult, Exception | None]]) -> None:
    columns = positional_columns([*_COLUMNS, *STEPS])
    rows = [
        [
            result.mac,
            result.slot,
            result.village,
            result.board,
            result.kid,
            result.check,
            "failed" if error else "done",
            error_class(error) if error else "",
            str(error) if error else "",
            f"{result.seconds:.1f}",
            *(result.states.get(step, "") for step in STEPS),
        ]
        for result, error in results
    ]
    write_file(path, csv_text(Listing("summary", columns, rows)).encode())
