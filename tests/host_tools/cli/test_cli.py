"""The command line: what it lists, how it finds the province, how it ends."""

from __future__ import annotations

import errno
import os
import pty
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
from contextlib import closing
from operator import itemgetter
from pathlib import Path

import pytest

from host_tools.cli._errors import report
from host_tools.common.errors import DesalinkError, reason
from host_tools.listings.model import Column, Listing
from host_tools.listings.terminal import print_table
from host_tools.province import registry_file
from host_tools.province.settings import Province
from host_tools.store import lock
from tests.host_tools.conftest import Run
from tests.support import PATIENCE_S, ROOT

COMMAND = [sys.executable, "-c", "from host_tools.cli import main; main()"]


def environment(**more: str) -> dict[str, str]:
    # Unbuffered, the interpreter itself loses what a broken write leaves over, without a word.
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return {**inherited, "PYTHONPATH": str(ROOT), **more}


_INTERRUPTED = """
import sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from host_tools.cli import main
main()
"""


def test_an_interrupt_while_the_command_is_still_being_loaded_ends_it_quietly():
    command = [sys.executable, "-c", _INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_help_lists_the_verbs_without_importing_them():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "--help"],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0
    for verb in ("init", "villages", "enrol", "broker", "devices"):
        assert f"\n  {verb} " in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "host_tools.cli" in imported
    heavy = {"cryptography", "lokal", "paho", "rich", "sqlite3", "cbor2", "nacl"}
    verbs = {f"host_tools.cli.{verb}" for verb in ("init", "villages", "enrol", "broker")}
    assert not imported & (heavy | verbs)


def test_every_verb_says_what_it_does_and_has_its_help(desalink: Run):
    listed = re.findall(r"^  ([a-z]\S*) +\S.*", desalink("--help").out, re.MULTILINE)
    modules = {file.stem for file in (ROOT / "host_tools" / "cli").glob("[a-z]*.py")}
    assert modules == set(listed)
    for verb in listed:
        ended = desalink(verb, "--help")
        assert (ended.code, ended.err) == (0, "")


def test_a_misspelt_verb_gets_a_suggestion_and_exit_code_2(desalink: Run):
    ended = desalink("vilages")
    assert ended.code == 2
    assert "did you mean 'villages'?" in ended.err


def test_outside_a_province_the_sentence_says_what_to_do(
    desalink: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    ended = desalink("villages")
    assert ended.code == 1
    assert ended.err == (
        "desalink: This directory is not a province (no province.toml); give the province's "
        "directory with -C or DESALINK_DIR, or make one with 'desalink init DIR --province "
        "CODE'.\n"
    )
    ended = desalink("-C", tmp_path / "nowhere", "villages")
    assert ended.code == 1
    assert f"no province in {tmp_path / 'nowhere'}" in ended.err


def test_the_province_is_found_by_option_variable_or_place(
    desalink: Run, kaltim: Province, monkeypatch: pytest.MonkeyPatch
):
    wanted = desalink("-C", kaltim.directory, "villages", "--find", "Maratua")
    assert wanted.code == 0
    assert desalink("villages", "--find", "Maratua", "-C", kaltim.directory) == wanted
    assert desalink("villages", f"--province-dir={kaltim.directory}", "--find=Maratua") == wanted
    monkeypatch.chdir(kaltim.directory)
    assert desalink("villages", "--find", "Maratua") == wanted
    monkeypatch.chdir("/")
    monkeypatch.setenv("DESALINK_DIR", str(kaltim.directory))
    assert desalink("villages", "--find", "Maratua") == wanted


def test_a_reader_that_goes_away_ends_the_command_quietly(kaltim: Province):
    with subprocess.Popen(
        [*COMMAND, "-C", kaltim.directory, "villages", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(PATIENCE_S) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's always-full device")
def test_a_full_disk_is_told_in_a_sentence(kaltim: Province):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "-C", kaltim.directory, "villages"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "desalink: The disk is full; make room and run the command again."
    )
    assert "Traceback" not in done.stderr


def test_ctrl_c_at_the_passphrase_ends_quietly_and_makes_nothing(tmp_path: Path):
    pid, terminal = pty.fork()
    if pid == 0:  # the child: a real terminal is what the passphrase is asked on
        env = environment()
        env.pop("DESALINK_PASSPHRASE", None)
        os.execve(sys.executable, [*COMMAND, "init", str(tmp_path / "p"), "--province", "64"], env)
    said = b""
    while b"passphrase" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert b"Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/etc/x"), "You may not use /etc/x"),
        (OSError(errno.ENOSPC, "No space left", "/data/p.db"), "The disk is full at /data/p.db"),
        (OSError(errno.EROFS, "Read-only", "/data/p.db"), "The file system is read-only at"),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "a.csv"),
            "The file a.csv does not exist",
        ),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "The system refuses: no route to host"),
    ],
)
def test_errors_of_the_system_become_sentences(
    error: OSError, sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert report(error) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"desalink: {sentence}")
    assert told.count("\n") == 1


def test_a_defect_is_told_as_one_and_the_traceback_only_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert report(ZeroDivisionError("division by zero")) == 70
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told and "DESALINK_DEBUG=1" in told and "Traceback" not in told
    monkeypatch.setenv("DESALINK_DEBUG", "1")
    try:
        raise ZeroDivisionError("division by zero")
    except ZeroDivisionError as error:
        assert report(error) == 70
    assert "Traceback" in capsys.readouterr().err


def test_what_others_wrote_does_not_reach_the_terminal_as_orders(
    capsys: pytest.CaptureFixture[str],
):
    orders = "a\x1b[2J\x1b]0;b\x07\x9b\rc\u202ed"
    report(DesalinkError(orders))
    print_table(Listing("devices", [Column("", "device", of=itemgetter(0))], [(orders,)]))
    said = capsys.readouterr()
    assert (said.err + said.out).replace("\n", "").isprintable()
    assert "a?[2J?]0;b???c?d" in said.err and "a?[2J?]0;b???c?d" in said.out


def test_an_interrupt_is_quiet(capsys: pytest.CaptureFixture[str]):
    assert report(KeyboardInterrupt()) == 128 + signal.SIGINT
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--village", "6403112001", "--board", "raspberry-pi"), "with --ssh USER@HOST"),
        (("--batch", "--ask", "--villages", "6403112001"), "not both"),
    ],
)
def test_options_of_provision_that_do_not_go_together_are_told_before_all_else(
    desalink: Run, words: tuple[str, ...], sentence: str
):
    ended = desalink("provision", *words)
    assert ended.code == 2 and sentence in ended.err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("no answer in time"), "no answer in time"),
        (
            ssl.SSLError(1, "[SSL: TLSV1_ALERT] tlsv1 alert unknown ca (_ssl.c:1006)"),
            "tlsv1 alert unknown ca",
        ),
        (OSError(), "OSError"),
    ],
)
def test_a_connection_s_error_is_told_without_numbers(error: Exception, said: str):
    assert reason(error) == said


def test_a_locked_database_has_the_same_exit_code_everywhere(
    desalink: Run, kaltim: Province, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(registry_file, "PATIENCE_S", 0.1)
    held = sqlite3.connect(kaltim.directory / "registry.db", isolation_level=None)
    with closing(held):
        held.execute("PRAGMA locking_mode=EXCLUSIVE")
        held.execute("BEGIN EXCLUSIVE")
        ended = desalink("-C", kaltim.directory, "villages")
    assert ended.code == 75 and "locked" in ended.err
    assert report(sqlite3.OperationalError("database is locked")) == 75
    with lock(kaltim.database):
        ended = desalink("-C", kaltim.directory, "ingest")
    assert ended.code == 75


def test_click_does_not_speak_of_files_in_our_place(
    desalink: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "trip.desakit"
    file.write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda *_arguments, **_more: False)
    ended = desalink("kit", "open", file)
    assert ended.code == 1 and ended.err.startswith(f"desalink: {file} ")


@pytest.mark.parametrize("language", ["en", "id"])
def test_no_summary_of_a_command_is_cut_off(language: str):
    # A process of its own: a command keeps the language in which its help was asked for.
    script = (
        "from click.testing import CliRunner\n"
        "from host_tools.cli import desalink\n"
        "for verb in desalink.list_commands(None):\n"
        "    print(CliRunner().invoke(desalink, [verb, '--help']).output)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(COLUMNS="80", DESALINK_LANG=language),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [
        line for line in done.stdout.splitlines() if not line.startswith(("Usage:", "Pemakaian:"))
    ]
    assert len(lines) > 100
    assert [line for line in lines if line.rstrip().endswith("...")] == []
