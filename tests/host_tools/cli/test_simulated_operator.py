"""An operator's day on a simulated province of 841 villages, and a script that monitors it."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from host_tools.province.settings import load
from tests.host_tools.cli.test_cli import COMMAND, environment
from tests.host_tools.cli.test_operator import alive, on_terminal
from tests.support import made_once

pytestmark = pytest.mark.slow

VERBS = (
    *("status", "status --all", "outages", "outages --since 7d --by village", "usage"),
    *("usage --since 31d --by regency", "usage --by hour", "quarantine list", "devices list"),
    *("villages", "technicians list", "kit list", "enrolments list", "crl check"),
)

# As a monitoring system calls it: what counts is the exit code, and JSON says more.
MONITOR = """\
said=$("$@"); code=$?
problems=$(printf '%s' "$said" | grep -c '"64[0-9]*-[0-9]*"')
echo "$code $(printf '%s' "$said" | sed -n 's/.*"result": "\\([A-Z]*\\)".*/\\1/p') $problems"
"""


def _desalink(*arguments: object) -> None:
    subprocess.run([*COMMAND, *map(str, arguments)], env=environment(), check=True)


def _simulate(folder: Path) -> None:
    directory = folder / "kaltim"
    yesterday = datetime.now(UTC) + timedelta(hours=8 - 24)  # WITA
    _desalink(
        *("simulate", directory, "--days", 2, "--report-every", 3600, "--trusted"),
        *("--begin", f"{yesterday:%Y-%m-%d}"),
    )
    _desalink("simulate", directory, "--compare")
    alive(directory)
    shutil.copytree(directory, folder / "spare")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "simulated", _simulate)


@pytest.fixture
def simulated(made: Path) -> Path:
    """A day of all villages, until now; only to be read."""
    return made / "kaltim"


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_shows_more_than_a_screen_at_once(simulated: Path, verb: str) -> None:
    said = on_terminal(simulated, 24, 80, *verb.split())
    assert said.count(b"\n") <= 24 and b"Traceback" not in said


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_speaks_the_operators_language(simulated: Path, verb: str) -> None:
    command = [*COMMAND, "-C", str(simulated), "--lang", "id", *verb.split()]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    said = re.sub(r"'[^']*'", "", done.stdout + done.stderr)
    assert said and not re.search(r"\b(the|is|are|of|with|and|there|no|this|not)\b", said), said


def test_a_script_monitors_the_province_by_exit_codes_and_json(made: Path, tmp_path: Path) -> None:
    simulated = made / "spare"  # to be changed here
    script = tmp_path / "monitor.sh"
    script.write_text(MONITOR)

    def monitor(*more: str) -> list[str]:
        command = [*COMMAND, "-C", str(simulated), "status", "--check", "--json", *more]
        done = subprocess.run(
            ["sh", str(script), *command], env=environment(), capture_output=True, check=True
        )
        return done.stdout.decode().split()

    alive(simulated)
    code, result, problems = monitor()
    assert (code, result) == ("1", "WARNING") and 0 < int(problems) < 841
    assert monitor("--tolerate", problems) == ["0", "OK", problems]
    alive(simulated, ingest_s=600, broker_s=600)
    assert monitor("--tolerate", problems)[:2] == ["2", "CRITICAL"]
    load(simulated).registry.write_bytes(b"noise" * 1000)
    assert monitor()[0] == "3"
