"""A backup of the whole province: whole, consistent and verified, or not there at all."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from host_tools.office.backup import make_backup
from host_tools.office.backup_file import BackupError, read_files, read_manifest
from host_tools.office.restore import restore
from host_tools.province.registry_copies import copy_database, count_rows
from host_tools.province.settings import Province
from host_tools.store import open_database, queries
from host_tools.store.archiving import Archiver, month_begin
from tests.host_tools.conftest import Run
from tests.world.devices import Device
from tests.world.evidencing import signing_registry
from tests.world.filled import Filled
from tests.world.killed import killed_at

SLOT = "6403112001-1"

# Commits as fast as it can, each time one more row in both of two tables.
_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
db.execute("PRAGMA journal_mode=WAL")
for number in range(1, 1 << 40):
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO one (text) VALUES (hex(randomblob(200)))")
    db.execute("INSERT INTO two (text) VALUES (hex(randomblob(200)))")
    db.execute("COMMIT")
    if number == 1:
        print("ready", flush=True)
"""


@contextmanager
def _busy_writer(path: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _files(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of what a backup holds; the databases' rows in place of their bytes."""
    found = {}
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if path.is_dir() or name.endswith((".lock", "-wal", "-shm")):
            continue
        if name in ("broker/mosquitto.conf", "broker/acl") or name.startswith("broker/data"):
            continue
        content = path.read_bytes()
        if path.suffix == ".db":
            with closing(sqlite3.connect(path)) as db:
                content = "\n".join(db.iterdump()).encode()
        found[name] = (path.stat().st_mode & 0o777, content)
    return found


def test_a_copy_ends_and_is_consistent_beside_a_busy_writer(tmp_path: Path):
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as db:
        db.execute("CREATE TABLE one (text)")
        db.execute("CREATE TABLE two (text)")
        for table in ("one", "two"):
            db.executemany(
                f"INSERT INTO {table} VALUES (?)", (("x" * 400,) for _ in range(50_000))
            )
        db.commit()
    with _busy_writer(source):
        for number in range(3):
            copy = tmp_path / f"copy{number}.db"
            copy_database(source, copy)
            rows = count_rows(copy)
            assert rows["one"] == rows["two"] > 50_000
            assert (tmp_path / "source.db-wal").stat().st_size > 0


def _archive(province: Province, seed: int) -> None:
    """Store some reports of October and of November, and archive those of October."""
    filled, device = Filled(province.database), Device(seed=seed)
    for begin in ("2026-10", "2026-11"):
        filled.store(device, device.reports(5), received_at=month_begin(begin) + 60)
    with filled.db.transaction():
        filled.streams.save_ranges()
    Archiver(filled.db, lambda _: None).archive_month("2026-10", month_begin("2026-12"))
    filled.db.close()


def test_each_file_of_the_archive_is_copied_once_and_restored(
    kaltim: Province, tmp_path: Path, desalink: Run
):
    place = tmp_path / "backups"
    place.mkdir()
    _archive(kaltim, 1)
    first = make_backup(kaltim, place, now=1)
    (copy,) = first.archives.iterdir()
    before = copy.stat()
    _archive(kaltim, 2)
    ended = desalink("-C", kaltim.directory, "backup", place)
    assert "; 2 archives in " in ended.out and "1 of them new" in ended.out
    assert copy.stat() == before
    (second,) = {*place.glob("*.tar")} - {first.path}
    for backup, count in ((first.path, 1), (second, 2)):
        restore(backup, tmp_path / f"restored{count}")
        with open_database(tmp_path / f"restored{count}" / "province.db") as db:
            stored = queries.stored(db, SLOT)
        assert sum(map(len, stored.values())) == 10 * count
    assert _files(tmp_path / "restored2") == _files(kaltim.directory)
    whole = copy.read_bytes()
    copy.chmod(0o600)
    for damage in (whole[:-1], whole[:-1] + b"x"):
        copy.write_bytes(damage)
        with pytest.raises(BackupError, match="not the file that was archived"):
            restore(first.path, tmp_path / "damaged")
    copy.unlink()
    with pytest.raises(BackupError, match="folder with the archive's files beside it"):
        restore(first.path, tmp_path / "damaged")
    assert not (tmp_path / "damaged").exists()
    (kaltim.archive / "2026-10.001.parquet").unlink()
    with pytest.raises(BackupError, match="2026-10.001.parquet is missing"):
        make_backup(kaltim, place, now=2)


def test_what_is_restored_is_the_province_with_its_modes(
    kaltim: Province, tmp_path: Path, desalink: Run
):
    with signing_registry(kaltim) as registry:
        registry.enrol(SLOT, bytes(32), board="b", firmware="1", by="x")
    open_database(kaltim.database, create=True).close()
    (kaltim.directory / "firmware").mkdir()
    (kaltim.directory / "firmware" / "esp32.bin").write_bytes(os.urandom(3 << 20))
    (kaltim.broker_directory / "local.d" / "mine.conf").write_text("sys_interval 3\n")
    (kaltim.broker_directory / "data" / "mosquitto.db").write_bytes(b"made again by the broker")
    place = tmp_path / "backups"
    place.mkdir()
    ended = desalink("-C", kaltim.directory, "backup", place)
    assert ended.code == 0 and ended.err == ""
    (backup,) = place.iterdir()
    assert ended.out.startswith(f"{backup}: ") and "0 reports, 3." in ended.out
    assert backup.stat().st_mode & 0o777 == 0o600
    with tarfile.open(backup) as tar:  # with standard tools, in case of need
        assert "keys/root.key" in tar.getnames()

    ended = desalink("restore", backup, tmp_path / "new" / "kaltim")
    assert (ended.code, ended.err) == (0, "")
    assert _files(tmp_path / "new" / "kaltim") == _files(kaltim.directory)
    assert desalink("-C", tmp_path / "new" / "kaltim", "broker", "config").code == 0


def test_only_so_many_backups_of_this_province_are_kept(
    kaltim: Province, tmp_path: Path, desalink: Run
):
    foreign = tmp_path / "desalink-63-20260101T000000Z.tar"
    foreign.touch()
    made = [make_backup(kaltim, tmp_path, now=at).path for at in (1e9, 1.1e9, 1.2e9)]
    ended = desalink("-C", kaltim.directory, "backup", tmp_path, "--keep", 2)
    assert ended.code == 0 and "2 older backups deleted" in ended.out
    assert [path.exists() for path in (foreign, *made)] == [True, False, False, True]


def test_a_backup_that_was_killed_leaves_nothing_that_looks_whole(
    kaltim: Province, tmp_path: Path
):
    place = tmp_path / "backups"
    place.mkdir()
    open_database(kaltim.database, create=True).close()
    before = _files(kaltim.directory)
    step = 1
    while killed_at(step, lambda: make_backup(kaltim, place, now=1e9)):
        for path in place.glob("*.tar"):
            read_files(path, read_manifest(path))
            path.unlink()
        step += 1
    assert step > 10
    assert [path.suffix for path in place.iterdir()] == [".tar"]  # the remains are cleared away
    assert _files(kaltim.directory) == before


def test_a_damaged_backup_is_refused(kaltim: Province, tmp_path: Path, desalink: Run):
    backup = make_backup(kaltim, tmp_path / "b.tar").path
    whole = backup.read_bytes()
    at = whole.index(b"-----BEGIN CERTIFICATE-----") + 40
    changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    for content in (b"", whole[: len(whole) // 2], whole[:-20_480], changed, b"x" * 20_000):
        backup.write_bytes(content)
        ended = desalink("restore", backup, tmp_path / "new")
        assert ended.code == 1 and "is not a whole backup" in ended.err
        assert not (tmp_path / "new").exists()


def test_a_backup_that_reaches_out_of_its_place_is_refused(tmp_path: Path, kaltim: Province):
    backup = make_backup(kaltim, tmp_path / "b.tar").path
    content = backup.read_bytes()
    for name in (b"/tmp/province.toml", b"../province.toml01"):
        assert len(name) == 18
        backup.write_bytes(content.replace(b"services/operator.crt"[:18], name))
        with pytest.raises(BackupError):
            restore(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_mistakes_are_told_before_anything_is_written(
    kaltim: Province, tmp_path: Path, desalink: Run
):
    (tmp_path / "there.tar").touch()
    for target, keep, sentence in (
        (tmp_path / "there.tar", None, "exists already"),
        (tmp_path / "no" / "b.tar", None, "There is no directory"),
        (kaltim.directory, None, "lies inside the province"),
        (tmp_path / "b.tar", 3, "--keep needs a directory"),
    ):
        options = () if keep is None else ("--keep", keep)
        ended = desalink("-C", kaltim.directory, "backup", target, *options)
        assert ended.code == 1 and sentence in ended.err
    kaltim.server_key.write_bytes(kaltim.service("ingest").key.read_bytes())
    ended = desalink("-C", kaltim.directory, "backup", tmp_path / "b.tar")
    assert ended.code == 1 and "don't belong together" in ended.err
    assert not (tmp_path / "b.tar").exists()


def test_a_second_office_command_has_to_wait(kaltim: Province, tmp_path: Path, desalink: Run):
    from host_tools.office.locking import hold_office

    with hold_office(kaltim.directory):
        ended = desalink("-C", kaltim.directory, "backup", tmp_path / "b.tar")
    assert ended.code == 75
