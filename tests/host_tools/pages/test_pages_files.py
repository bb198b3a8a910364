"""Reports and evidence files on the pages: listed, downloaded, verified."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from host_tools.keys.root import public_pem
from host_tools.pages.records import PagesError
from host_tools.pages.site import PagesSite
from tests.host_tools.pages.conftest import HOSTILE, Pages, post
from tests.world.month import ROOT, found

SUMS = "SHA256SUMS"


@pytest.fixture
def with_files(pages: Pages) -> Iterator[Pages]:
    """Pages with a report in `months`; `elsewhere` is no folder."""
    folder = pages.directory / "months" / "2026-10"
    folder.mkdir(parents=True)
    for name, content in (("summary.pdf", b"%PDF"), ("a b.csv", b"village\n")):
        (folder / name).write_bytes(content)
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in folder.iterdir()]
    (folder / SUMS).write_text("\n".join(lines) + "\n")
    its = replace(pages.site.settings, files=("months", "elsewhere"))
    site = PagesSite(replace(pages.site.province, pages=its), pages.clock)
    yield Pages(site, pages.clock)
    site.close()


def path_of(name: str, verb: str = "file") -> str:
    return f"/months/{verb}?name={quote(name)}"


def verify(pages: Pages, name: str, role: str = "viewer") -> str:
    """What the page says after a check."""
    client = pages.of(role)
    assert post(client, "/months/check", name=name).status_code == 303
    pages.site.checks.wait()
    return client.get(path_of(name, "check")).text


def test_a_report_is_listed_with_its_digests_and_downloaded_byte_for_byte(with_files: Pages):
    client = with_files.of("viewer")
    assert "/months/files" in client.get("/months").text
    text = client.get("/months/files").text
    assert "There is no folder elsewhere." in text and "3 rows" in text
    assert hashlib.sha256(b"%PDF").hexdigest() in text
    links = re.findall(r'href="(/months/file\?[^"]+)"', text)
    assert len(links) == 3
    answer = client.get(path_of("months/2026-10/summary.pdf"))
    assert answer.content == b"%PDF" and answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'attachment; filename="summary.pdf"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/months/files?format=csv").text.count("summary.pdf") == 1


def test_nothing_but_what_is_listed_is_ever_sent(with_files: Pages, tmp_path: Path):
    folder = with_files.directory / "months"
    (tmp_path / "secret.pdf").write_text("secret")
    (folder / "link.pdf").symlink_to(tmp_path / "secret.pdf")
    (folder / "linked").symlink_to(tmp_path)
    (folder / ".hidden.pdf").write_text("secret")
    (folder / "root.key").write_text("secret")
    os.mkfifo(folder / "pipe.pdf")
    deep = folder.joinpath(*"abcd")
    deep.mkdir(parents=True)
    (deep / "deep.pdf").write_text("secret")
    client = with_files.of("administrator")
    text = client.get("/months/files").text
    assert "3 rows" in text
    for name in (
        *("link.pdf", "linked/secret.pdf", ".hidden.pdf", "root.key", "pipe.pdf"),
        *("a/b/c/d/deep.pdf", "../province.toml", "../registry.db", "2026-10/../../pages.db"),
        *("2026-10", "", ".", "/etc/passwd", "2026-10/summary.pdf\x00", "%2e%2e/province.toml"),
        *("..\\registry.db", "2026-10//summary.pdf", HOSTILE, "a" * 5000),
    ):
        for wanted in (f"months/{name}", name, f"elsewhere/{name}"):
            assert client.get(path_of(wanted)).status_code == 404, wanted
            assert client.get(path_of(wanted, "check")).status_code == 404, wanted
            assert post(client, "/months/check", name=wanted).status_code in (400, 404), wanted


def test_a_name_of_a_file_is_shown_as_it_is_and_runs_nothing(with_files: Pages):
    name = HOSTILE.replace("/", "_") + ".pdf"
    (with_files.directory / "months" / name).write_bytes(b"%PDF")
    client = with_files.of("viewer")
    text = client.get("/months/files").text
    assert "<script>alert" not in text and "&lt;script&gt;" in text
    assert client.get(path_of(f"months/{name}")).content == b"%PDF"
    assert "<script>alert" not in client.get(path_of(f"months/{name}", "check")).text


@pytest.mark.parametrize("folder", [".", "..", "/", "months/.."])
def test_a_folder_that_holds_the_province_is_refused(pages: Pages, folder: str):
    its = replace(pages.site.settings, files=(folder,))
    with pytest.raises(PagesError, match="holds the province itself"):
        PagesSite(replace(pages.site.province, pages=its), pages.clock)


def test_a_report_is_verified_against_its_list(with_files: Pages):
    name, folder = f"months/2026-10/{SUMS}", with_files.directory / "months" / "2026-10"
    assert "All 2 files are what SHA256SUMS lists." in verify(with_files, name)
    assert "verified" in with_files.of("viewer").get("/months/files").text
    (folder / "a b.csv").write_text("other\n")
    (folder / "summary.pdf").unlink()
    text = verify(with_files, name)
    assert "a b.csv: it is not what was listed." in text and "summary.pdf: it is not" in text
    with (folder / SUMS).open("a") as file:
        file.write(f"{'0' * 64}  ../../province.toml\n")
    text = with_files.of("viewer").get("/months/files").text
    assert "the file has changed since" in text
    assert "province.toml: it is not there." in verify(with_files, name)
    with with_files.book() as book:
        assert [entry.action for entry in book.audit()].count("file.verify") == 3


def test_an_evidence_file_is_verified_with_the_root_key_of_the_province(
    with_files: Pages, tmp_path: Path
):
    name, path = "months/2026-10.evidence", with_files.directory / "months/2026-10.evidence"
    small = found(tmp_path)
    small.close()
    small.export(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    # It is another province's: its root key is not ours.
    text = verify(with_files, name)
    assert "wrong" in text and "<pre>" in text and "Traceback" not in text
    with_files.site.province.root_public.write_bytes(public_pem(ROOT))
    text = verify(with_files, name)
    assert "verified" in text and "Every figure in the file follows from them." in text
    assert digest in text and digest in with_files.of("viewer").get("/months/files").text
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "Every figure" not in verify(with_files, name)


def test_one_file_is_verified_at_a_time_and_a_stopped_server_says_so(with_files: Pages):
    name = f"months/2026-10/{SUMS}"
    with with_files.book() as book:
        assert book.begin_check("months/other", 1, 1, who="x", at=1)
    answer = post(with_files.of("viewer"), "/months/check", name=name)
    assert answer.status_code == 400 and "Another file is being verified" in answer.text
    restarted = PagesSite(with_files.site.province, with_files.clock)
    with with_files.book() as book:
        stopped = book.newest_checks()["months/other"]
    assert stopped.ended_at and not stopped.good and "was stopped" in stopped.text
    assert "All 2 files" in verify(with_files, name)
    restarted.close()
