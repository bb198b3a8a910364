"""Runs the parts of the check on a board, and judges what they found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from host_tools.field.device_check.report import Figure
from host_tools.field.device_check.scripts import PARTS, TICKS, TICKS_PERIOD, whole
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.repl import Repl

PART_S = 240.0
_CLOCK_S = 5.0

Part = dict[str, Any]
Parts = Mapping[str, Part]

# What the agent needs: in bytes, with the radio on.
HEAP_NEEDED = 72 * 1024
TLS_NEEDED = 34_000
# So exact is a clock measured through a serial line for five seconds.
_CLOCK_PERMILLE = 10

# lwIP's answers, by which the agent's probes were made (tests/esp32/test_lwip.py).
_ANSWERS = {
    "open": {"connect": "E119", "poll out": 4, "connect again": "E127", "send nothing": "E11",
             "recv": "E11", "send": 1},
    "closed": {"connect": "E119", "poll out": 4, "connect again": "E128", "send nothing": "E11",
               "recv": "E104", "send": "E104"},
}  # fmt: skip
_RAW_PING = [28, 0x45, 0]
_SOCKETS = [11, "E23"]
_PROBE_OK = 0
_ENOENT = 2  # the board has no such folder


def check_board(port: str, progress: Callable[[str], None] = lambda part: None) -> Parts:
    """Interrupt the board on a port, run every part, and start the board again.

    A part that fails has its reason under "error"; the others go on.

    Raises:
        ProvisionError: the board does not answer at all.
    """
    found: dict[str, Part] = {}
    with ExitStack() as opened:
        repl = _entered(port, opened)
        try:
            failed = False
            for name, scripts in PARTS:
                progress(name)
                # A board that restarted after the part before may not have been ready.
                for _ in range(2 if failed else 1):
                    try:
                        found[name] = _run(repl, scripts)
                    except ProvisionError as error:
                        found[name] = {"error": str(error)}
                    failed = "error" in found[name]
                    if not failed:
                        break
                    # It may have restarted. With native USB its port restarts, too.
                    opened.close()
                    repl = _entered(port, opened)
            found["clock"]["permille"] = _drift(repl)
        finally:
            repl.start()
    return found


def _entered(port: str, opened: ExitStack) -> Repl:
    repl = opened.enter_context(Repl(port))
    repl.interrupt()
    return repl


def _run(repl: Repl, scripts: tuple[str, ...]) -> Part:
    found: Part = {}
    for script in scripts:
        repl.soft_reset()
        found |= _answer(repl.run(whole(script, int(time.time())), PART_S))
    return found


def _answer(said: str) -> Part:
    for line in said.splitlines():
        if line.startswith("ANSWER "):
            try:
                answer = json.loads(line[7:])
            except ValueError:
                break
            if isinstance(answer, dict):
                return answer
    return {"error": said.strip()[-200:] or "no answer"}


def _drift(repl: Repl) -> int | None:
    """By how many thousandths the board's clock is faster than this laptop's."""
    try:
        moments = []
        for wait in (_CLOCK_S, 0):
            before = time.monotonic()
            ticks = int(repl.run(TICKS))
            moments.append(((before + time.monotonic()) / 2, ticks))
            time.sleep(wait)
    except (ProvisionError, ValueError):
        return None
    (began, first), (ended, second) = moments
    real_ms = (ended - began) * 1000
    return round(1000 * ((second - first) % TICKS_PERIOD - real_ms) / real_ms)


# ---- what it means -------------------------------------------------------------------------


def figures(parts: Parts) -> list[Figure]:
    """What was found beside what the agent expects, in the order of the parts."""
    found = [
        Figure(name, part["error"], "", False) for name, part in parts.items() if "error" in part
    ]
    found += _of_memory(parts["memory"])
    clock = parts["clock"]
    drift = clock.get("permille")
    if drift is not None:
        expected = f"-{_CLOCK_PERMILLE} to {_CLOCK_PERMILLE}"
        near = abs(drift) <= _CLOCK_PERMILLE
        found.append(
            Figure("clock faster than the laptop's, in thousandths", drift, expected, near)
        )
    if "rtc_kept" in clock:
        kept = clock["rtc_kept"]
        found.append(Figure("RTC memory after a soft reset, bytes", kept, "not 0", kept > 0))
    for place, values in parts["flash"].items():
        if isinstance(values, dict) and values.get("error") != _ENOENT:
            took = f"{values.get('write_ms')} ms, read in {values.get('read_ms')} ms"
            same = values.get("same", False)
            shown = took if same else str(values)
            found.append(Figure(f"16 KiB written to {place}", shown, "read as written", same))
    if "scan_ms" in parts["radio"]:
        networks = parts["radio"]["networks"]
        best = f"{len(networks)}, {networks[0][0]} dBm" if networks else 0
        found.append(Figure("Wi-Fi networks, the strongest", best, "at least 1", bool(networks)))
    if "proof_ms" in parts["signature"]:
        took_ms = parts["signature"]["proof_ms"]
        found.append(Figure("public key and signature, ms", took_ms, "below 4000", took_ms < 4000))
    if parts["board"].get("platform") == "esp32":
        found += _of_sockets(parts["sockets"])
    found += _of_network(parts["network"])
    return found


def _of_memory(part: Part) -> list[Figure]:
    found = []
    if "heap_most" in part:
        most = part["heap_most"]
        found.append(
            Figure(
                "MicroPython's heap with the radio on, bytes",
                most,
                f"{HEAP_NEEDED}",
                most >= HEAP_NEEDED,
            )
        )
    free = part.get("idf_free_radio")
    if free:
        left = free[0] - max(0, HEAP_NEEDED - part["heap_free"] - part["heap_used"])
        found.append(
            Figure(
                "left for TLS beside the agent, bytes", left, f"{TLS_NEEDED}", left >= TLS_NEEDED
            )
        )
    return found


def _of_sockets(part: Part) -> list[Figure]:
    pairs: list[tuple[str, Any, Any]] = [
        (f"{port} port: {row}", part.get(port, {}).get(row), answer)
        for port, rows in _ANSWERS.items()
        for row, answer in rows.items()
    ]
    pairs.append(("a ping of itself", part.get("raw ping"), _RAW_PING))
    pairs.append(("the socket that is one too many", part.get("sockets"), _SOCKETS))
    return [Figure(name, got, f"{answer}", got == answer) for name, got, answer in pairs]


def _of_network(part: Part) -> list[Figure]:
    found = []
    for name, value in part.items():
        if name == "result":
            found.append(
                Figure("network and broker", f"{value}, {part['ms']} ms", "ok", value == "ok")
            )
        elif isinstance(value, list) and value and isinstance(value[0], list):
            times = [rtt / 10 for rtt, result in value if result == _PROBE_OK and rtt is not None]
            best = f"{min(times)} ms" if times else f"results {[result for _, result in value]}"
            found.append(Figure(f"probe of {name}", best, "an answer", bool(times)))
    return found
