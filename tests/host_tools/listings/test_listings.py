"""One listing on a terminal, in a page and as each file, where names come from outside."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import sys
from pathlib import Path

import openpyxl
import pypdfium2
import pytest

from host_tools.common.errors import CONTROL
from host_tools.listings import html
from host_tools.listings.files import FORMATS
from host_tools.listings.model import CODE, NUMBER, TIME, Column, Listing
from host_tools.listings.terminal import print_table
from host_tools.province.settings import Province
from tests.host_tools.conftest import Run
from tests.support import ROOT

FORMULA = '=HYPERLINK("http://x","y")'
SCRIPT = "<script>alert(1)</script>"
VILLAGE, OTHER = "6403112001", "6403112002"
# Orders to a terminal of 7 and 8 bits, and what turns the direction of writing round.
ORDERS = ("a\x1b[2J\x1b]0;b\x07", "a\x9b2J", "a\u202eb", "a\u2066b", "a\rb", "a\x00b", "\ufffe")
FORMULAS = (FORMULA, "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1")


def sheet(content: bytes) -> list[list[object]]:
    book = openpyxl.load_workbook(io.BytesIO(content))
    cells = [cell for row in book.worksheets[0].iter_rows() for cell in row]
    assert all(cell.data_type != "f" for cell in cells)
    return [list(row) for row in book.worksheets[0].values]


def rows_of(content: bytes | str) -> list[list[str]]:
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    assert not CONTROL.search(text.replace("\r\n", "\n"))
    return list(csv.reader(io.StringIO(text)))


def listing(*names: str) -> Listing:
    columns = [
        Column("name", "Name", of=lambda name: name),
        Column("length", "Length", NUMBER, len),
        Column("balance", "", NUMBER, lambda name: -len(name)),
    ]
    return Listing("names", columns, names)


@pytest.mark.parametrize("name", [*FORMULAS, *ORDERS, SCRIPT, "x" * 300, "a\nb"])
def test_a_name_is_shown_and_not_obeyed(name: str, capsys: pytest.CaptureFixture[str]):
    table = listing(name)
    print_table(table)
    heading, line = capsys.readouterr().out.splitlines()
    assert heading == "Name\tLength" and not CONTROL.search(line) and line.count("\t") == 1
    text, length, balance = rows_of(FORMATS["csv"].write(table))[1]
    assert not text.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert (length, balance) == (str(len(name)), str(-len(name)))
    (_heading, (cell, *numbers)) = sheet(FORMATS["xlsx"].write(table))
    assert not str(cell).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert numbers == [len(name), -len(name)]
    content = FORMATS["json"].write(table).decode()
    assert not CONTROL.search(content)
    assert json.loads(content) == [{"name": name, "length": len(name), "balance": -len(name)}]
    assert "<script" not in html.table(table.for_eyes(), table.rows)


def test_a_column_stands_where_it_has_a_name(capsys: pytest.CaptureFixture[str]):
    columns = [
        Column("code", "Code", CODE, lambda row: row[0], shown=lambda row: row[0].lower()),
        Column("at", "At", TIME, lambda row: row[1]),
        Column("", "Remark", of=lambda row: row[2]),
    ]
    table = Listing("rows", columns, [("A", 0, "new"), ("B", None, None)])
    print_table(table)
    assert capsys.readouterr().out.splitlines() == [
        "Code\tAt\tRemark",
        "a\t1970-01-01 08:00 WITA\tnew",
        "b\t\t",
    ]
    assert table.records() == [
        {"code": "A", "at": "1970-01-01T08:00:00+08:00"},
        {"code": "B", "at": None},
    ]


def screen(width: int, columns: str, rows: str) -> str:
    """What a terminal of that width shows of a listing."""
    source = (
        "from host_tools.listings.model import Column, Listing\n"
        "from host_tools.listings.terminal import print_table\n"
        f"print_table(Listing('x', {columns}, {rows}))\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        size = {"COLUMNS": str(width), "LINES": "50", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
        os.execve(sys.executable, [sys.executable, "-c", source], {**os.environ, **size})
    said = b""
    try:
        while more := os.read(terminal, 4096):
            said += more
    except OSError:
        pass  # it has ended
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, said
    return said.decode()


def test_a_narrow_screen_keeps_what_must_be_seen():
    columns = "[Column('', n, of=lambda r, i=i: r[i] * 20, spare=i) for i, n in enumerate('ABC')]"
    wide, narrow = screen(80, columns, "['xyz']"), screen(50, columns, "['xyz']")
    assert "z" * 20 in wide
    assert "x" * 20 in narrow and "y" * 20 in narrow and "z" not in narrow


def test_a_screen_does_not_obey():
    said = screen(80, "[Column('', 'Name', of=str)]", r"['[red]a\x1b[2J\x9bb\u202ec']")
    assert "[red]a?[2J?b?c" in said


@pytest.fixture
def named(desalink: Run, kaltim: Province, tmp_path: Path):
    """A province whose villages' sites, providers and contracts have hostile names."""
    with (tmp_path / "places.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("code", "lat", "lon", "site", "provider"),
                (VILLAGE, "-1.5", "116.1", FORMULA, SCRIPT),
                (OTHER, "-1.6", "116.2", SCRIPT, FORMULA),
            ]
        )
    with (tmp_path / "contracts.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("slot", "provider", "product", "medium", "mbps", "price", "target", "from"),
                (VILLAGE, FORMULA, SCRIPT, "radio", "50", "1150000", "99", "2026-10-01"),
                (OTHER, SCRIPT, FORMULA, "fibre", "100", "1200000", "99", "2026-10-16"),
            ]
        )

    def run(*words: object):
        return desalink("-C", kaltim.directory, *words)

    assert run("villages", "import", tmp_path / "places.csv").code == 0
    assert run("contracts", "import", tmp_path / "contracts.csv").code == 0
    return run


def test_hostile_names_are_harmless_in_what_the_verbs_print(named):
    for words in (("villages", "--find", "6403112001"), ("contracts", "list")):
        table = named(*words).out
        assert FORMULA in table and SCRIPT in table
        assert FORMULA in json.dumps(json.loads(named(*words, "--json").out)).replace('\\"', '"')
        cells = [cell for row in rows_of(named(*words, "--csv").out) for cell in row]
        assert f"'{FORMULA}" in cells and FORMULA not in cells
    (_heading, place) = rows_of(named("villages", "--find", "6403112001", "--csv").out)
    assert place[4:6] == ["-1.5", "116.1"]
    cells = [
        cell for row in rows_of(named("month", "show", "2026-10", "--csv").out) for cell in row
    ]
    assert f"'{FORMULA}" in cells and FORMULA not in cells


def test_hostile_names_are_harmless_in_the_report(named, tmp_path: Path):
    folder = tmp_path / "report"
    ended = named("report", "--month", "2026-10", "-o", folder)
    assert ended.code == 0, ended.err
    for path in folder.glob("*.html"):
        assert "<script" not in path.read_text(), path.name
    cells = [cell for row in rows_of((folder / "figures.csv").read_bytes()) for cell in row]
    assert f"'{FORMULA}" in cells and FORMULA not in cells
    book = sheet((folder / "report.xlsx").read_bytes())
    assert any(f"'{FORMULA}" in row for row in book)
    document = pypdfium2.PdfDocument(folder / "villages-6403.pdf")
    text = "".join(page.get_textpage().get_text_range() for page in document)
    assert "=HYPERLINK" in text and "<script>" in text
    assert b"/JavaScript" not in (folder / "villages-6403.pdf").read_bytes()


@pytest.mark.parametrize("name", ["a\u202eb", "a\x1b[2Jb", "a\x9bb", "x" * 300])
@pytest.mark.parametrize("column", ["site", "provider"])
def test_a_name_that_can_not_be_shown_is_refused_in_one_sentence(
    desalink: Run, kaltim: Province, tmp_path: Path, name: str, column: str
):
    path = tmp_path / "places.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("code", "lat", "lon", column), (VILLAGE, "-1.5", "116.1", name)]
        )
    ended = desalink("-C", kaltim.directory, "villages", "import", path)
    assert ended.code == 1 and not CONTROL.search(ended.err) and "line 2" in ended.err
    listed = desalink("-C", kaltim.directory, "villages", "--find", VILLAGE, "--json").out
    assert json.loads(listed)[0][column] is None


@pytest.mark.parametrize("name", ["a\u202eb", "a\x1b[2Jb", "a\x9bb", "x" * 300])
def test_a_contract_with_such_a_name_is_refused(
    desalink: Run, kaltim: Province, tmp_path: Path, name: str
):
    path = tmp_path / "contracts.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("slot", "provider", "product", "medium", "mbps", "price", "target", "from"),
                (VILLAGE, name, "Desa 50", "radio", "50", "1150000", "99", "2026-10-01"),
            ]
        )
    ended = desalink("-C", kaltim.directory, "contracts", "import", path)
    assert ended.code == 1 and not CONTROL.search(ended.err) and "provider" in ended.err
    listed = desalink("-C", kaltim.directory, "contracts", "list", "--json").out
    assert json.loads(listed) == []
