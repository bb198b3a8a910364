"""What verbs tell is there for programs too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from host_tools.cli import desalink as whole_command
from host_tools.province.settings import load
from host_tools.simulate.province import PASSPHRASE
from host_tools.store import open_database
from tests.host_tools.conftest import Run

# They do something and say that it is done, or print a document as it is.
_ACTING = """
accounts add, accounts disable, accounts password, alerts ack, alerts digest, alerts run,
alerts silence, alerts test, broker config, broker run, contracts end, contracts import,
contracts withdraw, demo, device accept, devices replace, devices revoke, enrol,
enrolments export, enrolments import, events add, events withdraw, evidence begin, evidence lost,
evidence renew-keys, export, firmware add, ingest, init, kit create, kit open, kit revoke, labels,
menu, month figures, month reopen, package openwrt, passphrase change, provision,
quarantine dismiss, quarantine empty, quarantine retry, renew authority, renew devices,
renew root, renew services, restore, rules add, rules show, serve, service install, service show,
stick create, stick python, technicians add, technicians revoke, villages import
"""


def _verbs(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner is not None
            yield from _verbs(inner, f"{name} {word}".strip())


def test_every_verb_that_tells_facts_tells_them_as_json():
    verbs = dict(_verbs(whole_command, ""))
    acting = {verb.strip() for verb in _ACTING.split(",")}
    assert acting <= set(verbs)
    lacking = {
        name
        for name, verb in verbs.items()
        if not any("--json" in parameter.opts for parameter in verb.params)
    }
    assert lacking <= acting


_MONTH = ("--month", "2026-01")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A province with one day of a month that is over."""
    directory = tmp_path_factory.mktemp("facts") / "province"
    words = ("simulate", directory, "--villages", "3", "--days", "1", "--contracts")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LANGUAGE", "")
        from host_tools.cli import run

        assert run([str(word) for word in words]) == 0
    return directory


def test_a_months_way_to_its_auditor_is_told_as_json(
    desalink: Run, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DESALINK_PASSPHRASE", PASSPHRASE)

    def told(*words: object) -> Any:
        ended = desalink("-C", simulated, *words, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    rules = tmp_path / "rules.toml"
    rules.write_text(
        desalink("-C", simulated, "rules", "show")
        .out.replace("version = 1", "version = 2")
        .replace('formula = "shortfall"', 'formula = "downtime"')
    )
    (change, *_others) = told("rules", "try", rules, *_MONTH)
    assert change["other_availability_percent"] == change["availability_percent"] < 100
    assert change["other_restitution"] > change["restitution"]

    told("evidence", "receipts", "--now")
    closed = told("month", "close", "2026-01")
    figures = desalink("-C", simulated, "month", "figures", "2026-01").out
    assert closed["sha256"] == hashlib.sha256(figures.encode()).hexdigest()

    file = tmp_path / "january.evidence"
    exported = told("evidence", "export", *_MONTH, "-o", file)
    assert exported["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert exported["head"] == told("evidence", "commit")["head"]
    verified = told("evidence", "verify", file, "--root", load(simulated).root_public)
    assert (verified["reports"], verified["head"]) == (exported["reports"], exported["head"])

    report = told("report", *_MONTH, "-o", tmp_path / "report", "--no-pdf", "--evidence", file)
    assert "SHA256SUMS" in {Path(path).name for path in report["files"]}
    assert all(Path(path).exists() for path in report["files"])
    backup = told("backup", tmp_path / "province.tar")
    assert backup["bytes"] == Path(backup["path"]).stat().st_size
    assert backup["reports"] >= exported["reports"]


def test_what_is_wrong_is_told_as_json_with_the_exit_code_of_the_sentence(
    desalink: Run, simulated: Path
):
    check = ("-C", simulated, "evidence", "check", "--all")
    assert json.loads(desalink(*check, "--json").out)["good"] is True
    with open_database(load(simulated).database) as db, db.transaction():
        db.execute("UPDATE reports SET received_at = received_at + 1 WHERE id = 1")
    in_words, ended = desalink(*check), desalink(*check, "--json")
    assert (ended.code, ended.err) == (in_words.code, "") == (1, "")
    told = json.loads(ended.out)
    assert told["good"] is False and told["wrong"]
    assert all(sentence in in_words.err for sentence in told["wrong"])
