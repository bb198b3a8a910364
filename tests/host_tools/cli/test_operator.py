"""An operator of 841 villages: what the verbs show of a whole province, and to a monitor."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from host_tools.province.settings import Province, load
from host_tools.store import open_database
from host_tools.store.sessions import save_alive, save_sessions
from tests.bench.queries import fill
from tests.host_tools.cli.test_cli import COMMAND, environment
from tests.host_tools.conftest import Run
from tests.world.evidencing import signing_registry

_INSTALLED = 800


@pytest.fixture(scope="module")
def filled(founded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """East Kalimantan: 800 villages report since two days, 41 never had a device."""
    directory = tmp_path_factory.mktemp("filled") / "kaltim"
    shutil.copytree(founded, directory)
    with signing_registry(load(directory)) as registry, registry.transaction():
        codes = [village.code for village in registry.villages()][:_INSTALLED]
        for number, code in enumerate(codes):
            key = number.to_bytes(32, "big")
            registry.enrol(f"{code}-1", key, board="b", firmware="1", by="test")
    with open_database(directory / "province.db", create=True) as db:
        fill(db, codes, 2, end=int(time.time()) // 3600 * 3600 + 3600)
        with db.transaction():
            db.execute("UPDATE latest SET received_at = ?, t_end = ?", (int(time.time()),) * 2)
            # Forty have been silent since yesterday.
            db.execute(
                "UPDATE latest SET received_at = received_at - 86400, t_end = t_end - 86400 "
                "WHERE slot_id <= 40"
            )
    return directory


@pytest.fixture
def province(filled: Path, tmp_path: Path) -> Province:
    """A copy of it, whose ingest was just at work."""
    directory = tmp_path / "kaltim"
    shutil.copytree(filled, directory)
    alive(directory)
    return load(directory)


def alive(directory: Path, ingest_s: int = 0, broker_s: int = 0) -> None:
    """The ingest was at work, and connected, so many seconds ago."""
    now = int(time.time())
    with open_database(directory / "province.db") as db, db.transaction():
        db.execute("DELETE FROM meta WHERE key LIKE '%alive'")
        save_alive(db, now - broker_s, connected=True)
        save_alive(db, now - ingest_s, connected=False)


def states(desalink: Run, province: Province, *more: str) -> list[dict]:
    return list(json.loads(desalink("-C", province.directory, "status", "--json", *more).out))


# ---- status ------------------------------------------------------------------------------


def test_status_counts_first_and_then_shows_problems_the_longest_first(
    desalink: Run, province: Province
):
    ended = desalink("-C", province.directory, "status")
    installed, counts, _, _, *rows = ended.out.splitlines()
    assert installed == "800 of 841 villages are installed, 41 never had a device."
    problems = [slot for slot in states(desalink, province) if slot["state"] != "up"]
    assert counts.startswith(f"{800 - len(problems)} up, ") and "40 no data" in counts
    assert len(rows) == len(problems) < 100
    since = [row.split("\t")[3] for row in rows]
    assert since == sorted(since)
    everything = desalink("-C", province.directory, "status", "--all").out
    assert len(everything.splitlines()) == 4 + 800


def test_status_is_narrowed_by_state_regency_and_time(desalink: Run, province: Province):
    silent = states(desalink, province, "--state", "no_data")
    assert len(silent) == 40
    down = states(desalink, province, "--state", "down")
    assert down and all(s["state"] not in ("up", "no_data") for s in down)
    berau = states(desalink, province, "--regency", "Berau")
    assert berau and {s["slot"][:4] for s in berau} == {"6403"}
    recent = states(desalink, province, "--since", "12h")
    assert recent and len(recent) < 800
    empty = desalink("-C", province.directory, "status", "--state", "empty").out
    assert len(empty.splitlines()) == 4 + 41 and "no device" in empty
    both = desalink(
        "-C", province.directory, "status", "--regency", "6403", "--village", "6403112001"
    )
    assert both.code == 1 and "not both" in both.err


def test_a_revoked_slot_is_not_up(desalink: Run, province: Province):
    with signing_registry(province) as registry:
        device = registry.active_devices()[-1]
        registry.revoke(device.kid, by="test")
    (slot,) = [s for s in states(desalink, province) if s["slot"] == device.slot]
    assert slot["state"] == "revoked"
    out = desalink("-C", province.directory, "status").out
    assert "; 1 revoked." in out and device.slot not in out
    assert out.startswith("799 of 841 villages are installed, 41 never had a device.")
    assert device.slot in desalink("-C", province.directory, "status", "--state", "revoked").out


def test_a_lost_session_stands_beside_the_last_known_state(desalink: Run, province: Province):
    (up, *_) = [s["slot"] for s in states(desalink, province) if s["state"] == "up"]
    with open_database(province.database) as db, db.transaction():
        save_sessions(db, {up: False, "6499999999-1": False}, int(time.time()) - 40)
    (slot,) = [s for s in states(desalink, province) if s["slot"] == up]
    assert slot["state"] == "up" and slot["session_lost_since"]
    out = desalink("-C", province.directory, "status").out
    assert "; 1 with a lost session." in out
    assert re.search(rf"\t{up}\tup, session lost \d+ s ago\t", out)
    with open_database(province.database) as db, db.transaction():
        save_sessions(db, {up: True}, int(time.time()))
    assert "lost session" not in desalink("-C", province.directory, "status").out


def test_when_our_own_side_is_dead_it_is_told(desalink: Run, province: Province):
    alive(province.directory, ingest_s=600, broker_s=600)
    ended = desalink("-C", province.directory, "status")
    assert (
        "The ingest has not been running since 20" in ended.err
        and "as they were then" in ended.err
    )
    alive(province.directory, ingest_s=0, broker_s=600)
    assert (
        "no connection to the broker since 20" in desalink("-C", province.directory, "status").err
    )


def test_villages_of_the_same_name_are_told_apart_by_their_district(
    desalink: Run, province: Province
):
    with signing_registry(province) as registry:
        names = [village.name for village in registry.villages()]
        double = next(v for v in registry.villages() if names.count(v.name) > 1)
    for verb in (("status", "--all"), ("outages",), ("usage",), ("devices", "list")):
        out = desalink("-C", province.directory, *verb, "--village", double.code).out
        if verb[0] == "devices":
            out = desalink("-C", province.directory, *verb).out
        assert f"{double.name} ({double.district})" in out or verb == ("outages",)


# ---- a monitoring system -----------------------------------------------------------------


def test_a_monitoring_system_reads_exit_codes_and_json(desalink: Run, province: Province):
    def check(*more: str) -> tuple[int, dict]:
        ended = desalink("-C", province.directory, "status", "--check", "--json", *more)
        return ended.code, json.loads(ended.out)

    code, said = check()
    assert code == 2 and "has made no receipt since" in said["said"][0]
    ended = desalink("-C", province.directory, "evidence", "receipts", "--now")
    assert ended.code == 0, ended.err
    code, said = check()
    assert code == 1 and said["result"] == "WARNING" and said["installed"] == 800
    assert said["states"]["no_data"] == 40 and len(said["problems"]) >= 40
    assert check("--tolerate", "800")[0] == 0
    line = desalink("-C", province.directory, "status", "--check", "--tolerate", "800").out
    assert line.startswith("OK: ") and line.count("\n") == 1
    alive(province.directory, ingest_s=600, broker_s=600)
    code, said = check("--tolerate", "800")
    assert code == 2 and "ingest has not been running" in said["said"][0]
    (province.directory / "registry.db").write_bytes(b"noise" * 1000)
    ended = desalink("-C", province.directory, "status", "--check")
    assert ended.code == 3 and "backup" in ended.err


# ---- outages and usage -------------------------------------------------------------------


def test_outages_are_those_of_a_day_and_no_more_than_asked_for(desalink: Run, province: Province):
    out = desalink("-C", province.directory, "outages").out
    *rows, total = out.splitlines()[1:]
    assert 100 < len(rows) < 1000
    assert re.match(rf"{len(rows)} outages of \d+ slots, together .* from 20.* to 20", total)
    few = desalink("-C", province.directory, "outages", "--limit", "10")
    assert len(few.out.splitlines()) == 12 and f"{len(rows) - 10} older ones" in few.err
    assert few.out.splitlines()[1:11] == rows[-10:]
    week = json.loads(desalink("-C", province.directory, "outages", "--since", "7d", "--json").out)
    assert len(week) > len(rows)
    half = desalink(
        "-C", province.directory, "outages", "--since", "7d", "--until", "24h", "--json"
    )
    assert 0 < len(json.loads(half.out)) < len(week)


def test_outages_are_narrowed_and_summed_up(desalink: Run, province: Province):
    def rows(*more: str) -> list[dict]:
        return list(json.loads(desalink("-C", province.directory, "outages", "--json", *more).out))

    everything = rows()
    provider = rows("--cause", "provider")
    assert 0 < len(provider) < len(everything)
    by_cause = {row["cause"]: row["outages"] for row in rows("--by", "cause")}
    assert by_cause["provider"] == len(provider)
    assert sum(by_cause.values()) == len(everything)
    berau = rows("--regency", "Berau")
    assert {row["regency"]: row["outages"] for row in rows("--by", "regency")}["6403"] == len(
        berau
    )
    shown = desalink("-C", province.directory, "outages", "--by", "cause").out.splitlines()
    assert shown[0].split("\t") == ["cause", "outages", "slots", "together", "longest"]
    text = desalink("-C", province.directory, "outages", "--csv").out
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["begin"] for row in table] == [row["begin"] for row in everything]


def test_usage_is_summed_up_by_village_and_regency(desalink: Run, province: Province):
    def rows(*more: str) -> list[dict]:
        return list(json.loads(desalink("-C", province.directory, "usage", "--json", *more).out))

    days, villages, regencies = rows(), rows("--by", "village"), rows("--by", "regency")
    assert len(villages) == 800 and len(regencies) == 7
    for sums in (villages, regencies):
        assert sum(row["bytes_down"] for row in sums) == sum(row["bytes_down"] for row in days)
    assert [row["bytes_down"] + row["bytes_up"] for row in villages] == sorted(
        (row["bytes_down"] + row["bytes_up"] for row in villages), reverse=True
    )
    ended = desalink("-C", province.directory, "usage", "--by", "hour", "--since", "48h")
    lines = ended.out.splitlines()
    assert len(lines) == 1002 and "more are left out" in ended.err
    assert lines[-1].startswith("Together ")
    table = desalink("-C", province.directory, "usage", "--by", "hour", "--since", "48h", "--csv")
    assert len(list(csv.DictReader(io.StringIO(table.out)))) > 30_000


def test_each_verb_is_narrowed_to_a_provider(desalink: Run, province: Province, tmp_path: Path):
    def slots(*verb: str, provider: str = "starlink") -> list[str]:
        ended = desalink("-C", province.directory, *verb, "--json", "--provider", provider)
        return [row["slot"] for row in json.loads(ended.out)]

    with signing_registry(province) as registry:
        codes = [village.code for village in registry.villages()][:60]
    table = tmp_path / "table.csv"
    rows = [f"{code};{'Starlink' if n % 2 else 'Icon+'}" for n, code in enumerate(codes)]
    table.write_text("\n".join(["kode;penyedia", *rows]))
    ended = desalink("-C", province.directory, "villages", "import", table)
    assert "60 villages imported: 0 positions, 0 site names, 60 providers." in ended.out
    expected = {f"{code}-1" for code in codes[1::2]}
    assert set(slots("usage")) == set(slots("status", "--all")) == expected
    assert set(slots("usage", "--by", "village")) == expected
    assert slots("outages") and set(slots("outages")) < expected
    ended = desalink(
        "-C", province.directory, "status", "--check", "--json", "--provider", "Starlink"
    )
    assert json.loads(ended.out)["villages"] == 30
    ended = desalink("-C", province.directory, "usage", "--provider", "Orbit")
    assert ended.code == 1 and "Icon+, Starlink" in ended.err


# ---- a terminal --------------------------------------------------------------------------


def on_terminal(
    directory: Path, rows: int, columns: int, *arguments: str, keys: bytes = b""
) -> bytes:
    """What a verb writes to a terminal of a size; keys are pressed once something is shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        env = environment(TERM="xterm", PAGER=f"{sys.executable} -c pass")
        env |= {"LINES": str(rows), "COLUMNS": str(columns)}
        os.execve(sys.executable, [*COMMAND, "-C", str(directory), *arguments], env)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    said, end = b"", time.monotonic() + 120
    try:
        while time.monotonic() < end:
            ready, _, _ = select.select([terminal], [], [], 1)
            if ready:
                try:
                    part = os.read(terminal, 65536)
                except OSError:
                    break  # it has ended
                if not part:
                    break
                said += part
            elif keys and b"scroll" in said:
                os.write(terminal, keys[:1] if keys[:1] != b"\x1b" else keys[:3])
                keys = keys[1:] if keys[:1] != b"\x1b" else keys[3:]
    finally:
        os.close(terminal)
        os.kill(pid, signal.SIGKILL) if time.monotonic() >= end else None
        os.waitpid(pid, 0)
    return said


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (12, 40), (50, 200)])
def test_watch_fits_any_terminal_and_scrolls(province: Province, rows: int, columns: int):
    said = on_terminal(
        province.directory, rows, columns, "status", "--watch", "--all", keys=b" \x1b[Bq"
    ).decode(errors="replace")
    assert "1 to " in said and "of 800" in said and "Traceback" not in said
    shown = [int(first) for first in re.findall(r"(\d+) to \d+ of 800", said)]
    assert shown[0] == 1 and max(shown) > 2  # a page further, and a line
    for screen in re.split(r"\x1b\[H", said)[1:]:
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).split("\r\n")
        assert len(lines) <= rows and all(len(line.rstrip()) <= columns for line in lines)


@pytest.mark.parametrize(
    "verb", [("status", "--all"), ("outages",), ("usage",), ("villages",), ("devices", "list")]
)
def test_what_is_longer_than_the_screen_goes_through_the_pager(
    province: Province, verb: tuple[str, ...]
):
    # The pager here shows nothing: more than a screen of lines would have come past it.
    assert on_terminal(province.directory, 24, 100, *verb).count(b"\n") < 24
