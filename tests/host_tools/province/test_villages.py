"""Looking villages up, and importing their positions from people's tables."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from host_tools.common.errors import VillageError, VillageImportError
from host_tools.common.spreadsheets import SpreadsheetError
from host_tools.province.positions import Place, read_table
from host_tools.province.registry import Registry, Village
from host_tools.province.settings import Province
from host_tools.province.villages import find_regency, find_village, villages_of_province
from tests.host_tools.conftest import Run

MARATUA = """\
code\tvillage\tdistrict\tregency\tlat\tlon\tsite
64.03.11.2001\tBohe Silian\tMaratua\tKabupaten Berau\t\t\t
64.03.11.2002\tPayung-Payung\tMaratua\tKabupaten Berau\t\t\t
64.03.11.2003\tTeluk Alulu\tMaratua\tKabupaten Berau\t\t\t
64.03.11.2004\tTeluk Harapan\tMaratua\tKabupaten Berau\t\t\t
"""
NO_CODE = "'{}' is not a village code of 10 digits"


@pytest.fixture(scope="module")
def villages(founded: Path) -> list[Village]:
    with Registry.open(founded) as registry:
        return registry.villages()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--find", "maratua"],
        ["--find", "64.03.11"],
        ["--find", "640311"],
        ["--regency", "6403", "--find", "Maratua"],
        ["--regency", "64.03", "--find", "Maratua"],
        ["--regency", "berau", "--find", "Maratua"],
        ["--regency", "Kab. Berau", "--find", "Maratua"],
    ],
)
def test_villages_are_found_as_people_name_them(
    desalink: Run, founded: Path, arguments: list[str]
):
    ended = desalink("-C", founded, "villages", *arguments)
    assert (ended.code, ended.out, ended.err) == (0, MARATUA, "4 villages\n")


def test_json_has_codes_without_dots_and_null_positions(desalink: Run, founded: Path):
    listed = json.loads(desalink("-C", founded, "villages", "--find", "Alulu", "--json").out)
    assert listed == [
        {"code": "6403112003", "name": "Teluk Alulu", "district": "Maratua"}
        | {"regency": "Kabupaten Berau", "lat": None, "lon": None, "site": None}
        | {"provider": None}
    ]


def test_what_is_not_found_or_ambiguous_is_reported(
    desalink: Run, founded: Path, registry: Registry
):
    ended = desalink("-C", founded, "villages", "--find", "Atlantis")
    assert (ended.code, ended.out) == (0, "")
    assert "No village matches" in ended.err
    assert desalink("-C", founded, "villages", "--find", "Atlantis", "--json").out == "[]\n"
    assert find_regency(registry, "Kabupaten Kutai Timur") == "6408"
    ended = desalink("-C", founded, "villages", "--regency", "kutai")
    assert ended.code == 1
    assert ended.err == (
        "desalink: 'kutai': several regencies are called that; choose one of 6402 Kabupaten Kutai "
        "Kartanegara, 6407 Kabupaten Kutai Barat, 6408 Kabupaten Kutai Timur.\n"
    )
    ended = desalink("-C", founded, "villages", "--regency", "Atlantis")
    assert "this province has no such regency; choose one of 6401 Kabupaten Paser" in ended.err


def test_each_regency_has_its_number_of_villages_and_no_kelurahan(registry: Registry):
    counts = {code: len(registry.villages(code)) for code in registry.regencies()}
    assert counts == {
        "6401": 139, "6402": 193, "6403": 100, "6407": 190, "6408": 139, "6409": 30, "6411": 50,
    }  # fmt: skip
    # A town's kelurahan is not a village.
    assert all(village.code[6] in "23" for village in villages_of_province("64"))


@pytest.mark.parametrize(
    ("text", "wrong", "remedy"),
    [
        (
            "6403112007",
            "This province has no village '6403112007'",
            "; did you mean 6403112001 Bohe Silian (Maratua), ",
        ),
        ("640311200", NO_CODE, "; did you mean 6403112001 Bohe Silian (Maratua), "),
        (
            "bohe silian",
            "'Bohe Silian' is a village's name",
            "; give its code: 6403112001 Bohe Silian (Maratua).",
        ),
        (
            "zzzzzzzz",
            "This province has no village 'zzzzzzzz'",
            "; find it with 'desalink villages --find NAME'.",
        ),
    ],
)
def test_a_slip_in_a_code_or_a_name_is_answered_with_codes(
    registry: Registry, text: str, wrong: str, remedy: str
):
    assert find_village(registry, " 64.03.11.2001 ").name == "Bohe Silian"
    with pytest.raises(VillageError) as raised:
        find_village(registry, text)
    assert str(raised.value).startswith(wrong.format(text) + remedy)


def test_a_name_that_several_villages_have_is_answered_with_all_of_them(
    desalink: Run, founded: Path, villages: list[Village]
):
    ((name, count),) = Counter(village.name for village in villages).most_common(1)
    assert count > 4
    ended = desalink("-C", founded, "status", "--village", name.upper())
    assert ended.code == 1
    assert f"Several villages are called {name}: " in ended.err
    assert {v.code for v in villages if v.name == name} == set(re.findall("[0-9]{10}", ended.err))
    alone = desalink("-C", founded, "status", "--village", "teluk alulu")
    assert alone.code == 0, alone.err


def table(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "positions.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


GOOD = [
    Place("6403112001", (2.25, 118.6), "Kantor desa"),
    Place("6403112003", (-1.5, 118.5), None),
]


@pytest.mark.parametrize(
    "content",
    [
        "code,lat,lon,site\n64.03.11.2001,2.25,118.6,Kantor desa\n6403112003,-1.5,118.5,\n",
        "\ufeffcode;lat;lon;site\r\n64.03.11.2001;2,25;118,6;Kantor desa\r\n"
        "6403112003;-1,5;118,5\r\n",
        "Kode\tLintang\tBujur\tLokasi\n6403112001\t2.25\t118.6\tKantor  desa\n\n"
        "6403112003\t-1.5\t118.5\t\n",
        'lat,lon,code,site\n"2,25","118,6",6403112001,"Kantor desa"\n−1.5,+118.5,6403112003,\n',
        "code,lat,lon,site\n6403112001,2.25,118.6,Kantor desa\n6403112003,-1.5,118.5,".encode(
            "utf-16"
        ),
        "code,name,lat,lon,site\n6403112001,x,2.25,118.6,Kantor desa\n6403112003,y,-1.5,118.5,\n",
        "code,name,lat,lon\n6403112001,Kantor desa,2.25,118.6\n6403112003,TELUK ALULU,"
        "-1.5,118.5\n",
    ],
    ids=["plain", "excel-id", "tabs", "quoted-comma", "utf-16", "site-before-name", "own-name"],
)  # fmt: skip
def test_tables_are_read_however_they_were_exported(
    tmp_path: Path, villages: list[Village], content: str | bytes
):
    read = read_table(table(tmp_path, content), villages)
    assert (read.places, read.problems) == (GOOD, [])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("6403112009,1,118", "6403112009: this province has no such village; the nearest is 64.0"),
        ("640311200,1,118", "640311200: not a village code of 10 digits"),
        ("6.40311E+09,1,118", "6.40311E+09: a spreadsheet turned the code into a number"),
        (",1,118", "the code is empty"),
        ("6403112001,,118", "64.03.11.2001 Bohe Silian: lat and lon must both be given"),
        ("6403112001,1.2.3,118", "64.03.11.2001 Bohe Silian: lat '1.2.3' is not a number"),
        ("6403112001,nan,118", "64.03.11.2001 Bohe Silian: lat 'nan' is not a number"),
        ("6403112001,118.6,2.25", "64.03.11.2001 Bohe Silian: lat 118.6 and lon 2.25 are swapped"),
        ("6403112001,48.1,11.6", "64.03.11.2001 Bohe Silian: lat 48.1, lon 11.6 is not in"),
        ("6403112001,0,0", "64.03.11.2001 Bohe Silian: lat 0, lon 0 is not in Indonesia"),
        ("6403112001,,", "64.03.11.2001 Bohe Silian: the row has no position, no site name"),
        ("6403112001", "64.03.11.2001 Bohe Silian: the row has no position, no site name"),
        ("6403112001,,," + "x" * 121, "64.03.11.2001 Bohe Silian: the site name has 121"),
        ("6403112001,,,a\x07b", "64.03.11.2001 Bohe Silian: the site name holds characters"),
    ],
)  # fmt: skip
def test_a_bad_row_is_reported_with_line_village_and_reason(
    tmp_path: Path, villages: list[Village], row: str, problem: str
):
    content = f"code,lat,lon,site\n6403112004,2.2,118.5,\n{row}\n6403112002,2.3,118.5,\n"
    read = read_table(table(tmp_path, content), villages)
    assert [place.code for place in read.places] == ["6403112004", "6403112002"]
    assert len(read.problems) == 1
    assert read.problems[0].startswith(f"line 3: {problem}")


def test_a_village_twice_names_the_first_line(tmp_path: Path, villages: list[Village]):
    content = 'code,lat,lon,site\n6403112001,2,118,"two\nlines"\n64.03.11.2001,2,118,\n'
    read = read_table(table(tmp_path, content), villages)
    assert read.places == [Place("6403112001", (2.0, 118.0), "two lines")]
    assert read.problems == ["line 4: 64.03.11.2001 Bohe Silian: the same village as line 2"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "no column 'code'"),
        ("nama,lat,lon\n", "no column 'code' in its first line (it has: nama, lat, lon)"),
        ("code,lat\n", "no column 'lon'"),
        ("code,remark\n", "neither lat and lon nor site"),
        (b"PK\x03\x04rest", "can't be read as a workbook"),
        (b"\xff\xfea", "cut UTF-16"),
        (b"code\x00,lat,lon\n", "is not a text table"),
        ('code,lat,lon\n6403112001,"' + "1" * 200_000, "can't be read as a table near line"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, villages: list[Village], content: str | bytes, sentence: str
):
    with pytest.raises((VillageImportError, SpreadsheetError)) as raised:
        read_table(table(tmp_path, content), villages)
    assert sentence in str(raised.value)


def test_one_bad_line_imports_nothing_unless_it_may_be_skipped(
    desalink: Run, kaltim: Province, tmp_path: Path
):
    path = table(tmp_path, "code,lat,lon\n6403112001,2.2,118.6\n6403112009,2.2,118.6\n")
    ended = desalink("-C", kaltim.directory, "villages", "import", path)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        "line 3: 6403112009: this province has no such village; the nearest is 64.03.11.2001 "
        "Bohe Silian",
        f"desalink: {path}: 1 bad line of 2, nothing was imported; correct them, or import the "
        "good ones with --skip-bad.",
    ]
    assert desalink("-C", kaltim.directory, "villages", "--find", "Maratua").out == MARATUA
    ended = desalink("-C", kaltim.directory, "villages", "import", path, "--skip-bad")
    assert ended.code == 0
    assert ended.out == ("1 village imported: 1 position, 0 site names, 1 bad line skipped.\n")
    listed = desalink("-C", kaltim.directory, "villages", "--find", "Bohe Silian").out
    assert "Bohe Silian\tMaratua\tKabupaten Berau\t2.20000\t118.60000\t\n" in listed


def test_at_most_twenty_bad_lines_are_shown(desalink: Run, kaltim: Province, tmp_path: Path):
    path = table(tmp_path, "code,lat,lon\n" + "1,2,3\n" * 50)
    lines = desalink("-C", kaltim.directory, "villages", "import", path).err.splitlines()
    assert len(lines) == 22
    assert lines[20] == "... and 30 more bad lines"


def test_windows_text_is_read_and_said(
    desalink: Run, kaltim: Province, registry: Registry, tmp_path: Path
):
    path = table(tmp_path, "code,site\n6403112001,Café\n".encode("cp1252"))
    ended = desalink("-C", kaltim.directory, "villages", "import", path)
    assert ended.code == 0
    assert "was read as Windows-1252" in ended.err
    village = registry.village("6403112001")
    assert village is not None and village.site == "Café"


def test_a_site_alone_leaves_the_position_as_it_was(registry: Registry):
    registry.place_villages([("6403112001", (2.2, 118.6), None, None)])
    registry.place_villages([("6403112001", None, "Puskesmas", None)])
    village = registry.village("6403112001")
    assert village is not None
    assert (village.lat, village.lon, village.site) == (2.2, 118.6, "Puskesmas")
    with pytest.raises(VillageError, match="nothing was imported"):
        registry.place_villages(
            [("6403112001", None, "Sekolah", None), ("6499999999", None, "x", None)]
        )
    assert registry.village("6403112001") == village
