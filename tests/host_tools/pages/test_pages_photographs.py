"""Photographs on a village's page: a picture is kept, and nothing else of the file."""

import io
import re
import sqlite3
import struct
import zlib

import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from host_tools.pages import photographs
from host_tools.pages.records.schema import MIGRATIONS
from tests.host_tools.pages.conftest import HOSTILE, NOW, VILLAGES, Pages, key_of

HERE = f"/village/{VILLAGES[0]}"
SIDEWAYS = 6


def file_of(kind: str, size: tuple[int, int], **settings: object) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, "red").save(written, kind, **settings)
    return written.getvalue()


def of_a_phone() -> bytes:
    """A photograph with the place where it was taken, a comment, and a page behind the picture."""
    exif = Image.Exif()
    exif[Base.Orientation] = SIDEWAYS
    exif[Base.Make] = "SECRETMAKER"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (1.0, 2.0, 3.0)
    return (
        file_of("JPEG", (4000, 3000), exif=exif, comment=HOSTILE.encode())
        + f"<html>{HOSTILE}</html>PK\x03\x04".encode()
    )


def send(pages: Pages, file: bytes, name: str = "a.jpg", text: str = "", role: str = "operator"):
    client = pages.of(role)
    return client.post(
        f"{HERE}/photograph",
        data={"key": key_of(client), "text": text},
        files={"file": (name, file, "image/jpeg")},
    )


def test_a_photograph_is_shown_upright_and_small_and_only_its_picture_is_kept(pages: Pages):
    answer = send(pages, of_a_phone(), '../../etc/x.svg"><script>', HOSTILE)
    assert answer.headers["location"] == f"{HERE}#photographs"
    text = pages.of("viewer").get(HERE).text
    shown = re.search(r'<img src="(/photographs/1)" width="960" height="1280"', text)
    assert shown and "&lt;script&gt;" in text and "<script>alert" not in text
    caption = re.search(r"<figcaption>.*?</figcaption>", text, re.DOTALL)
    assert caption and "2026" in caption[0] and "operator" in caption[0]
    answer = pages.of("viewer").get(shown[1], headers={"accept-encoding": "gzip"})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    image = Image.open(io.BytesIO(answer.content))
    assert image.size == (960, 1280) and not image.getexif() and "comment" not in image.info
    for foreign in (b"SECRETMAKER", b"script", b"html", b"PK\x03\x04"):
        assert foreign not in answer.content
    with pages.book() as book:
        (entry,) = (entry for entry in book.audit() if entry.action == "photograph.add")
        assert (entry.who, entry.object) == ("operator", HERE.rpartition("/")[2])


def bomb() -> bytes:
    """A PNG of 2.5 thousand million pixels in some kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + b"\0" * 4

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"", "Choose a photograph first"),
        (f"<svg xmlns='http://www.w3.org/2000/svg'>{HOSTILE}</svg>".encode(), "JPEG or PNG"),
        (b"\xff\xd8\xff\xe0" + HOSTILE.encode(), "JPEG or PNG"),
        (file_of("GIF", (9, 9)), "JPEG or PNG"),
        (file_of("TIFF", (9, 9)), "JPEG or PNG"),
        (file_of("PNG", (300, 300))[:-60], "JPEG or PNG"),
        (file_of("JPEG", (900, 900))[:400], "JPEG or PNG"),
        (b"GIF89a" + file_of("JPEG", (9, 9)), "JPEG or PNG"),
        (bomb(), "JPEG or PNG"),
        (file_of("PNG", (8000, 7000)), "more than 50 million pixels"),
        (file_of("JPEG", (9, 9)) + b"\xff\xda" * 200, "JPEG or PNG"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_what_is_no_photograph_is_refused_in_a_sentence(pages: Pages, file: bytes, said: str):
    answer = send(pages, file)
    assert answer.status_code == 400 and said in answer.text
    assert "/photographs/" not in pages.of("viewer").get(HERE).text


def test_a_body_is_bounded_and_most_for_those_who_are_not_logged_in(pages: Pages):
    nobody = pages.client()
    file = {"file": ("a.jpg", bytes(100_000), "image/jpeg")}
    assert nobody.post(f"{HERE}/photograph", files=file).status_code == 413
    operator = pages.of("operator")
    assert operator.post(f"{HERE}/note", files=file).status_code == 413
    large = {"file": ("a.jpg", bytes(photographs.MOST_BYTES + 70_000), "image/jpeg")}
    assert operator.post(f"{HERE}/photograph", files=large).status_code == 413
    assert send(pages, bytes(photographs.MOST_BYTES - 9)).status_code == 400
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x", "text/plain"):
        answer = operator.post(
            f"{HERE}/photograph", content=b"--x\r\n\r\nno part", headers={"content-type": kind}
        )
        assert answer.status_code in (400, 403), kind
    two = [("file", ("a", b"1", "image/png")), ("file", ("b", b"2", "image/png"))]
    answer = operator.post(f"{HERE}/photograph", data={"key": key_of(operator)}, files=two)
    assert answer.status_code == 400


def test_a_removed_photograph_is_deleted_and_makes_room(pages: Pages, monkeypatch):
    monkeypatch.setattr(photographs, "MOST_OF_VILLAGE", 2)
    picture = file_of("PNG", (30, 20))
    assert [send(pages, picture).status_code for _ in range(3)] == [303, 303, 400]
    client = pages.of("operator")
    for number in ("1", "1", "x", "\u0661\u0660", "99"):
        form = {"key": key_of(client), "number": number}
        assert client.post(f"{HERE}/photograph/remove", data=form).status_code == 303
    assert client.get("/photographs/1").status_code == 404
    with pages.book() as book:
        assert book.picture(1) is None
        assert [its.id for its in book.photographs(VILLAGES[0])] == [2]
        assert [e.action for e in book.audit()].count("photograph.remove") == 1
    assert send(pages, picture).status_code == 303
    monkeypatch.setattr(photographs, "MOST_OF_VILLAGE", 99)
    monkeypatch.setattr(photographs, "MOST_IN_ALL", 100)
    answer = send(pages, picture)
    assert answer.status_code == 400 and "no room for another photograph" in answer.text


def test_a_database_of_an_older_version_gets_what_it_lacks(pages: Pages):
    with pages.book() as book, book.transaction():
        book.add_village_note(VILLAGES[0], "note", "kept", who="x", at=NOW)
    with sqlite3.connect(pages.directory / "pages.db") as old:
        old.execute("DROP TABLE photographs")
        old.execute(f"PRAGMA user_version={len(MIGRATIONS) - 1}")
    old.close()
    with pages.book() as book:
        assert book.photographs(VILLAGES[0]) == []
        assert [note.text for note in book.village_notes(VILLAGES[0])] == ["kept"]
