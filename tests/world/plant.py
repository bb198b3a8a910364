"""A small province of real parts, each a process that can be killed: broker, ingest, agents.

Everything is set by configuration only; what runs is what runs in a village and in the province.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host_tools.broker.config import broker_files
from host_tools.demo.children import Child
from host_tools.demo.small_province import SmallProvince
from tests.support import PATIENCE_S, free_port, rows
from tests.world.journals import Accepted

VILLAGES = ("6403112001", "6403112002", "6403112003", "6403112004")

# A report a second, and back within a second after a broken connection.
SETTINGS: Mapping[str, Any] = {
    "broker.backoff_max_s": 1,
    "cadence.round_s": 1,
    "cadence.sample_s": 1,
    "cadence.report_samples": 1,
    "clock.source": "system",
    "link.interface": "lo",
    "link.gateway": "off",
    "link.targets": ["127.0.0.1"],
    "link.timeout_ms": 900,
    "link.dns": "off",
    "usage.interface": "lo",
    "usage.arp": None,
    "journal.capacity": 4 << 20,
}

_DEADLINE_S = 2 * PATIENCE_S
_POLL_S = 0.1

Key = tuple[str, bytes, int]
"""A report's name: slot, stream, seq."""


class TooLate(AssertionError):
    """Something that was awaited has not come."""


class Part:
    """A process that is started, killed and started again; it says what it does in one log."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.kills = 0
        self._meant_to_run = self._may_die = False
        self._said = 0
        self._child: Child | None = None

    def start(self, command: Sequence[str] | None = None) -> None:
        """Start it, with another command just this once if one is given."""
        assert not self.running, f"{self.name} runs already"
        self._said = len(self.text)
        self._meant_to_run, self._may_die = True, command is not None
        self._child = Child(self.name, command or self.command, self.log)

    @property
    def running(self) -> bool:
        """Whether it is alive now."""
        return self._child is not None and self._child.ended is None

    @property
    def text(self) -> str:
        """All that it has said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def connected(self) -> bool:
        """Whether it has said so since it was started."""
        return "connected" in self.text[self._said :]

    def check(self) -> None:
        """Fail if it has ended on its own, or met with something that it did not foresee."""
        said = self.text
        if self._meant_to_run and not self._may_die:
            assert self.running, f"{self.name} ended on its own: {said[-3000:]}"
        for word in ("Traceback", "error: ", "MemoryError"):
            assert word not in said, f"{self.name}: {said[max(0, said.find(word) - 500) :][:3000]}"

    def kill9(self) -> None:
        """End it as a power cut does."""
        self.check()
        assert self._child is not None
        self._meant_to_run = False
        self._child.kill9()
        self.kills += 1

    def died(self) -> bool:
        """Whether it has killed itself, as it was asked to."""
        assert self._child is not None
        code = self._child.ended
        assert code in (None, -signal.SIGKILL), f"{self.name}: {code}: {self.text[-2000:]}"
        self.kills += code is not None
        return code is not None

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE_S) -> None:
        """Ask it to end, as a service manager does; it must do so without a complaint."""
        self.check()
        assert self._child is not None
        self._meant_to_run = False
        self._child.signal(number)
        assert self._child.wait(timeout), f"{self.name} does not stop: {self.text[-2000:]}"
        code = self._child.ended
        assert code == 0, f"{self.name} ended with {code}: {self.text[-2000:]}"

    def clear_away(self) -> None:
        """Leave nothing running, whatever has happened."""
        if self._child is not None and self._child.ended is None:
            self._child.kill9()


class Agent(Part):
    """A device: its agent's process and its directory."""

    def __init__(self, slot: str, interpreter: str, command: Sequence[str], folder: Path) -> None:
        super().__init__(f"agent {slot} ({interpreter})", command, folder.with_suffix(".log"))
        self.slot = slot
        self.folder = folder
        self.journal = folder / "state" / "journal"
        self.accepted = Accepted(self.journal)

    def stop(self, number: int = signal.SIGINT, timeout: float = PATIENCE_S) -> None:
        """With Ctrl-C: MicroPython has no signal handlers, and that is what it understands."""
        super().stop(number, timeout)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change keys of its configuration, for its next start."""
        path = self.folder / "config.json"
        config = json.loads(path.read_text())
        for key, value in settings.items():
            section, _, name = key.rpartition(".")
            (config[section] if section else config)[name] = value
        path.write_text(json.dumps(config))

    def journal_size(self) -> int:
        """Bytes in its journal, in files that are not just being given up."""
        size = 0
        for path in self.journal.glob("*.seg"):
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def present(self) -> set[tuple[bytes, int]]:
        """What its journal holds just now."""
        now = Accepted(self.journal)
        now.look()
        return set(now.reports)

    def streams(self) -> list[bytes]:
        """The streams that its journal was seen to hold, in no order."""
        return list({stream for stream, _ in self.accepted.reports})


@dataclass
class Plant:
    """A province with its broker, ingest and devices; a context manager that clears them away.

    random: the same in every run; DESALINK_SEED gives another one.
    small, province: what it was founded as.
    """

    folder: Path
    devices: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(int(os.environ.get("DESALINK_SEED", "1")))
        self.broker_kills = 0
        self._broker_runs = False

    def __enter__(self) -> Plant:
        codes = VILLAGES[: len(self.devices)]
        self.folder.mkdir(exist_ok=True)
        self.small = SmallProvince(self.folder, codes, port=free_port())
        self.province = self.small.province
        self.agents: list[Agent] = []
        for code, interpreter in zip(codes, self.devices, strict=True):
            _, command = self.small.enrol(code, interpreter, {**SETTINGS, **self.settings})
            folder = self.small.device_folder(code)
            self.agents.append(Agent(folder.name, interpreter, command, folder))
        self._broker = self.small.broker
        self.ingest = Part("ingest", self.small.ingest_command(), self.folder / "ingest.log")
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        for part in (*self.agents, self.ingest):
            part.clear_away()
        if self._broker_runs:
            self._broker.kill()
        if error is not None:
            for part in (*self.agents, self.ingest):
                print(f"---- {part.name}\n{part.text[-3000:]}")

    def start(self) -> None:
        """Start everything."""
        self.start_broker()
        self.ingest.start()
        for agent in self.agents:
            agent.start()

    def start_broker(self) -> None:
        """Start the broker and wait until it serves."""
        self._broker_runs = True
        self.small.start_broker(self.folder / "broker.log")

    def kill_broker(self, *, forget: bool = False) -> None:
        """Kill it with -9. forget: what it had on its disk is lost as well."""
        self._broker.kill()
        self._broker_runs = False
        self.broker_kills += 1
        if forget:
            shutil.rmtree(broker_files(self.province).data)
            broker_files(self.province).data.mkdir(mode=0o700)

    def stop_broker(self) -> None:
        """End it in order: it saves its sessions."""
        self._broker.stop()
        self._broker_runs = False

    def put_back_database(self, content: bytes | None) -> None:
        """Replace the database by a copy, or by none; the ingest is stopped."""
        assert not self.ingest.running
        database = self.province.database
        for name in (database.name, database.name + "-wal", database.name + "-shm"):
            database.with_name(name).unlink(missing_ok=True)
        if content is not None:
            database.write_bytes(content)

    def save_broker(self) -> None:
        """Have it write down its sessions, as it does every few minutes, and wait for that."""
        path = broker_files(self.province).data / "mosquitto.db"
        before = path.stat().st_mtime_ns if path.exists() else 0
        self._broker.signal(signal.SIGUSR1)
        self.wait_until(lambda: path.exists() and path.stat().st_mtime_ns != before)

    def start_dying_ingest(self, moment: str, count: int) -> None:
        """Start an ingest that kills itself at a moment of `dying_ingest.py`."""
        command = [sys.executable, "-m", "tests.system.dying_ingest", moment, str(count)]
        self.ingest.start([*command, "-C", str(self.province.directory), "ingest"])

    def be_offline(self, agent: Agent, what: str, count: int) -> None:
        """Have a device that is stopped make reports as if cut off for long; see `offline.py`."""
        assert not agent.running
        command = [sys.executable, "-m", "tests.system.offline", str(agent.folder / "config.json")]
        part = Part(f"offline {agent.slot}", [], self.folder / "offline.log")
        part.start([*command, what, str(count)])
        self.wait_until(part.died, "offline for long enough")
        agent.kills += 1

    def restart_randomly(self, parts: Sequence[Part], kills: int, longest_s: float) -> None:
        """Kill parts at random moments and start them again at once.

        An agent dies, every other time, in the moment in which something was written to its
        journal: between writing and sending, or in the middle of either.

        Args:
            kills: of all parts together.
            longest_s: a part lives between nothing and so long after its start.
        """
        fates = {id(part): self._fate(part, longest_s) for part in parts}
        while kills:
            for part in parts:
                if kills and fates[id(part)]():
                    part.kill9()
                    part.start()
                    fates[id(part)] = self._fate(part, longest_s)
                    kills -= 1
            self.look()
            time.sleep(0.005)

    def interrupt_randomly(self, agent: Agent, times: int) -> None:
        """Stop a device again and again in the middle of what it does, and start it again."""
        for _ in range(times):
            self.wait_until(self._writes(agent), "written")
            time.sleep(self.random.uniform(0, 0.2))
            self.look()
            agent.stop()
            agent.start()

    def _fate(self, part: Part, longest_s: float) -> Callable[[], bool]:
        """Whether it is time for a part that was started now to die."""
        due = time.monotonic() + self.random.uniform(0, longest_s)
        if not isinstance(part, Agent) or self.random.random() < 0.5:
            return lambda: time.monotonic() >= due
        return self._writes(part)

    def _writes(self, part: Agent) -> Callable[[], bool]:
        """Whether it has written to its journal once more, or a few times, since this call."""
        size, left = part.journal_size(), self.random.randrange(1, 4)

        def written() -> bool:
            nonlocal size, left
            now = part.journal_size()
            size, left = now, left - (now != size)
            return left == 0

        return written

    def look(self) -> None:
        """Take notice of what the journals hold now."""
        for agent in self.agents:
            agent.accepted.look()

    def accepted(self) -> dict[Key, bytes]:
        """All that journals were ever seen to hold."""
        return {
            (agent.slot, *key): message
            for agent in self.agents
            for key, message in agent.accepted.reports.items()
        }

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query; none while there is no database."""
        return rows(self.small.province.database, sql, *values)

    def stored(self) -> dict[Key, bytes]:
        """All reports in the database."""
        rows = self.query(
            "SELECT slot, stream, seq, message FROM reports "
            "JOIN streams ON streams.id = stream_id JOIN slots ON slots.id = slot_id"
        )
        return {(slot, stream, seq): message for slot, stream, seq, message in rows}

    def stored_of(self, agent: Agent) -> int:
        """How many reports of a device are in the database."""
        return sum(slot == agent.slot for slot, _, _ in self._stored_keys())

    def _stored_keys(self) -> set[Key]:
        rows = self.query(
            "SELECT slot, stream, seq FROM reports JOIN streams ON streams.id = stream_id "
            "JOIN slots ON slots.id = slot_id"
        )
        return set(rows)

    def missing(self) -> set[Key]:
        """What a journal has accepted and the province has not stored."""
        self.look()
        return self.accepted().keys() - self._stored_keys()

    def duplicates(self) -> int:
        """How many reports arrived more than once."""
        return sum(count for (count,) in self.query("SELECT duplicates FROM streams"))

    def wait_until(
        self,
        condition: Callable[[], Any],
        what: Callable[[], object] | str = "",
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        """Wait until something is so; fails and says what is not, if that takes too long."""
        end = time.monotonic() + deadline_s
        while not condition():
            self.look()
            for part in (*self.agents, self.ingest):
                part.check()
            if time.monotonic() > end:
                missing = what() if callable(what) else what
                raise TooLate(f"after {deadline_s:.0f} s still not: {missing}")
            time.sleep(_POLL_S)

    def wait_for_reports(self, count: int, agents: Sequence[Agent] | None = None) -> None:
        """Wait until each device has so many more reports stored than now."""
        agents = self.agents if agents is None else agents
        wanted = {agent.slot: self.stored_of(agent) + count for agent in agents}
        self.wait_until(
            lambda: all(self.stored_of(agent) >= wanted[agent.slot] for agent in agents),
            f"{count} more reports of each of {sorted(wanted)}",
        )

    def wait_for_journals(self, count: int, agents: Sequence[Agent] | None = None) -> None:
        """Wait until each device has written so many more reports than now, wherever they go."""
        agents = self.agents if agents is None else agents
        self.look()
        wanted = [len(agent.accepted.reports) + count for agent in agents]
        self.wait_until(
            lambda: all(
                len(agent.accepted.reports) >= number
                for agent, number in zip(agents, wanted, strict=True)
            ),
            f"{count} more reports in each journal",
        )

    def wait_for_storage(
        self, gone: Set[Key] = frozenset(), deadline_s: float = _DEADLINE_S
    ) -> None:
        """Wait until nothing is missing but what is gone."""
        self.wait_until(
            lambda: self.missing() <= gone,
            lambda: f"stored: {sorted(self.missing() - gone)[:20]}",
            deadline_s,
        )

    def settle(self, gone: Set[Key] = frozenset()) -> None:
        """End the devices in order once all is stored, and wait for their last reports."""
        running = [agent for agent in self.agents if agent.running]
        while True:
            self.wait_for_storage(gone)
            self.wait_until(lambda: all(agent.connected for agent in running), "connected")
            for agent in running:
                agent.stop()
            try:
                return self.wait_for_storage(gone, deadline_s=5)
            except TooLate:
                # An interrupt that hits MicroPython's collector is as a kill: nothing is lost, but
                # it takes another start to send what was just written.
                for agent in running:
                    agent.start()

    def finish(self, gone: Set[Key] = frozenset()) -> None:
        """Settle, wait until the ingest has derived the rest, and end everything in order.

        Args:
            gone: what will never be stored.
        """
        self.settle(gone)
        self.wait_until(self._derived, "derived")
        self.ingest.stop()
        self.stop_broker()

    def _derived(self) -> bool:
        return not self.query("SELECT slot_id FROM dirty UNION ALL SELECT slot_id FROM stale")
