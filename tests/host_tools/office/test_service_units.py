"""The units that `desalink service` writes, as systemd itself reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from host_tools.province.settings import Province
from tests.host_tools.conftest import Run

_ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture
def installed(kaltim: Province, tmp_path: Path, desalink: Run) -> dict[str, Path]:
    for name in ("units", "back ups"):
        (tmp_path / name).mkdir()
    ended = desalink(
        *("-C", kaltim.directory, "service", "install", "--directory", tmp_path / "units"),
        *("--backups", tmp_path / "back ups", "--keep", 7),
    )
    assert ended.code == 0
    assert "enable --now desalink-broker.service desalink-ingest.service" in ended.out
    return {path.name: path for path in (tmp_path / "units").iterdir()}


def _commands(path: Path) -> list[str]:
    return re.findall(r"^ExecStart=(.*)$", path.read_text(), re.MULTILINE)


def test_each_unit_runs_its_verb_in_the_province(
    installed: dict[str, Path], kaltim: Province, tmp_path: Path
):
    assert sorted(installed) == [
        "desalink-alerts.service",
        "desalink-archive.service",
        "desalink-archive.timer",
        "desalink-backup.service",
        "desalink-backup.timer",
        "desalink-broker.service",
        "desalink-checks.service",
        "desalink-checks.timer",
        "desalink-ingest.service",
        "desalink-pages.service",
    ]
    verbs = {
        "broker": "broker run",
        "ingest": "ingest",
        "alerts": "alerts run",
        "pages": "serve",
        "checks": "crl check --quiet",
        "archive": "archive",
        "backup": f'backup "{tmp_path / "back ups"}" --keep 7',
    }
    for name, verb in verbs.items():
        (line,) = _commands(installed[f"desalink-{name}.service"])
        assert line.endswith(f'desalink" -C "{kaltim.directory}" {verb}')


def test_what_a_unit_runs_works(installed: dict[str, Path], tmp_path: Path):
    for name in ("checks", "archive", "backup"):
        (line,) = _commands(installed[f"desalink-{name}.service"])
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done
    assert len(list((tmp_path / "back ups").glob("*.tar"))) == 1


@pytest.mark.skipif(_ANALYZE is None, reason="systemd is not on this machine")
def test_systemd_accepts_the_units_and_finds_them_hardened(installed: dict[str, Path]):
    assert _ANALYZE is not None
    done = subprocess.run(
        [_ANALYZE, "verify", "--man=no", *map(str, installed.values())],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "desalink" in line]
    assert done.returncode == 0 and ours == []
    services = [str(path) for name, path in installed.items() if name.endswith(".service")]
    # Exposure from 0 (safe) to 10; a unit without any of this has 9.6.
    done = subprocess.run(
        [_ANALYZE, "security", "--offline=yes", "--threshold=30", "--no-pager", *services],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_mistakes_are_told(kaltim: Province, tmp_path: Path, desalink: Run):
    for arguments, sentence in (
        (("--user", "nobody-of-that-name"), "There is no user nobody-of-that-name"),
        (("--backups", tmp_path / "none"), "There is no directory"),
        (("--directory", tmp_path / "none"), "systemd does not run here"),
    ):
        ended = desalink("-C", kaltim.directory, "service", "install", *arguments)
        assert ended.code == 1 and sentence in ended.err
