"""The files of an archive and their list: what was changed is found."""

import json
from pathlib import Path

import pytest

from host_tools.archive.chain import LIST, Chain, Listed, file_digest
from host_tools.archive.errors import ArchiveDamaged
from host_tools.archive.file import ROWS, ArchivedReport, ArchiveFile, write
from tests.world.devices import Device


def reports(count: int) -> list[ArchivedReport]:
    device = Device()
    return [
        ArchivedReport(
            *(device.slot, device.kid, device.stream, seq, 1, seq * 300),
            *(None if seq % 3 else 1_795_500_000, 1_795_500_300, message),
        )
        for seq, message in enumerate(device.reports(count), 1)
    ]


def filled(folder: Path, months: tuple[str, ...] = ("2026-10", "2026-11", "2026-10")) -> Chain:
    chain = Chain(folder)
    for month in months:
        name = chain.next_name(month)
        folder.mkdir(exist_ok=True)
        write(folder / name, reports(3))
        size, digest = (folder / name).stat().st_size, file_digest(folder / name)
        chain.append(Listed(name, month, 3, 1, 2, size, digest, chain.head))
    return chain


def test_what_was_written_is_read_back_byte_for_byte(tmp_path):
    one = reports(40)
    many = [report._replace(seq=seq) for seq in range(ROWS // 40 + 1) for report in one]
    assert write(tmp_path / "a", many) == len(many)
    file = ArchiveFile(tmp_path / "a")
    assert file.groups == 2
    assert [report for group in file for report in group] == many
    assert file.read(1, 2, 3) == many[ROWS + 2 : ROWS + 5]


def test_any_program_that_reads_parquet_can_read_it(tmp_path):
    from pyarrow import parquet

    write(tmp_path / "a", reports(2))
    table = parquet.read_table(tmp_path / "a").to_pydict()
    assert table["message"] == [report.message for report in reports(2)]
    assert table["start"] == [None, None]


def test_a_flipped_bit_never_gives_other_reports(tmp_path):
    path = tmp_path / "a"
    write(path, reports(20))
    whole, found = path.read_bytes(), 0
    for at in range(0, len(whole), 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            assert ArchiveFile(path).read(0) == reports(20)
        except ArchiveDamaged as error:
            assert "put this file back" in str(error)
            found += 1
    assert found > 50


def test_the_list_goes_on_where_it_ended(tmp_path):
    chain = filled(tmp_path / "archive")
    again = Chain(tmp_path / "archive")
    assert again.files == chain.files and again.head == chain.head
    assert [listed.file for listed in again] == [
        "2026-10.001.parquet",
        "2026-11.001.parquet",
        "2026-10.002.parquet",
    ]
    for listed in again:
        again.check(listed)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0].replace(b'"reports":3', b'"reports":4'), *lines[1:]],
        lambda lines: [lines[0][:-4], *lines[1:]],
        lambda lines: [*lines[:2], lines[2].replace(b"2026-10.002", b"../../../etc")],
        lambda lines: [*lines, b"[]"],
    ],
)
def test_a_changed_list_is_refused(tmp_path, change):
    filled(tmp_path)
    lines = (tmp_path / LIST).read_bytes().splitlines()
    (tmp_path / LIST).write_bytes(b"\n".join(change(lines)) + b"\n")
    with pytest.raises(ArchiveDamaged, match="put it back"):
        Chain(tmp_path)


def test_a_line_names_the_digest_of_the_line_before(tmp_path):
    import hashlib

    filled(tmp_path)
    lines = (tmp_path / LIST).read_bytes().splitlines()
    assert [json.loads(line)["previous"] for line in lines] == [
        "0" * 64,
        *(hashlib.sha256(line).hexdigest() for line in lines[:2]),
    ]


def test_a_changed_or_missing_file_is_named(tmp_path):
    chain = filled(tmp_path)
    first, second, third = chain
    path = tmp_path / first.file
    path.write_bytes(path.read_bytes()[:-1] + b"0")
    (tmp_path / second.file).unlink()
    for listed in (first, second):
        with pytest.raises(ArchiveDamaged, match=listed.file):
            chain.check(listed)
    chain.check(third)
