"""The month's report as an office gets it: pages, PDF, tables; from the verb to the file."""

import base64
import csv
import ctypes
import hashlib
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import openpyxl
import PIL.Image
import pypdfium2
import pytest

from agent.wire import ids
from host_tools.common.i18n import set_language
from host_tools.contracts.calendar import month_of
from host_tools.province.settings import Province
from host_tools.report import drawing
from host_tools.store import open_database
from tests.host_tools.conftest import Run
from tests.world.devices import Device, ordinary
from tests.world.filled import Filled

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
        db.execute(
            "INSERT INTO streams (id, kid, slot_id, stream, first_at, ranges) "
            "VALUES (1, ?, 1, ?, ?, '1-9')",
            (b"k" * 8, b"abcd", B),
        )
        db.execute(
            "INSERT INTO outages (stream_id, boot, begin_up, cause, slot_id, flaps, t_begin, "
            "t_end, interrupted, told) VALUES (1, 1, 0, 5, 1, 0, ?, ?, 0, 7)",
            (B, B + 10 * HOUR),
        )
        db.execute(
            "INSERT INTO quarantine_notes (id, noted_at, action, who, why) "
            "VALUES (1, ?, 'dismiss', 'Budi', 'a copied card')",
            (B,),
        )
        db.executemany(
            "INSERT INTO quarantine (id, digest, topic, payload, reason, detail, slot, "
            "received_at, last_at, note_id) VALUES (?, ?, '', '', 'conflict', '', "
            "'6403112001-1', ?, 0, ?)",
            [(1, b"1", B, 1), (2, b"2", B, 1), (3, b"3", E, None)],
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
        self.tables = self.headings = self.images = self.named = 0

    def handle_starttag(self, tag, attrs):
        self.tables += tag == "table"
        self.headings += tag == "th"
        self.images += tag == "img"
        self.named += tag == "img" and bool(dict(attrs).get("alt"))
        for name, value in attrs:
            if name == "src" and (value or "").startswith("data:image/png;base64,"):
                continue
            if name in ("src", "href", "action") or "url(" in (value or ""):
                self.found.append(f"{tag} {name}={value}")
        assert tag not in ("script", "b-injected", "iframe"), tag


def test_the_whole_report(office, tmp_path: Path):
    folder = tmp_path / "report"
    ended = office("report", "--month", "2026-10", "-o", folder, "--no-pdf")
    assert (ended.code, ended.out) == (0, f"10 files about 3 slots: {folder}\n")
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
    # What an auditor looks up: the stream, and the number of the report that says it.
    assert charged["reports"] == "61626364:7"
    assert "61626364:7" in (folder / "villages-6403.html").read_text()
    book = openpyxl.load_workbook(folder / "report.xlsx")
    assert book.sheetnames == ["figures", "outages", "usage"]
    assert book["figures"].max_row == 1 + len(rows(folder / "figures.csv"))
    for page in folder.glob("*.html"):
        parser = _Loads()
        parser.feed(page.read_text())
        assert parser.found == [], page.name
        assert parser.tables <= parser.headings and parser.images == parser.named, page.name
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
    evidence = tmp_path / "oct.evidence"
    evidence.write_bytes(b"its bytes")
    ended = office("report", "--month", "2026-10", "-o", folder, "--evidence", evidence)
    assert (ended.code, ended.out) == (0, f"15 files about 3 slots: {folder}\n")
    document = pypdfium2.PdfDocument(folder / "villages-6403.pdf")
    pages = [page.get_textpage().get_text_range() for page in document]
    assert len(pages) == 2
    assert "Bohe Silian" in pages[0] and "Payung-Payung" in pages[1]
    assert all(digest in page for page in pages)
    assert not any("not closed" in page for page in pages)
    file = hashlib.sha256(b"its bytes").hexdigest()
    for page in pages:
        assert f"oct.evidence: SHA-256 {file}" in page
        assert "desalink evidence verify oct.evidence --root root.pub" in page
    # Tagged: a reader for the blind knows what is a table, and what a heading of it.
    for page in document:
        assert {"H1", "H2", "Table", "TR", "TH", "TD", "Figure"} <= roles(page)


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
        assert "2026-10 is closed, and 6403112001-1 would have other figures" in ended.err
    # Others of that month are as they were.
    assert office(*words, "--village", "6403112002").code == 0


def test_what_is_disputed_withdrawn_or_refused_stands_in_the_report(office, tmp_path: Path):
    folder = tmp_path / "report"
    times = ("--from", "2026-10-01", "--until", "2026-10-01", "--by", "Pak Kades")
    slot = ("--slot", "6403112001-1")
    office("events", "add", "dispute", *slot, *times, "--why", "it was power")
    office("events", "add", "maintenance", "--provider", "Icon+", *times, "--why", "a mistake")
    listed = json.loads(office("events", "list", "--json").out)
    (number,) = (event["id"] for event in listed if event["kind"] == "maintenance")
    office("events", "withdraw", number, "--why", "another day", "--by", "Ibu Sari")
    office("report", "--month", "2026-10", "-o", folder, "--no-pdf")
    pages = {name: (folder / f"{name}.html").read_text() for name in ("summary", "quality")}
    for page in pages.values():
        assert "dispute" in page and "Pak Kades" in page and "it was power" in page
    assert "another day" in pages["quality"] and "Ibu Sari" in pages["quality"]
    assert "another day" not in pages["summary"]
    refused = re.search(r"<tr><td>6403112001-1</td><td>conflict</td>.*?</tr>", pages["quality"])
    assert refused and ">2<" in refused[0] and "Budi" in refused[0] and "a copied" in refused[0]
    # The ranking has those of whom something is known, the best first.
    ranking = pages["summary"].split("Ranking")[1].split("Disputes")[0]
    assert ranking.index("6403112002-1") < ranking.index("6403112001-1")
    assert "6401012009-1" not in ranking


def test_the_speed_that_was_measured_stands_beside_the_contract(
    desalink: Run, kaltim: Province, tmp_path: Path
):
    device = Device(now=B + HOUR)
    filled = Filled(kaltim.database)
    speeds = [None, 12_000, None, 47_500, 30_100]
    filled.store(device, [device.report(ordinary() | {ids.THROUGHPUT_DOWN: speeds})])
    filled.derive()
    filled.db.close()
    folder = tmp_path / "report"
    words = ("report", "--month", "2026-10", "-o", folder, "--no-pdf", "--speed")
    assert desalink("-C", kaltim.directory, *words).code == 0
    assert "3: 12.0 / 30.1 / 47.5" in (folder / "villages-6403.html").read_text()
    (row,) = (row for row in rows(folder / "usage.csv") if row["slot"] == device.slot)
    assert (row["speed_samples"], row["speed_median_kbits"]) == ("3", "30100")


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


def roles(page: pypdfium2.PdfPage) -> set[str]:
    """What the structure of a page names its parts."""
    raw = pypdfium2.raw
    tree = raw.FPDF_StructTree_GetForPage(page.raw)
    waiting = [
        raw.FPDF_StructTree_GetChildAtIndex(tree, i)
        for i in range(raw.FPDF_StructTree_CountChildren(tree))
    ]
    found = set()
    while waiting:
        element = waiting.pop()
        name = ctypes.create_string_buffer(80)
        length = raw.FPDF_StructElement_GetType(element, name, 80)
        found.add(name.raw[: max(0, length - 2)].decode("utf-16-le"))
        for i in range(max(0, raw.FPDF_StructElement_CountChildren(element))):
            child = raw.FPDF_StructElement_GetChildAtIndex(element, i)
            if child:
                waiting.append(child)
    raw.FPDF_StructTree_Close(tree)
    return found


def pixels(url: str) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""

    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    lights = sorted((light(one), light(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


class TestColours:
    def test_an_outage_of_a_minute_is_seen_in_the_month(self):
        spans = [(B, B + 60, "down"), (B + 60, E, "up")]
        red = (0xB3, 0x00, 0x1B)
        for image in (drawing.strip(OCTOBER, spans), drawing.grid(OCTOBER, spans)):
            shown = pixels(image)
            assert shown.getpixel((0, 0)) == red
            assert shown.getpixel((1, 0)) == (0x7B, 0xC8, 0xA4)
        # The second day begins in the fourth row, below an empty one.
        assert shown.getpixel((0, 2)) == (255, 255, 255) and shown.getpixel((0, 3)) != red

    def test_kinds_are_told_apart_in_grey(self):
        assert contrast(drawing.COLOURS["up"], drawing.COLOURS["down"]) > 3
        assert contrast(drawing.COLOURS["up"], drawing.COLOURS["power"]) > 3

    def test_every_text_has_contrast(self):
        css = (Path(drawing.__file__).parent / "templates" / "report.css").read_text()
        texts = set(re.findall(r"[{; ]color: (#[0-9a-f]{3,6})", css))
        grounds = set(re.findall(r"background: (#[0-9a-f]{3,6})", css))
        assert "#111" in texts and "#fff" in grounds
        for text in texts:
            for ground in grounds:
                assert contrast(text, ground) >= 4.5, (text, ground)
