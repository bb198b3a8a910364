"""`python -m tests.bench [--quick] [--only PART]`: what was measured, in one table and in JSON.

build/bench.json holds every figure under a key that stays the same from version to version.
Nothing here passes or fails: figures are for people, and to compare two versions on one machine.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests import support
from tests.bench import (
    agent_ram,
    alerting,
    archive,
    flood,
    heap,
    ingest,
    month,
    operator,
    pages,
    provision,
    queries,
    rounds,
    signing,
    stick,
    wire,
)
from tests.sim.herd import herd

OUTPUT = support.ROOT / "build" / "bench.json"

Figures = dict[str, Any]
# What it is, what was measured, what to compare it with.
Row = tuple[str, str, str]


def _bytes(count: float) -> str:
    return f"{count:,.0f} B" if count < 10_000 else f"{count / 1000:,.1f} kB"


def _split(parts: dict[str, int]) -> str:
    order = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{what} {_bytes(size)}" for what, size in order)


def _size(quick: bool) -> tuple[Figures, list[Row]]:
    with tempfile.TemporaryDirectory() as folder:
        sizes = agent_ram.mpy_sizes(Path(folder))
    core, parts = agent_ram.by_part(sizes)
    largest = max(sizes, key=lambda module: sizes[module])
    figures = {
        "agent_mpy_bytes": sum(sizes.values()),
        "agent_device_mpy_bytes": sum(sizes[m] for m in agent_ram.needed(agent_ram.DEVICE)),
        "core_mpy_bytes": core,
        "agent_modules": len(sizes),
    }
    rows = [
        (
            "agent: .mpy for ESP32, what every device loads",
            f"{core:,} B",
            f"all that one on Wi-Fi with SNMP, portal and budget gets:"
            f" {figures['agent_device_mpy_bytes']:,} B, target: 65,536 B; with every source,"
            f" {len(sizes)} modules: {figures['agent_mpy_bytes']:,} B, target: 100,000 B;"
            f" the largest is {largest}, {sizes[largest]:,} B",
        )
    ]
    words = {
        "source": "what all sources share",
        "turns": "for several sources",
        "rare": "what is loaded rarely",
    }
    for name, size in parts.items():
        is_source = name in agent_ram.SOURCES
        figures[f"source_{name}_mpy_bytes" if is_source else f"{name}_mpy_bytes"] = size
        word = words.get(name, f"source {name}" if is_source else name)
        rows.append((f"  {word}", f"{size:,} B", ""))
    return figures, rows


def _heap(quick: bool) -> tuple[Figures, list[Row]]:
    found = heap.run(quick)
    return found, [
        (
            "agent: heap in use, connected and idle",
            _bytes(found["steady_heap_bytes"]),
            f"peak between collections: {_bytes(found['agent_peak_heap_bytes'])}",
        ),
        (
            "agent: smallest heap in which it runs, from .mpy",
            _bytes(found["smallest_heap_mpy_bytes"]),
            f"compiling itself from source: {_bytes(found['smallest_heap_bytes'])};"
            f" compiled in: {_bytes(found['smallest_heap_rom_bytes'])};"
            " target: 163.8 kB (64-bit; an ESP32's pointers are half as long)",
        ),
        *[
            (
                f"  with {'all sources' if name == 'all' else f'source {name}'}",
                _bytes(found[f"smallest_heap_{name}_mpy_bytes"]),
                f"compiled in: {_bytes(found[f'smallest_heap_{name}_rom_bytes'])}",
            )
            for name in [*agent_ram.SOURCES, "all"]
            if f"smallest_heap_{name}_mpy_bytes" in found
        ],
    ]


def _signing(quick: bool) -> tuple[Figures, list[Row]]:
    found = signing.run(quick)
    return found, [
        (
            "agent: one Ed25519 signature, 400 bytes, MicroPython",
            f"{found['sign_ms']:.1f} ms",
            f"textbook double-and-add: {found['plain_ms']:.1f} ms;"
            f" other tasks wait at most {found['pause_ms']:.2f} ms",
        )
    ]


def _wire(quick: bool) -> tuple[Figures, list[Row]]:
    found = wire.run(3 if quick else 24)
    total = sum(found["wire"].values())
    quiet = sum(wire.run(3 if quick else 6, samples=15)["wire"].values())
    own = rounds.run()
    counted, gateway = own.pop("counted"), own.pop("gateway")
    own["reports"] = total
    packets = sum(found["packets"].values())
    flash = found["flash"]
    split = _split(found["wire"])
    parts = ", ".join(f"{what} {size:g}" for what, size in list(found["parts"].items()))
    seen = "at the IP level" if found["namespaces"] else "ESTIMATED at a relay: no namespaces here"
    figures = {
        "wire_bytes_per_day": total,
        "wire_bytes_per_day_quiet": quiet,
        "wire_packets_per_day": packets,
        "wire_reports_per_day": found["reports"],
        "wire_split": found["wire"],
        "report_parts": found["parts"],
        "wire_counted_in_namespaces": found["namespaces"],
        "own_bytes_per_day": sum(own.values()),
        "own_bytes_parts": own,
        "rounds_bytes_per_day_counted": counted,
        "gateway_bytes_per_day": gateway,
        "journal_bytes_per_day": flash["journal_bytes"],
        "journal_writes_per_day": flash["journal_writes"],
        "flash_writes_per_day": flash["programs"],
        "flash_bytes_per_day": flash["programmed"],
        "flash_erases_per_day": flash["erases"],
        "json_bytes_per_day": found["json"],
    }
    return figures, [
        (
            f"village and day on the wire, {seen}",
            _bytes(total),
            f"target: 150 kB; JSON, a message a sample, unsigned: {_bytes(found['json'])};"
            f" without TCP timestamps (as ESP32): {_bytes(total - 12 * packets)}",
        ),
        ("  of it", "", split),
        (
            "  in quiet mode, reports of 15 minutes",
            _bytes(quiet),
            "target: 77 kB; keepalive 1,000 s",
        ),
        (
            "village and day, with all rounds of the ladder and every rung on",
            _bytes(sum(own.values())),
            f"target: 1.3 MB; {_split(own)}; the agent counts {_bytes(counted)} for the rounds;"
            f" beside it pings to the gateway, which stay in the village: {_bytes(gateway)}",
        ),
        ("  a report's bytes", "", parts),
        (
            "village and day in the journal",
            _bytes(flash["journal_bytes"]),
            f"{flash['journal_writes']} records, each synced",
        ),
        (
            "village and day on flash (LittleFS): programs",
            f"{flash['programs']:,}",
            f"{_bytes(flash['programmed'])}, {flash['erases']} erases of 4 KiB; of these for the"
            f" minute's record: {flash['alive_programs']:,}, {_bytes(flash['alive_programmed'])},"
            f" {flash['alive_erases']}",
        ),
    ]


def _herd(quick: bool) -> tuple[Figures, list[Row]]:
    figures: Figures = {}
    rows = []
    for key, back, what in (
        ("herd", False, "power is back"),
        ("herd_broker", True, "the broker is back"),
    ):
        # The worst of ten.
        connected, attempts = max((herd(seed, back=back) for seed in range(10)), key=_last)
        minutes = [sum(at <= 60 * m for at in connected) for m in range(1, 11)]
        figures[f"{key}_connected_s"] = round(connected[-1])
        figures[f"{key}_attempts"] = attempts
        figures[f"{key}_by_minute"] = minutes
        rows.append(
            (
                f"841 devices, {what}: all connected (model)",
                f"{connected[-1]:.0f} s",
                f"target: 600 s at 20 handshakes a second; {attempts:,} attempts; connected after"
                f" each minute: {', '.join(map(str, minutes[: round(connected[-1] / 60) + 1]))}",
            )
        )
    return figures, rows


def _last(outcome: tuple[list[float], int]) -> float:
    return outcome[0][-1]


def _ingest(quick: bool) -> tuple[Figures, list[Row]]:
    found = ingest.run(reports=12_000 if quick else 20_000)
    rate, raw = found["ingest_reports_per_s"], found["ed25519_verify_per_s"]
    figures = {
        name if name.endswith("_per_s") or name.startswith("ingest_") else f"ingest_{name}": value
        for name, value in found.items()
    }
    return figures, [
        (
            "ingest: verified, stored (FULL) and acknowledged, one core",
            f"{rate:,.0f} /s",
            f"target: 0.8 of what cryptography verifies and no more, {raw:,.0f} /s; this is"
            f" {rate / raw:.2f} of it; bare subscriber: {found['bare_subscriber_per_s']:,.0f} /s;"
            " one that inserts into SQLite and verifies nothing:"
            f" {found['plain_subscriber_per_s']:,.0f} /s",
        ),
        (
            "ingest: and intervals, outages and usage derived",
            f"{found['ingest_with_derivation_per_s']:,.0f} /s",
            "the whole country at a report per 5 minutes: 280 /s;"
            f" {_bytes(found['hot_bytes_per_report'])} of database a report after a week of one"
            " village (target: 350 B)",
        ),
    ]


def _archive(quick: bool) -> tuple[Figures, list[Row]]:
    found = archive.run(days=2 if quick else 4)
    return found, [
        (
            "archive of closed months, a report",
            _bytes(found["archive_bytes_per_report"]),
            f"target: 0.75 of its signed message; this is {found['archive_of_raw']:.2f} of it;"
            f" derived again from there: {found['rebuild_archive_per_s']:,.0f} /s, from the"
            f" database: {found['rebuild_hot_per_s']:,.0f} /s (processor time)",
        )
    ]


def _flood(quick: bool) -> tuple[Figures, list[Row]]:
    found = flood.run(10, 300, 40) if quick else flood.run()
    return found, [
        (
            f"flood: one device sends {found['flood_sent_per_s']:,.0f} valid reports a second;"
            " the others are derived after",
            f"{found['flood_lag_max_ms'] / 1000:.1f} s",
            f"target: 10 s from arrival, for all; {found['flood_others_derived']} of"
            f" {found['flood_others']}, half of them after {found['flood_lag_ms'] / 1000:.1f} s;"
            f" of the noisy one {found['flood_stored']:,} are stored of"
            f" {found['flood_allowed']:,} allowed",
        )
    ]


def _queries(quick: bool) -> tuple[Figures, list[Row]]:
    found = queries.run(days=60 if quick else 365)
    return found, [
        (
            f"province: {verb}, 841 villages{what}",
            f"{found[key]:.0f} ms",
            f"target: 100 ms; {beside}",
        )
        for verb, what, key, beside in (
            ("status", "", "status_841_ms", "processor time"),
            (
                "outages",
                ", 30 days of a year",
                "outages_841_ms",
                f"{found['outages_shown']:,} are shown",
            ),
            (
                "usage",
                ", 30 days of a year",
                "usage_841_ms",
                f"{found['usage_shown']:,} rows are shown",
            ),
            ("findings", "", "findings_841_ms", "three gaps in each village"),
            ("quarantine", "", "quarantine_841_ms", "the newest hundred"),
        )
    ]


def _pages(quick: bool) -> tuple[Figures, list[Row]]:
    found = pages.run(days=60 if quick else 365, seconds=15 if quick else 60)
    return found, [
        (
            "pages: 20 readers beside a writer, 841 villages",
            f"p50 {found['p50_ms']:.0f} ms, p95 {found['p95_ms']:.0f} ms",
            "target: p95 100 ms",
        ),
        (
            "pages: the server's processor time for a request",
            f"{found['server_cpu_ms_per_request']:.1f} ms",
            "with looking for changes each second",
        ),
        (
            "pages: the first page, packed",
            _bytes(found["first_page_bytes"]),
            "target: 300 kB",
        ),
    ]


def _operator(quick: bool) -> tuple[Figures, list[Row]]:
    found = operator.run(days=60 if quick else 365)
    return found, [
        (
            f"an operator's 'desalink {' '.join(verb)}', 841 villages",
            f"{found[f'operator_{name}_ms']:.0f} ms",
            f"target: 300 ms; {found[f'operator_{name}_lines']:,} lines",
        )
        for name, verb in operator.VERBS.items()
    ]


def _alerting(quick: bool) -> tuple[Figures, list[Row]]:
    found = alerting.run(days=5 if quick else 365)
    return found, [
        (
            f"alerts: 841 villages, {found['alerts_days']} simulated days",
            f"{found['alerts_due'] - found['alerts_missed'] - found['alerts_twice']:,} of"
            f" {found['alerts_due']:,}",
            "outages of half an hour and more that are alerted once;"
            f" {found['alerts_invented']} of {found['alerts_slots']:,} alerts of a village have no"
            f" cause; {found['alerts_large_cuts']} backbone cuts of 200 villages and more send"
            f" {found['alerts_large_cut_messages']} messages at most (target: 3)",
        )
    ]


def _month(quick: bool) -> tuple[Figures, list[Row]]:
    found = month.run(60 if quick else 841)
    return found, [
        (
            f"a month's report of {found['month_villages']} villages, all pages as PDF",
            f"{found['month_report_s']:.1f} s",
            f"target for 841: 60 s and 500 MB; counting takes {found['month_count_s']:.1f} s of"
            f" it; the largest process takes {found['month_report_mb']} MB",
        )
    ]


def _provision(quick: bool) -> tuple[Figures, list[Row]]:
    found = provision.measure(quick)
    one, eight = found["provision_one_s"], found["provision_eight_s"]
    return found, [
        (
            "one bare board to a tested, enrolled, labelled device (emulated)",
            f"{one:.1f} s",
            f"of it transfer, as esptool alone and the line's rate have it:"
            f" {found['provision_transfer_s']:.1f} s;"
            f" the rest: {100 * found['provision_overhead_share']:.0f} %",
        ),
        (
            "  eight boards side by side",
            f"{eight:.1f} s",
            f"target: less than twice one; this is {eight / one:.2f} times one",
        ),
    ]


def _stick(quick: bool) -> tuple[Figures, list[Row]]:
    found = stick.measure(quick)
    for_whom = "Linux, one Python" if quick else "Windows and Linux, three Pythons"
    return found, [
        (
            f"stick for {for_whom}",
            _bytes(found["stick_bytes"]),
            f"from the first start to the menu: {found['stick_ready_s']:.1f} s;"
            f" every later start: {found['stick_start_s']:.1f} s",
        )
    ]


PARTS: dict[str, Callable[[bool], tuple[Figures, list[Row]]]] = {
    "size": _size,
    "heap": _heap,
    "signing": _signing,
    "wire": _wire,
    "herd": _herd,
    "ingest": _ingest,
    "archive": _archive,
    "flood": _flood,
    "queries": _queries,
    "pages": _pages,
    "operator": _operator,
    "alerting": _alerting,
    "month": _month,
    "provision": _provision,
    "stick": _stick,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter stretches, for CI")
    parser.add_argument("--only", choices=PARTS, help="one part; the others' figures stay")
    options = parser.parse_args()
    figures: Figures = {}
    if options.only and OUTPUT.exists():
        figures = json.loads(OUTPUT.read_text())
    figures["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    figures["quick"] = options.quick
    table = Table(title="Desalink, measured", show_lines=True)
    table.add_column("what", max_width=36)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("beside it")
    console = Console(width=None if sys.stdout.isatty() else 120)
    failed: list[str] = []
    for name, measure in PARTS.items():
        if options.only not in (None, name):
            continue
        began = time.monotonic()
        try:
            found, rows = measure(options.quick)
        except Exception as error:  # one part that can't be measured must not hide the others
            failed.append(f"{name} was not measured:\n{traceback.format_exc()}")
            rows = [(name, "failed", f"{type(error).__name__}: {error}"[:400])]
            found = {}
        figures |= found
        figures[f"{name}_seconds"] = round(time.monotonic() - began, 1)
        for row in rows:
            table.add_row(*row)
    console.print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    console.print(f"Also in {OUTPUT.relative_to(support.ROOT)}.")
    # Last, as the end of the output is what people and CI keep.
    for failure in failed:
        print(failure, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
