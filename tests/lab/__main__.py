"""`python -m tests.lab`: faults of real networks, and what the province says of each.

Prints tables and writes build/lab.json. Exit code 0 if every cause, time and byte was right, 1 if
not. Where this machine does not allow it, it says why and is no failure.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import isolation
from tests.support import ROOT

if TYPE_CHECKING:
    from tests.lab.results import Results

INTERRUPTED = 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some faults, and no usage")
    parser.add_argument("--only", metavar="TEXT", help="faults whose name contains this")
    parser.add_argument(
        "--interpreters", default="micropython,cpython", help="of the villages, with commas"
    )
    parser.add_argument("--quiet-s", type=int, metavar="S", help="length of the quiet time")
    parser.add_argument("--usage-mb", type=int, metavar="MB", help="size of the transfers")
    parser.add_argument("--sequences", type=int, metavar="N", help="of the confusion matrix")
    return parser.parse_args()


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def main() -> int:
    arguments = _arguments()
    if not isolation.inside():
        why = isolation.obstacle()
        if why:
            print(f"lab: skipped: {why}")
            return 0
        return isolation.enter(sys.argv[1:])
    from tests.lab.results import Results

    began = time.monotonic()
    results = Results()
    code = 0
    try:
        _run(arguments, results)
    except KeyboardInterrupt:
        print("lab: interrupted; all of it is removed", file=sys.stderr)
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        code = 1
    results.seconds = round(time.monotonic() - began)
    results.show()
    _write(ROOT / "build" / "lab.json", results)
    return code or (0 if results.ok else 1)


def _run(arguments: argparse.Namespace, results: Results) -> None:
    from tests.lab.confusion import confusion
    from tests.lab.faults import FAULTS
    from tests.lab.judge import failed, run
    from tests.lab.quiet import quiet
    from tests.lab.usage import compare
    from tests.lab.world import World

    quick, only = arguments.quick, arguments.only
    wanted: Callable[[str], bool] = lambda name: only is None or only.lower() in name.lower()  # noqa: E731
    chosen = [fault for fault in FAULTS if (fault.quick or not quick) and wanted(fault.name)]
    sequences = _or(arguments.sequences, 0 if only else 500)
    if sequences:
        _say(f"confusion matrix of {sequences} simulated sequences ...")
        results.matrix = confusion(sequences)
    with World(ROOT / "build" / "lab", arguments.interpreters.split(",")) as world:
        for number, fault in enumerate(chosen, 1):
            _say(f"[{number}/{len(chosen)}] {fault.name} ...")
            try:
                verdicts = run(world, fault)
            except RuntimeError as error:
                verdicts = [failed(fault, error)]
            results.verdicts += verdicts
            for verdict in verdicts:
                _say(f"      {verdict}")
        length = _or(arguments.quiet_s, 0 if only else 30 if quick else 360)
        if length:
            _say(f"quiet for {length} s ...")
            results.silence = quiet(world, length)
        megabytes = _or(arguments.usage_mb, 0 if only or quick else 20)
        if megabytes:
            _say(f"usage: transfers of {megabytes} MB ...")
            results.usage = compare(world, megabytes)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _write(path: Path, results: Results) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results.row(), indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
