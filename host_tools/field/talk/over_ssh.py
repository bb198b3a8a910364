"""A visit to a Linux device over SSH: the interpreter answers line by line."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host_tools.common.errors import printable
from host_tools.devices.boards import load_board
from host_tools.field.provision.errors import ProvisionError, understood
from host_tools.field.provision.linux_agent import LinuxAgent, identify
from host_tools.field.provision.ssh import Conversation, SshConnection, Target
from host_tools.field.talk.visitor import (
    IMPORT,
    LOG_BYTES,
    HeardNetwork,
    old_agent,
    strongest_first,
    unknown_form,
)
from host_tools.wire.vocabulary import METRICS

_SIGNAL = next(metric.id for metric in METRICS if metric.name == "signal")
_LOG_LINES = 20


class SshVisitor:
    """Over SSH: the interpreter runs in the agent's folder and answers line by line."""

    def __init__(self, agent: LinuxAgent, conversation: Conversation) -> None:
        self._agent = agent
        self._conversation = conversation
        if not self._answer(120):
            raise old_agent()

    @staticmethod
    def script(agent: LinuxAgent) -> str:
        code = (
            f"import json,sys\n{IMPORT}v=visit and visit.Visit({agent.config_path!r})\n"
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
        return strongest_first(scanned(said)) if said.strip() else None

    def figures(self, row: dict[int, int]) -> dict[int, int]:
        if _SIGNAL in row:
            return row
        said = self._agent.connection.execute("cat /proc/net/wireless").out.decode()
        level = re.search(r"^\s*\w+:\s+\S+\s+\S+\s+(-\d+)", said, re.MULTILINE)
        return {**row, _SIGNAL: int(level[1])} if level else row

    def log(self) -> str:
        command = f"{self._agent.log_command} 2>/dev/null | tail -n {_LOG_LINES}"
        said = self._agent.connection.execute(command).out
        return said.decode(errors="replace").strip()[-LOG_BYTES:]


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
    keys: Sequence[Path] = (),
    prefix: str = "",
) -> Iterator[SshVisitor]:
    """Stop the agent of a Linux device; it starts again after the block.

    Args:
        check: gets the connection and the device's unique id; it may refuse the host key.
        keys: files of private keys, instead of the user's own.
        prefix: of every path on the device; for tests.

    Raises:
        ProvisionError: the device can't be reached, or has no agent.
    """
    with SshConnection(target, keys) as connection:
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
