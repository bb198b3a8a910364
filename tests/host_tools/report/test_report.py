"""The month's report as an office gets it: pages, PDF, tables; from the verb to the file."""

import csv
import hashlib
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import openpyxl
import pypdfium2
import pytest

from host_tools.common.i18n import set_language
from host_tools.contracts.calendar import month_of
from host_tools.province.settings import Province
from host_tools.report import drawing
from host_tools.store import open_database
from tests.host_tools.conftest import Run
from tests.host_tools.evidencing import signing_registry

OCTOBER = month_of("2026-10")
B, E = OCTOBER.begin, OCTOBER.end
HOUR = 3600
CODES = ["6403112001", "6403112002", "6401012009"]
CONTRACTS = (
    "slot,provider,product,medium,mbps,price,target,from\n"
    "6403112001,=Comtelindo,<b>Desa</b> 50,radio,50,1150000,99,2026-10-01\n"
    "6403112002,Icon+,Desa 100,fibre,100,1200000,99,2026-10-16\n"
)


@pytest.fixture
def office(desalink: Run, kaltim: Province, tmp_path: Path):
    """A province of three villages: one with a long outage, one half a month, one silent."""
    with open_database(kaltim.database, create=True) as db, db.transaction():
        for number, code in enumerate(CODES, 1):
            db.execute("INSERT INTO slots VALUES (?, ?, ?)", (number, f"{code}-1", code))
        timelines = {
            1: [(B, B + 10 * HOUR, "provider"), (B + 10 * HOUR, E, "up")],
            2: [(B, E - 100 * HOUR, "up"), (E - 100 * HOUR, E, "power")],
        }
        for slot_id, spans in timelines.items():
            db.executemany(
                "INSERT INTO intervals VALUES (?, ?, ?, ?)", [(slot_id, *s) for s in spans]
            )
        db.executemany(
            "INSERT INTO usage_hours (slot_id, hour, measured_s, bytes_down, bytes_up, "
            "clients_peak, clients_day) VALUES (2, ?, 3600, 0, 0, 0, 0)",
            [(B + hour * HOUR,) for hour in range(24 * 8)],
        )
    path = tmp_path / "contracts.csv"
    path.write_text(CONTRACTS)

    def run(*words: object):
        return desalink("-C", kaltim.directory, *words)

    assert run("contracts", "import", path).code == 0
    return run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


class _Loads(HTMLParser):
    """What a page would load from elsewhere, and tables without headings."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tables = self.headings = 0

    def handle_starttag(self, tag, attrs):
        self.tables += tag == "table"
        self.headings += tag == "th"
        for name, value in attrs:
            if name in ("src", "href", "action") or "url(" in (value or ""):
                self.found.append(f"{tag} {name}={value}")
        assert tag not in ("script", "b-injected", "iframe"), tag


def test_the_whole_report(office, tmp_path: Path):
    folder = tmp_path / "report"
    ended = office("report", "--month", "2026-10", "-o", folder)
    assert (ended.code, ended.out) == (0, f"15 files about 3 slots: {folder}\n")
    # The list of digests is of all the files, and right.
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    first, *halves, silent = sorted(rows(folder / "figures.csv"), key=lambda r: r["slot"][3:])
    by_slot = {row["slot"]: row for row in (first, *halves, silent)}
    outage = by_slot["6403112001-1"]
    assert (outage["down_s"], outage["up_s"]) == ("36000", str(E - B - 36_000))
    # A name is never a formula.
    assert outage["provider"] == "'=Comtelindo"
    for row in by_slot.values():
        kinds = [int(value) for key, value in row.items() if key.endswith("_s")]
        assert sum(kinds) in (E - B, (E - B) - 15 * 86_400, 15 * 86_400)
    assert by_slot["6401012009-1"]["availability_percent"] == ""
    assert by_slot["6401012009-1"]["unknown_s"] == str(E - B)
    (charged,) = rows(folder / "outages.csv")
    assert (charged["begin"], charged["charged_s"]) == ("2026-10-01T00:00:00+08:00", "36000")
    book = openpyxl.load_workbook(folder / "report.xlsx")
    assert book.sheetnames == ["figures", "outages", "usage"]
    assert book["figures"].max_row == 1 + len(rows(folder / "figures.csv"))
    for page in folder.glob("*.html"):
        parser = _Loads()
        parser.feed(page.read_text())
        assert parser.found == [], page.name
        assert parser.tables <= parser.headings or page.name == "strips.html"
    # What comes from outside is shown, not obeyed.
    village = (folder / "villages-6403.html").read_text()
    assert "&lt;b&gt;Desa&lt;/b&gt;" in village and "<b>Desa</b>" not in village
    # 10 h of 744 against 99 %: (0.99 - 734 / 744) x 1,150,000, rounded half up.
    assert "Rp 3.957" in village and "98.66 %" in village
    summary = (folder / "summary.html").read_text()
    assert "Installed but unused" in summary and "6403112002-1" in summary


def test_the_pdf_has_text_a_page_a_village_and_the_digest(office, tmp_path: Path):
    folder = tmp_path / "report"
    office("month", "close", "2026-10")
    digest = hashlib.sha256(office("month", "figures", "2026-10").out.encode()).hexdigest()
    office("report", "--month", "2026-10", "-o", folder)
    document = pypdfium2.PdfDocument(folder / "villages-6403.pdf")
    pages = [page.get_textpage().get_text_range() for page in document]
    assert len(pages) == 2
    assert "Bohe Silian" in pages[0] and "Payung-Payung" in pages[1]
    assert all(digest in page for page in pages)
    assert not any("not closed" in page for page in pages)


def test_in_indonesian(office, tmp_path: Path, monkeypatch):
    folder = tmp_path / "laporan"
    ended = office("--lang", "id", "report", "--month", "2026-10", "-o", folder, "--no-pdf")
    set_language(None)
    assert ended.code == 0
    village = (folder / "villages-6403.html").read_text()
    assert 'lang="id"' in village and "98,66 %" in village and "Ketersediaan" in village
    # No label is left in English.
    assert "Availability" not in village and "Minutes" not in village


def test_a_closed_month_never_shows_other_figures(office, kaltim: Province, tmp_path: Path):
    office("month", "close", "2026-10")
    words = ("report", "--month", "2026-10", "-o", tmp_path / "r", "--no-pdf")
    assert office(*words).code == 0
    with open_database(kaltim.database) as db, db.transaction():
        db.execute("UPDATE intervals SET state = 'power' WHERE slot_id = 1 AND state = 'up'")
    for changed in (words, ("month", "show", "2026-10")):
        ended = office(*changed)
        assert ended.code == 1
        assert "2026-10 is closed, and 6403112001-1 counts otherwise" in ended.err
    # Others of that month are as they were.
    assert office(*words, "--village", "6403112002").code == 0


def test_only_a_providers_villages(office, tmp_path: Path):
    folder = tmp_path / "report"
    office("report", "--month", "2026-10", "-o", folder, "--provider", "Icon+", "--no-pdf")
    assert {row["slot"] for row in rows(folder / "figures.csv")} == {"6403112002-1"}
    assert "Only some slots were chosen" in (folder / "summary.html").read_text()


def test_nothing_to_report_on(desalink: Run, kaltim: Province, tmp_path: Path):
    ended = desalink("-C", kaltim.directory, "report", "--month", "2026-10", "-o", tmp_path / "r")
    assert ended.code == 1 and "No slot has a contract or a device" in ended.err


def test_the_workbook_opens_without_macros_or_links(office, tmp_path: Path):
    office("report", "--month", "2026-10", "-o", tmp_path / "r", "--no-pdf")
    with zipfile.ZipFile(tmp_path / "r" / "report.xlsx") as book:
        names = book.namelist()
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert not any("vba" in name or "externalLink" in name for name in names)
    assert "<f>" not in sheet


class TestDrawings:
    def test_an_outage_of_a_minute_is_seen_in_the_month(self):
        spans = [(B, B + 60, "down"), (B + 60, E, "up")]
        assert drawing.COLOURS["down"] in drawing.strip(OCTOBER, spans)
        fill = drawing.COLOURS["down"]
        (path,) = re.findall(rf'fill="{fill}" d="([^"]*)"', drawing.grid(OCTOBER, spans))
        assert path == "M20 0h1v6h-1z"

    def test_colours_are_told_apart_in_grey(self):
        def grey(colour: str) -> float:
            red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue

        assert abs(grey(drawing.COLOURS["up"]) - grey(drawing.COLOURS["down"])) > 100
        assert abs(grey(drawing.COLOURS["up"]) - grey(drawing.COLOURS["power"])) > 60


def test_the_registry_of_before_gets_the_new_tables(kaltim: Province):
    with signing_registry(kaltim) as registry:
        assert registry.contracts() == [] and registry.closed_months() == []
