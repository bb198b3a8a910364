"""An account that may see the figures, and neither change anything nor see a key."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from host_tools.cli import main
from host_tools.province.settings import load
from host_tools.store import open_database
from host_tools.store.sessions import save_alive
from tests.host_tools.conftest import PASSPHRASE, Ended, Run
from tests.world.evidencing import signing_registry
from tests.world.kits import SLOT

NOBODY = 65534
LOOKING = (
    ("status",),
    ("status", "--json"),
    ("outages",),
    ("usage",),
    ("quarantine", "list"),
    ("devices", "list"),
    ("devices", "show", SLOT),
    ("villages",),
    ("technicians", "list"),
    ("kit", "list"),
    ("enrolments", "list"),
)
CHANGING = (
    ("devices", "revoke", SLOT),
    ("technicians", "add", "Ani"),
    ("quarantine", "dismiss", "1", "--because", "x"),
    ("ingest", "--until-idle", "0"),
    ("ingest", "--rebuild", "--until-idle", "0"),
)


def as_reader(directory: Path, *arguments: str) -> Ended:
    """Run a verb in a process of the user "nobody", who is in the group of the province."""
    with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            import sys

            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            code = 99
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                main(["-C", str(directory), *arguments])
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read().decode(), err.read().decode())


@pytest.fixture
def opened(founded: Path, desalink: Run) -> Iterator[Path]:
    """A province that others may look into, as docs/operations.md opens it."""
    import shutil

    with tempfile.TemporaryDirectory(prefix="desalink-") as name:
        Path(name).chmod(0o755)
        directory = Path(name) / "kaltim"
        shutil.copytree(founded, directory)
        with signing_registry(load(directory)) as registry:
            registry.enrol(SLOT, bytes(32), board="b", firmware="1", by="test")
        with open_database(directory / "province.db", create=True) as db, db.transaction():
            save_alive(db, 1, connected=True)
        # A verb loads its modules when it runs; another user may not reach this interpreter's.
        spare = shutil.copytree(directory, Path(name) / "spare")
        for verb in (*LOOKING, *CHANGING):
            desalink("-C", spare, *verb)
        if os.geteuid() == 0:
            for path in (directory, *directory.glob("*.db*")):
                os.chown(path, 0, NOBODY)
                path.chmod(0o2750 if path.is_dir() else 0o640)
        else:  # the same user, without the right to write
            for path in directory.glob("*.db*"):
                path.chmod(0o440)
            directory.chmod(0o550)
        yield directory
        directory.chmod(0o700)


def in_use(directory: Path) -> list[sqlite3.Connection]:
    """As while an ingest is at work: what is not in the file itself yet must be seen as well."""
    connections = []
    for name, change in (
        ("registry.db", "UPDATE villages SET site = 'new' WHERE code = '6403112001'"),
        ("province.db", "INSERT INTO sessions VALUES ('6403112001-1', 0, 5)"),
    ):
        (directory / name).chmod(0o640)
        db = sqlite3.connect(directory / name, isolation_level=None)
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute(change)
        connections.append(db)
    return connections


@pytest.mark.parametrize("busy", [False, True])
def test_a_reader_sees_what_the_owner_sees(opened: Path, desalink: Run, busy: bool):
    if busy and os.geteuid() != 0:
        opened.chmod(0o700)
    connections = in_use(opened) if busy else []
    if busy and os.geteuid() != 0:
        opened.chmod(0o550)
    before = sorted(opened.iterdir())
    for verb in LOOKING:
        seen = as_reader(opened, *verb)
        assert sorted(opened.iterdir()) == before
        assert seen == desalink("-C", opened, *verb)
        assert seen.code == 0, seen.err
    for connection in connections:
        connection.close()


def test_a_reader_changes_nothing(opened: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DESALINK_PASSPHRASE", PASSPHRASE)
    for verb in CHANGING:
        ended = as_reader(opened, *verb)
        assert ended.code != 0 and "Traceback" not in ended.err
        assert "owner" in ended.err or "may not" in ended.err, ended.err
    with closing(sqlite3.connect(opened / "registry.db")) as db:
        assert db.execute("SELECT revoked_at FROM devices").fetchall() == [(None,)]
        assert db.execute("SELECT count(*) FROM role_keys WHERE role = 1").fetchone() == (0,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_reader_reads_no_key(opened: Path):
    def readable(check: Callable[[Path], bool]) -> list[str]:
        child_reads, child_writes = os.pipe()
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            names = [str(p.relative_to(opened)) for p in opened.rglob("*") if check(p)]
            os.write(child_writes, json.dumps(names).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(child_writes)
        with os.fdopen(child_reads, "rb") as source:
            return sorted(json.loads(source.read()))

    def reads(path: Path) -> bool:
        return path.is_file() and os.access(path, os.R_OK)

    names = [name for name in readable(reads) if not name.endswith(("-shm", "-wal"))]
    assert names == ["province.db", "province.toml", "registry.db", "trust.cbor"]
    assert readable(lambda path: os.access(path, os.W_OK)) == []
