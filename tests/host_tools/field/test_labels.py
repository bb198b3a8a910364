"""Labels: what is on them can be scanned, checked by hand, and printed twice alike."""

from __future__ import annotations

import hashlib
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import segno
import zxingcpp
from PIL import Image

from host_tools.field.labels import Label, LabelError, check_of, parse_qr, write_label, write_sheet
from host_tools.field.labels import layout as placing
from host_tools.field.labels.label import ALPHABET
from host_tools.province.registry import kid_of
from host_tools.province.settings import Province
from tests.host_tools.conftest import Run
from tests.pictures import LABEL, pictures
from tests.support import ROOT
from tests.world.evidencing import signing_registry

SLOT = "6403112001-1"
KID = "3fa291bc0d5e7788"
SVG = "{http://www.w3.org/2000/svg}"


def label(slot: str = SLOT, kid: str = KID, name: str = "Bohe Silian", **more: str) -> Label:
    fields = {"district": "Maratua", "regency": "Kabupaten Berau", "board": "esp32-generic"}
    return Label(slot, name, kid=kid, unique_id="7c:9e:bd:12:34:56", **{**fields, **more})


def scanned(png: Path) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(Image.open(png))]


# --- the check and the QR's text


def test_the_check_is_computed_as_documented():
    text = f"DESA1:{SLOT}:{KID.upper()}"
    rest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    digits = ""
    for _place in range(4):
        digits = "2346789CDFGHJKMPQRTVWXY"[rest % 23] + digits
        rest //= 23
    assert label().check == check_of(SLOT, KID) == digits
    assert label().qr_text == f"{text}:{digits}"


def test_the_qr_text_is_read_back_however_it_was_typed():
    text = label().qr_text
    assert parse_qr(text) == parse_qr(f"  {text.lower()}\n") == (SLOT, KID)


def test_a_wrong_character_is_noticed_wherever_it_is():
    text = label().qr_text
    assert len(text) == 40
    for place in range(len(text)):
        for letter in "0123456789ABCDEFX:-":
            wrong = text[:place] + letter + text[place + 1 :]
            if wrong != text:
                with pytest.raises(LabelError):
                    parse_qr(wrong)


def test_checks_use_only_distinct_characters():
    checks = [check_of(f"6403112001-{n}", KID) for n in range(1, 400)]
    assert set("".join(checks)) == set(ALPHABET)
    assert not set(ALPHABET) & set("01IO5SZLBNUAE")
    assert len(set(checks)) > 390


@pytest.mark.parametrize("text", ["", "https://example.net", "DESA2:6403112001-1:AA", "ä" * 40])
def test_something_else_is_said_to_be_no_label(text: str):
    with pytest.raises(LabelError, match=r"Scan it again\."):
        parse_qr(text)


@pytest.mark.parametrize(
    ("slot", "kid"),
    [("6403112001", KID), ("6403112001-0", KID), (SLOT, KID[:-1]), (SLOT, "x" * 16)],
)
def test_there_is_no_label_without_slot_and_key(slot: str, kid: str):
    with pytest.raises(LabelError, match="No label is possible"):
        label(slot, kid)


# --- the pictures


@pytest.mark.parametrize("slot", [SLOT, "6403112001-999"])
def test_the_png_is_scanned_and_has_the_stickers_size(slot: str, tmp_path: Path):
    one = label(slot)
    _svg, png = write_label(one, tmp_path / "labels")
    assert scanned(png) == [one.qr_text]
    with Image.open(png) as image:
        assert [round(side / 300 * 25.4) for side in image.size] == [62, 29]
        assert [round(dots) for dots in image.info["dpi"]] == [300, 300]


def test_the_png_is_scanned_through_dirt(tmp_path: Path):
    one = label()
    _svg, png = write_label(one, tmp_path)
    image = Image.open(png)
    image.paste(128, (140, 170, 210, 230))
    dirty = tmp_path / "dirty.png"
    image.save(dirty)
    assert scanned(dirty) == [one.qr_text]


def test_the_svg_holds_the_texts_as_texts_and_the_code(tmp_path: Path):
    one = label(name="Tanjung <Baru> & Çé ŝ")
    svg, _png = write_label(one, tmp_path)
    root = ET.fromstring(svg.read_text(encoding="utf-8"))
    assert (root.get("width"), root.get("height")) == ("62mm", "29mm")
    texts = [element.text for element in root.iter(f"{SVG}text")]
    for wanted in (one.village_name, "Kec. Maratua, Kab. Berau", SLOT, one.check):
        assert wanted in texts
    assert any("3FA2 91BC 0D5E 7788" in str(text) for text in texts)
    assert any("7c:9e:bd:12:34:56" in str(text) for text in texts)
    # Both languages on each.
    assert any("Kode cek / Check" in str(text) for text in texts)
    path = next(root.iter(f"{SVG}path"))
    drawn = {(int(y), int(x)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path.get("d", ""))}
    code = segno.make_qr(one.qr_text, version=3, error="q", boost_error=False)
    assert drawn == {
        (row, column)
        for row, line in enumerate(code.matrix)
        for column, dark in enumerate(line)
        if dark
    }


def test_long_names_get_smaller_and_stay_on_the_sticker(tmp_path: Path):
    one = label(
        "6403112001-999",
        name="Linggang Tering Seberang Hulu Kanan",
        district="Tenggarong Seberang",
        regency="Kabupaten Penajam Paser Utara",
        board="a-board-with-a-name-longer-than-any",
    )
    svg, _png = write_label(one, tmp_path)
    boxes = []
    for text in ET.fromstring(svg.read_text()).iter(f"{SVG}text"):
        x, y, size, width = (
            float(text.get(key, "")) for key in ("x", "y", "font-size", "textLength")
        )
        assert size > 1
        boxes.append((x, y - 0.72 * size, x + width, y))
    code_right = placing.QR_LEFT + placing.QR_SIDE - placing.QUIET * placing.MODULE
    for left, top, right, bottom in boxes:
        assert left > code_right
        assert 0 < top < bottom < placing.HEIGHT
        assert right < placing.WIDTH
    for index, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, (boxes[index], other)


def test_the_same_label_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one = label()
    first = [path.read_bytes() for path in write_label(one, tmp_path / "first")]
    write_sheet([one] * 30, tmp_path / "first.pdf", "Berau")
    monkeypatch.setattr("time.time", lambda: 1.0)
    monkeypatch.setenv("DESALINK_LANG", "id")
    assert [path.read_bytes() for path in write_label(one, tmp_path / "second")] == first
    write_sheet([one] * 30, tmp_path / "second.pdf", "Berau")
    assert (tmp_path / "first.pdf").read_bytes() == (tmp_path / "second.pdf").read_bytes()


def _pages(pdf: Path) -> list[Image.Image]:
    import pypdfium2

    with pypdfium2.PdfDocument(pdf) as document:
        return [page.render(scale=300 / 72).to_pil() for page in document]


def test_every_label_of_a_sheet_is_scanned(tmp_path: Path):
    labels = [label(f"6403112001-{n}", name=f"Desa ŝ 村 {n}") for n in range(1, 30)]
    write_sheet(labels, tmp_path / "sheets" / "berau.pdf", "Kabupaten ʼBerauʼ 村")
    pages = _pages(tmp_path / "sheets" / "berau.pdf")
    assert [round(side / 300 * 25.4) for side in pages[0].size] == [210, 297]
    found = [
        sorted(code.text for code in zxingcpp.read_barcodes(page.convert("L"))) for page in pages
    ]
    texts = [one.qr_text for one in labels]
    assert found == [sorted(texts[:27]), sorted(texts[27:])]


def test_a_sheet_of_nothing_is_refused(tmp_path: Path):
    with pytest.raises(LabelError, match="no label to print"):
        write_sheet([], tmp_path / "empty.pdf")
    assert not (tmp_path / "empty.pdf").exists()


# --- the command


def _enrolled(province: Province, slot: str, seed: int) -> str:
    key = bytes([seed]) * 32
    with signing_registry(province) as registry:
        registry.enrol(
            slot, key, board="esp32-generic", firmware="1", by="budi", unique_id=f"02:{seed:02x}"
        )
    return kid_of(key).hex()


def test_labels_of_a_village_a_regency_and_all(desalink: Run, kaltim: Province, tmp_path: Path):
    for seed, slot in enumerate((SLOT, "6403112002-1", "6401012009-1"), 1):
        _enrolled(kaltim, slot, seed)
    revoked = bytes.fromhex(_enrolled(kaltim, "6403112003-1", 9))
    with signing_registry(kaltim) as registry:
        registry.revoke(revoked, by="budi")
    for options, slots in (
        (["--village", SLOT[:10]], [SLOT]),
        (["--village", "64.03.11.2001", "--village", "6401012009"], ["6401012009-1", SLOT]),
        (["--regency", "berau"], [SLOT, "6403112002-1"]),
        (["--all"], ["6401012009-1", SLOT, "6403112002-1"]),
    ):
        directory = tmp_path / options[-1]
        ended = desalink("-C", kaltim.directory, "labels", *options, "--svg-dir", directory)
        assert ended.code == 0, ended.err
        assert [path.name.partition("_")[0] for path in sorted(directory.glob("*.svg"))] == slots


def test_labels_say_what_is_missing(desalink: Run, kaltim: Province, tmp_path: Path):
    ended = desalink("-C", kaltim.directory, "labels", "--all")
    assert (ended.code, "-o SHEET.pdf" in ended.err) == (2, True)
    ended = desalink("-C", kaltim.directory, "labels", "-o", tmp_path / "a.pdf")
    assert (ended.code, "--regency" in ended.err) == (2, True)
    ended = desalink(
        "-C", kaltim.directory, "labels", "--regency", "berau", "-o", tmp_path / "a.pdf"
    )
    assert (ended.code, "No device of Kabupaten Berau is enrolled" in ended.err) == (1, True)
    assert not (tmp_path / "a.pdf").exists()


def test_a_scanned_label_is_held_to_the_registry(desalink: Run, kaltim: Province, tmp_path: Path):
    kid = _enrolled(kaltim, SLOT, 1)
    sheet = tmp_path / "sheet.pdf"
    assert desalink("-C", kaltim.directory, "labels", "--all", "-o", sheet).code == 0
    [code] = zxingcpp.read_barcodes(_pages(sheet)[0].convert("L"))

    def check(text: str) -> tuple[int, str]:
        ended = desalink("-C", kaltim.directory, "labels", "check", text)
        return ended.code, ended.out + ended.err

    status, said = check(code.text)
    assert status == 0
    assert "Bohe Silian" in said and SLOT in said
    told = desalink("-C", kaltim.directory, "labels", "check", code.text, "--json")
    assert json.loads(told.out)["slot"] == SLOT
    assert (
        "a character is wrong" in check(code.text[:-1] + ("X" if code.text[-1] != "X" else "Y"))[1]
    )
    elsewhere = label("6403112002-1", kid).qr_text
    assert check(elsewhere) == (1, check(elsewhere)[1])
    assert "belongs to slot 6403112001-1, not to 6403112002-1" in check(elsewhere)[1]
    assert "no device 3fa291bc0d5e7788 is enrolled" in check(label().qr_text)[1]
    with signing_registry(kaltim) as registry:
        registry.revoke(bytes.fromhex(kid), by="budi")
    assert check(code.text)[0] == 1
    assert "was revoked" in check(code.text)[1]


def test_the_picture_in_the_docs_is_a_real_label():
    for path, content in pictures().items():
        assert path.read_text() == content, "run python -m tests.pictures"
    page = (ROOT / "docs" / "labels.md").read_text()
    assert page.count(LABEL.qr_text) == 2
    assert f"`{ALPHABET}`" in page
