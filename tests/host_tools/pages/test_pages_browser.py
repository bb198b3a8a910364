"""The pages in a real Chromium, by keyboard and on a phone; axe finds nothing serious.

Needs Chromium (Debian: `apt install chromium`) and the packages of the extra `browser`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from host_tools.pages import photographs
from host_tools.store import open_database
from tests.host_tools.pages.conftest import NOW, PASSWORD, VILLAGES, Pages
from tests.host_tools.pages.real_village import real_village
from tests.host_tools.pages.test_pages_live import of_port, running
from tests.host_tools.pages.test_pages_photographs import file_of

playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is missing")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine"),
]


WIDE = file_of("JPEG", (2000, 1000))


class Browsing:
    """A browser on the running pages, what it complained of, and what it loaded."""

    def __init__(self, browser: Any, root: str) -> None:
        self._browser, self.root = browser, root
        self.complaints: list[str] = []
        self.loaded: set[str] = set()

    def page(self, **settings: Any) -> Any:
        context = self._browser.new_context(locale="en-US", **settings)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.loaded.add(request.url))
        return page

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def log_in(self, page: Any, role: str, path: str = "/") -> None:
        page.goto(self.root + path)
        page.locator("input[name=name]:focus").wait_for()
        page.keyboard.type(role)
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(self.root + path)


@contextmanager
def chromium(port: int) -> Iterator[Browsing]:
    with playwright.sync_playwright() as started:
        # Root, as in a container, has no sandbox.
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = Browsing(browser, f"http://127.0.0.1:{port}")
        yield found
        browser.close()
    assert found.complaints == []
    assert all(url.startswith((found.root, "data:")) for url in found.loaded)


@pytest.fixture
def browsing(pages: Pages) -> Iterator[Browsing]:
    site = of_port(pages)
    with running(site), chromium(site.settings.port) as found:
        yield found


def serious(page: Any) -> list[str]:
    """What axe finds that keeps people out."""
    found = axe.Axe().run(page).response
    assert found["passes"]
    return [
        f"{page.url} {its['id']}: {its['nodes'][0]['html'][:200]}"
        for its in found["violations"]
        if its["impact"] in ("serious", "critical")
    ]


def test_an_operator_works_by_keyboard_from_the_wall_to_a_closed_case(browsing: Browsing):
    page = browsing.page()
    browsing.log_in(page, "operator")
    page.select_option("select[name=regency]", "6403")
    page.wait_for_url(re.compile("regency=6403"))
    assert page.locator("a.box").count() == 2
    page.keyboard.press("/")
    page.keyboard.type(VILLAGES[0])
    page.keyboard.press("Enter")
    page.wait_for_url(browsing.root + f"/village/{VILLAGES[0]}")
    page.goto(page.url + "?range=7d")
    page.get_by_role("button", name="Open a case").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/cases/1$"))
    page.get_by_role("button", name="Acknowledge").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Acknowledge").wait_for(state="detached")
    page.select_option("select[name=cause]", "cable")
    page.get_by_role("button", name="Close").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Open again").wait_for()
    assert "a cable or plug" in page.inner_text("main")


def test_an_operator_follows_the_map_adds_a_photograph_and_downloads_a_report(pages: Pages):
    folder = pages.directory / "months"
    folder.mkdir()
    (folder / "2026-10.pdf").write_bytes(b"%PDF")
    site = of_port(pages, files=("months",))
    with running(site), chromium(site.settings.port) as its:
        page = its.page()
        its.log_in(page, "operator")
        page.locator(f"circle#m{VILLAGES[0]}").click()
        page.wait_for_url(its.root + f"/village/{VILLAGES[0]}")
        photograph = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": WIDE}
        page.set_input_files("input[name=file]", photograph)
        page.get_by_label("What it shows").fill("the mast")
        page.locator("#photographs form.stack button").click()
        page.locator("#photographs img").scroll_into_view_if_needed()
        drawn = "document.querySelector('#photographs img').naturalWidth === 1280"
        page.wait_for_function(drawn)
        assert "the mast" in page.inner_text("#photographs")
        page.goto(its.root + "/months/files")
        with page.expect_download() as download:
            page.get_by_role("link", name="months/2026-10.pdf").click()
        assert Path(download.value.path()).read_bytes() == b"%PDF"


def test_an_open_wall_shows_an_outage_by_itself(browsing: Browsing, pages: Pages):
    page = browsing.page()
    browsing.log_in(page, "viewer")
    box = page.locator(f"#b{VILLAGES[0]}-1")
    assert box.get_attribute("class") == "box up"
    with open_database(pages.directory / "province.db") as db, db.transaction():
        db.execute(
            "INSERT INTO outages (stream_id, boot, begin_up, cause, slot_id, flaps, t_begin, "
            "interrupted) VALUES (1, 9, 9, 5, 1, 0, ?, 0)",
            (NOW - 200,),
        )
    page.locator(f"#b{VILLAGES[0]}-1.provider").wait_for()
    page.locator(f"circle#m{VILLAGES[0]}.provider").wait_for()


def test_an_open_wall_shows_the_outage_of_a_real_agent_without_a_reload(tmp_path: Path):
    with real_village(tmp_path / "plant") as village, chromium(village.site.settings.port) as its:
        page = its.page()
        its.log_in(page, "viewer")
        page.evaluate("window.loadedOnce = true")
        box = page.locator(f"#b{village.slot}.up")
        box.wait_for()
        village.cut.set()
        page.locator(f"#b{village.slot}.provider").wait_for()
        page.get_by_text("down: provider").first.wait_for()
        village.cut.clear()
        box.wait_for()
        assert page.evaluate("window.loadedOnce") is True


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_on_any_page(browsing: Browsing, pages: Pages, scheme: str):
    with pages.book() as book:
        its = photographs.picture_of(WIDE)
        size = (its.content, its.width, its.height)
        limits = {"most": 9, "most_bytes": len(its.content)}
        book.add_photograph(VILLAGES[2], *size, "", who="x", at=NOW, **limits)
    # axe is a script of its own, which the policy of the pages would refuse.
    page = browsing.page(color_scheme=scheme, bypass_csp=True)
    page.goto(browsing.root + "/login")
    found = serious(page)
    browsing.log_in(page, "administrator")
    for path in (
        *("/", "/villages", "/outages?since=9d", "/cases", "/providers", "/devices", "/usage"),
        *("/alerts?state=all", "/alerts/1", "/alerts/messages", "/months/files"),
        *("/months", "/quarantine", "/audit", "/accounts", "/account", "/search?q=a"),
        *(f"/village/{VILLAGES[2]}?range=7d", f"/village/{VILLAGES[2]}/usage", "/maintenance"),
    ):
        page.goto(browsing.root + path)
        found += serious(page)
    assert found == []


def test_a_phone_shows_every_page_within_its_width(browsing: Browsing):
    page = browsing.page(viewport={"width": 360, "height": 740})
    browsing.log_in(page, "administrator")
    for path in (
        "/",
        "/outages?since=9d",
        "/devices",
        "/account",
        "/alerts/2",
        f"/village/{VILLAGES[2]}",
    ):
        page.goto(browsing.root + path + ("&" if "?" in path else "?") + "lang=id")
        assert page.get_attribute("html", "lang") == "id"
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
