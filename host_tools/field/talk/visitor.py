"""Asking a device while its agent does not run: over its serial line, or over SSH.

The device's own half is agent/visit.py. The agent is interrupted for the visit and started again.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from host_tools.common.errors import printable
from host_tools.common.i18n import _
from host_tools.devices.boards import load_board
from host_tools.field.provision.errors import ProvisionError, understood
from host_tools.field.provision.linux_agent import LinuxAgent, identify
from host_tools.field.provision.payload import CONFIG
from host_tools.field.provision.repl import Repl
from host_tools.field.provision.ssh import Conversation, SshConnection, Target
from host_tools.wire.vocabulary import METRICS

_SIGNAL = next(metric.id for metric in METRICS if metric.name == "signal")
_LOG_LINES = 20
_LOG_BYTES = 4000
_IMPORT = "try:\n from agent import visit\nexcept ImportError:\n visit=None\n"


class HeardNetwork(NamedTuple):
    """A Wi-Fi network in reach. signal: dBm; channel: None if unknown."""

    name: str
    signal: int
    channel: int | None


class Visitor(Protocol):
    """A visit to one device."""

    def ask(self, call: str, timeout: float = 60) -> Any:
        """The answer to a call of `agent.visit.Visit`.

        Raises:
            ProvisionError: the line is gone, or the answer is wrong or missing.
        """

    def networks(self) -> list[HeardNetwork] | None:
        """The Wi-Fi networks in reach, the strongest first; None: the device can't tell."""

    def figures(self, row: dict[int, int]) -> dict[int, int]:
        """Figures of a round, completed with what only the platform can tell."""

    def log(self) -> str:
        """The end of the agent's log, or why it ended last."""


def unknown_form(reason: str = "") -> ProvisionError:
    """The error for an answer that no version of the agent gives."""
    return ProvisionError(
        "device", _("The device answers in an unknown form; run the same command again.")
    )


def _old_agent() -> ProvisionError:
    return ProvisionError(
        "device",
        _(
            "The device's agent is from an earlier version, or it has none; provision it again "
            "with a new kit, then run the same command."
        ),
    )


def _sorted(found: list[HeardNetwork]) -> list[HeardNetwork]:
    return sorted(found, key=lambda network: -network.signal)


class SerialVisitor:
    """Over the raw REPL of a board, which is entered."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl
        repl.soft_reset()  # for an empty heap
        load = f"{_IMPORT}v=visit and visit.Visit({CONFIG!r})\n"
        if not repl.answer(load, "bool(v)", 120):
            raise _old_agent()

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
            return _sorted(
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
        return said.strip()[-_LOG_BYTES:]

    def close(self) -> None:
        """End the visit."""
        self.ask("close()")


class SshVisitor:
    """Over SSH: the interpreter runs in the agent's folder and answers line by line."""

    def __init__(self, agent: LinuxAgent, conversation: Conversation) -> None:
        self._agent = agent
        self._conversation = conversation
        if not self._answer(120):
            raise _old_agent()

    @staticmethod
    def script(agent: LinuxAgent) -> str:
        """What runs on the device."""
        code = (
            f"import json,sys\n{_IMPORT}v=visit and visit.Visit({agent.config_path!r})\n"
            "print('ANSWER',json.dumps(bool(v)))\n"
            "for line in sys.stdin: print('ANSWER',json.dumps(eval('v.'+line.strip())))\n"
            "if v: v.close()\n"
        )
        return agent.command("-c " + shlex.quote(code))

    def ask(self, call: str, timeout: float = 60) -> Any:
        self._conversation.say(call)
        return self._answer(timeout)

    def _answer(self, timeout: float) -> Any:
        while (line := self._conversation.hear(timeout)) is not None:
            if line.startswith("ANSWER "):
                with understood(unknown_form):
                    return json.loads(line[7:])
        raise self._agent.refused(self._conversation.errors or "it gave no answer")

    def networks(self) -> list[HeardNetwork] | None:
        said = self._agent.connection.execute(_SCAN, timeout=60).out.decode(errors="replace")
        return _sorted(scanned(said)) if said.strip() else None

    def figures(self, row: dict[int, int]) -> dict[int, int]:
        if _SIGNAL in row:
            return row
        said = self._agent.connection.execute("cat /proc/net/wireless").out.decode()
        level = re.search(r"^\s*\w+:\s+\S+\s+\S+\s+(-\d+)", said, re.MULTILINE)
        return {**row, _SIGNAL: int(level[1])} if level else row

    def log(self) -> str:
        command = f"{self._agent.log_command} 2>/dev/null | tail -n {_LOG_LINES}"
        said = self._agent.connection.execute(command).out
        return said.decode(errors="replace").strip()[-_LOG_BYTES:]


# `iw` is on most systems, `iwinfo` on OpenWrt.
_SCAN = """\
for n in /sys/class/net/*/wireless; do
	n="${n%/wireless}"
	n="${n##*/}"
	iw dev "$n" scan 2>/dev/null || iwinfo "$n" scan 2>/dev/null
done
true
"""
_FIELD = re.compile(
    r"^(?:BSS |Cell )(?P<cell>.)|\b(?:signal|Signal): (?P<signal>-?\d+)"
    r"|(?:ESSID: \"|SSID: )(?P<name>[^\"\n]+)"
    r"|\bChannel: (?P<channel>\d+)|DS Parameter set: channel (?P<other>\d+)"
)


def scanned(said: str) -> list[HeardNetwork]:
    """The networks in the output of `iw dev X scan` or `iwinfo X scan`."""
    cells: list[dict[str, str]] = []
    for line in said.splitlines():
        for match in _FIELD.finditer(line):
            found = {key: value for key, value in match.groupdict().items() if value}
            if "cell" in found:
                cells.append({})
            elif cells:
                cells[-1].update(found)
    return [
        HeardNetwork(
            printable(cell["name"]),
            int(cell["signal"]),
            int(channel) if (channel := cell.get("channel") or cell.get("other")) else None,
        )
        for cell in cells
        if cell.get("name", "unknown") != "unknown" and "signal" in cell
    ]


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


@contextmanager
def visiting(agent: LinuxAgent) -> Iterator[SshVisitor]:
    """A visit to a device; its agent is stopped and stays so."""
    for _attempt in range(3):  # a slow router takes its time
        agent.stop()
        if not agent.running():
            break
    with agent.connection.conversation(SshVisitor.script(agent)) as conversation:
        yield SshVisitor(agent, conversation)


@contextmanager
def visit_ssh(
    target: Target,
    check: Callable[[SshConnection, str], None] = lambda connection, unique_id: None,
    options: Sequence[str] = (),
    prefix: str = "",
) -> Iterator[SshVisitor]:
    """Stop the agent of a Linux device; it starts again after the block.

    Args:
        check: gets the connection and the device's unique id; it may refuse the host key.
        options: further arguments for ssh.
        prefix: of every path on the device; for tests.

    Raises:
        ProvisionError: the device can't be reached, or has no agent.
    """
    with SshConnection(target, options) as connection:
        identity = identify(connection, prefix)
        check(connection, identity.unique_id)
        board = load_board(identity.board or "raspberry-pi")
        agent = LinuxAgent(connection, identity, board, prefix)
        try:
            with visiting(agent) as visitor:
                yield visitor
        except BaseException:
            with contextlib.suppress(ProvisionError):  # the first error counts
                agent.start()
            raise
        agent.start()
