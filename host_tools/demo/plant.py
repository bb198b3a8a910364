"""All the processes of a demo: a province with broker and ingest, and four villages around it."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from host_tools.broker.config import broker_files
from host_tools.broker.process import BrokerProcess, running_pid
from host_tools.demo import journals
from host_tools.demo.children import Child, DemoError, last_words
from host_tools.demo.sites import SITES, Ports, Site, free_port
from host_tools.demo.small_province import SmallProvince
from host_tools.province.registry import Registry
from host_tools.province.settings import Province


@dataclass
class Station:
    """One village with its device; `agent` is None while it does not run."""

    site: Site
    name: str
    command: tuple[str, ...]
    journal: Path
    count: journals.JournalCounter
    agent: Child | None = None

    @property
    def slot(self) -> str:
        return self.site.slot


class Plant:
    """Started by `start`, then disturbed, then ended in order.

    Attributes:
        stations: the villages, in the order of their codes.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        """folder: exists, is empty and takes all files. tell: receives sentences."""
        self._folder = folder
        self._tell = tell
        self._world: Child | None = None
        self._ingest: Child | None = None
        self._pages: Child | None = None
        self._broker: BrokerProcess | None = None
        self._broker_down = False
        self.stations: list[Station] = []

    def _log(self, name: str) -> Path:
        return self._folder / "logs" / f"{name}.log"

    def start(self) -> Province:
        """Found the province, enrol four devices, start everything.

        Raises:
            DesalinkError: something does not start.
        """
        self._tell("founding a province with four villages")
        (self._folder / "logs").mkdir()
        self._small = SmallProvince(self._folder, [site.code for site in SITES], port=free_port())
        self.province = self._small.province
        self._tell("starting the broker, the ingest and the world around the villages")
        self.start_broker()
        ports = self._start_world()
        self._ingest = Child("ingest", self._small.ingest_command(), self._log("ingest"))
        self._start_pages()
        for site in SITES:
            self._enrol(site, ports[site.slot])
        for station in self.stations:
            self.start_agent(station)
        self._tell("the agents run; their first reports are due in ten seconds")
        return self.province

    def open_registry(self) -> Registry:
        """The province's registry, which signs what is changed."""
        return self._small.open_registry()

    def _start_world(self) -> dict[str, Ports]:
        broker = (self.province.broker.bind, self.province.broker.port)
        self._world = Child(
            "world around the villages",
            [sys.executable, "-m", "host_tools.demo.world"],
            self._log("world"),
            talk=True,
        )
        description = {
            site.slot: site.surroundings(self._surroundings(site), broker) for site in SITES
        }
        ports: dict[str, Ports] = json.loads(self._world.ask(json.dumps(description)))
        return ports

    def _start_pages(self) -> None:
        """Serve the pages, where their packages are installed."""
        if importlib.util.find_spec("starlette") is None:
            return
        from host_tools.pages import access
        from host_tools.pages.records import VIEWER, PagesBook

        password, port = access.new_password(), free_port()
        with PagesBook.open(self.province.pages_database) as book:
            access.add_account(book, "demo", VIEWER, (), int(time.time()))
            account = book.account("demo")
            assert account is not None
            book.set_password(account.id, access.hash_password(password), must_change=False)
        command = self._small.serve_command(port)
        self._pages = Child("pages", command, self._log("pages"))
        self._tell(f"the wall: http://127.0.0.1:{port} (name demo, password {password})")

    def _enrol(self, site: Site, ports: Ports) -> None:
        folder = self._small.device_folder(site.code)
        settings = site.settings(self._surroundings(site), ports)
        name, command = self._small.enrol(site.code, site.interpreter, settings)
        journal = folder / "state" / "journal"
        self.stations.append(
            Station(site, name, command, journal, journals.JournalCounter(journal))
        )
        self._tell(f"{name}: a device on {site.device} has made its key")

    def _surroundings(self, site: Site) -> Path:
        return self._folder / "surroundings" / site.slot

    def start_agent(self, station: Station) -> None:
        """Start a village's agent."""
        station.agent = Child(
            f"agent of {station.name}", station.command, self._log(f"agent-{station.slot}")
        )

    def start_broker(self) -> None:
        """Start the broker and wait until it listens.

        Raises:
            BrokerError: it does not.
        """
        self._small.start_broker(self._log("broker"))
        self._broker = self._small.broker
        self._broker_down = False

    def set_upstream(self, station: Station, *, cut: bool) -> None:
        """Cut a village's upstream, or mend it."""
        assert self._world is not None
        self._world.ask(f"{'cut' if cut else 'mend'} {station.slot}")

    def kill_agent(self, station: Station) -> None:
        """End a village's agent as a power cut does."""
        assert station.agent is not None
        station.agent.kill9()
        station.agent = None

    def kill_broker(self) -> None:
        """End the broker as a power cut does."""
        assert self._broker is not None
        self._broker_down = True
        self._broker.kill()

    def check(self) -> None:
        """Check that everything runs that should run.

        Raises:
            DemoError: a process has ended that nobody had disturbed.
        """
        for child in (self._world, self._ingest, self._pages, *(s.agent for s in self.stations)):
            if child is not None:
                child.check()
        if not self._broker_down and running_pid(broker_files(self.province)) is None:
            raise DemoError(f"The broker ended on its own: {last_words(self._log('broker'))}")

    def end_agents(self, seconds: float) -> None:
        """Ask all agents to stop, as a service manager does, and wait for all of them."""
        for station in self.stations:
            if station.agent is not None:
                # MicroPython has no signal handlers, but Ctrl-C ends it.
                micropython = station.site.interpreter == "micropython"
                station.agent.signal(signal.SIGINT if micropython else signal.SIGTERM)
        end = time.monotonic() + seconds
        for station in self.stations:
            if station.agent is not None:
                station.agent.close(end - time.monotonic())
                station.agent = None

    def end_ingest(self, seconds: float) -> None:
        """Have the ingest drain and end.

        Raises:
            DemoError: it ended with an error, or did not end in time.
        """
        assert self._ingest is not None
        ingest, self._ingest = self._ingest, None
        ingest.signal(signal.SIGTERM)
        ingest.close(seconds)
        if ingest.ended:
            raise DemoError(
                f"The ingest ended with code {ingest.ended} when it was asked to stop: "
                f"{last_words(ingest.log)}"
            )

    def close(self) -> None:
        """End all that still runs, in order where it takes no longer than seconds."""
        self.end_agents(3.0)
        for child, seconds in ((self._pages, 3.0), (self._ingest, 5.0), (self._world, 2.0)):
            if child is not None:
                child.signal(signal.SIGTERM)
                child.close(seconds)
        if self._broker is not None:
            self._broker.stop(5.0)
