"""`desalink archive`: what an operator sees of it."""

import json
import os

from host_tools.province.settings import Province
from host_tools.store import lock
from host_tools.store.archiving import month_begin
from tests.host_tools.conftest import Run
from tests.world.devices import Device
from tests.world.filled import Filled


def fill(province: Province) -> None:
    filled, device = Filled(province.database), Device()
    for month in ("2025-10", "2025-11"):
        filled.store(device, device.reports(5), received_at=month_begin(month) + 60)
    with filled.db.transaction():
        for stream in filled.streams.all():
            stream.dirty = True
        filled.streams.save_ranges()
    filled.db.close()


def test_what_is_older_than_the_setting_is_archived_and_checked(kaltim: Province, desalink: Run):
    def archive(*arguments: str) -> tuple[int, str, str]:
        ended = desalink("-C", kaltim.directory, "archive", *arguments)
        return ended.code, ended.out, ended.err

    assert archive()[:2] == (0, "There is nothing to archive: no report has come yet.\n")
    fill(kaltim)
    if os.geteuid() == 0:
        for path in (kaltim.directory, *kaltim.directory.rglob("*")):
            os.chown(path, 65534, 65534)
    code, out, _ = archive("--month", "2025-11", "--json")
    assert code == 0 and json.loads(out)["reports"] == 4
    code, out, _ = archive()
    assert code == 0 and out.startswith("5 reports archived in 1 file, ")
    assert archive()[:2] == (0, "There is nothing to archive.\n")
    files = list(kaltim.archive.iterdir())
    owner = kaltim.directory.stat().st_uid
    assert len(files) == 3 and {path.stat().st_uid for path in (*files, kaltim.archive)} == {owner}
    code, good, err = archive("--check")
    assert (code, err) == (0, "") and good == f"2 files. {out.split('MB. ')[1]}"
    damaged = kaltim.archive / "2025-10.001.parquet"
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    code, out, err = archive("--check")
    assert code == 1 and out == good and str(damaged) in err and "backup" in err


def test_mistakes_are_sentences(kaltim: Province, desalink: Run):
    fill(kaltim)
    path = kaltim.database
    for arguments, code, sentence in (
        (("--month", "2026-13"), 2, "'2026-13' is no month"),
        (("--month", "2026-10", "--check"), 2, "not both"),
        (("--month", "2199-01"), 1, "2199-01 is not over"),
    ):
        ended = desalink("-C", kaltim.directory, "archive", *arguments)
        assert ended.code == code and sentence in ended.err
    with lock(path.with_name(f"{path.name}.rebuild")):
        ended = desalink("-C", kaltim.directory, "archive")
    assert ended.code == 75 and "try again later" in ended.err
