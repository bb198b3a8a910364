"""A small province's pages: four villages, one of each role, and names that would break a page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from host_tools.alerts.records import open_records
from host_tools.pages import access
from host_tools.pages.records import PagesBook
from host_tools.pages.serving import application
from host_tools.pages.site import PagesSite
from host_tools.province.settings import PagesSettings, load
from host_tools.store import open_database
from host_tools.store.quarantine import Quarantine, Refusal
from host_tools.store.sessions import save_alive
from host_tools.wire import Reason
from tests.bench.queries import fill
from tests.world.evidencing import signing_registry

NOW = 1_795_536_000
VILLAGES = ["6403112001", "6403112002", "6401012009", "6402012001"]
PROVIDERS = ["IndiHome", "Icon+", "Starlink", "=Comtelindo"]
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PASSWORD = "a sentence of my own"
ROLES = {
    "viewer": (),
    "operator": ("6403",),
    "administrator": (),
}


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> None:
    """Passwords that are checked without the cost that protects real ones."""
    access.COST |= {"time_cost": 1, "memory_cost": 64, "parallelism": 1}


@dataclass
class Clock:
    """The pages' clock, to be moved on."""

    t: float = NOW - 60

    def __call__(self) -> float:
        return self.t


@dataclass
class Pages:
    """The pages, and who asks for them."""

    site: PagesSite
    clock: Clock
    clients: dict[str, TestClient] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.site.province.directory

    def client(self) -> TestClient:
        """A browser that nobody has logged in with."""
        app = application(self.site)
        return TestClient(app, follow_redirects=False, headers={"accept-language": "en"})

    def book(self) -> PagesBook:
        return PagesBook.open(self.site.province.pages_database)

    def log_in(self, name: str, password: str = PASSWORD, code: str = "") -> TestClient:
        """A browser after a log-in."""
        client = self.client()
        answer = client.post("/login", data={"name": name, "password": password, "code": code})
        assert answer.status_code == 303, answer.text
        return client

    def of(self, role: str) -> TestClient:
        """The browser of a role's account; `nobody` has none."""
        if role not in self.clients:
            self.clients[role] = self.client() if role == "nobody" else self.log_in(role)
        return self.clients[role]


def key_of(client: TestClient) -> str:
    """What the forms of a browser's session must send back."""
    found = re.search(r'name="key" value="([^"]+)"', client.get("/account").text)
    assert found
    return found[1]


def post(client: TestClient, path: str, **form: str):
    return client.post(path, data={"key": key_of(client), **form})


def with_alerts(directory: Path) -> None:
    """Alert 1 is about the first village, alert 2 about the third; one message was not sent."""
    with open_records(directory) as records, records.transaction():
        for number, village in enumerate((VILLAGES[0], VILLAGES[2]), 1):
            slot = f"{village}-1"
            alert = records.open_alert(
                *("provider", "down", "critical", ("slot", slot), "provider", NOW - 4000),
                NOW - 2000,
            )
            records.add_members(alert.id, [(slot, alert.begin, "provider", HOSTILE)])
            records.queue(
                *("opened", f"{number}.opened.a", "duty phone", HOSTILE, "a body with its link"),
                now=NOW - 2000,
                due=NOW - 2000,
                alert=alert.id,
            )
    with open_records(directory) as records:
        records.sent(1, NOW - 1990)
        records.not_sent(2, f"refused {HOSTILE}", None)


def made(directory: Path) -> PagesSite:
    province = replace(load(directory), pages=PagesSettings(public=True))
    return PagesSite(province, Clock())


@pytest.fixture(scope="package")
def whole(founded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The province; only to be copied."""
    directory = tmp_path_factory.mktemp("pages") / "east kalimantan"
    shutil.copytree(founded, directory)
    with signing_registry(load(directory)) as registry, registry.transaction():
        for number, code in enumerate(VILLAGES):
            position = (-1.0 + number, 116.5 + number / 2)
            registry.place_villages([(code, position, HOSTILE[:100], PROVIDERS[number])])
            registry.enrol(
                f"{code}-1",
                number.to_bytes(32, "big"),
                board=HOSTILE,
                firmware=HOSTILE,
                unique_id=f"serial{number}{HOSTILE}",
                by=HOSTILE,
                at=NOW - 9 * 86400,
            )
        registry.change("UPDATE villages SET name = ? WHERE code = ?", HOSTILE, VILLAGES[2])
        registry.change("UPDATE villages SET district = ? WHERE code = ?", HOSTILE, VILLAGES[2])
    with open_database(directory / "province.db", create=True) as db:
        fill(db, VILLAGES, 9, end=NOW)
        with db.transaction():
            save_alive(db, NOW - 70, connected=True)
            db.execute("UPDATE births SET board = ?, agent = ?", (HOSTILE, HOSTILE))
            db.execute(
                "INSERT INTO changes (slot_id, t, state, before) VALUES (1, ?, 'provider', 'up')",
                (NOW - 600,),
            )
            Quarantine(db).add(
                Refusal(HOSTILE, b"?", Reason.MALFORMED, HOSTILE, HOSTILE[:20], None, NOW - 9)
            )
    with_alerts(directory)
    with PagesBook.open(directory / "pages.db") as book:
        for name, regencies in ROLES.items():
            access.add_account(book, name, name, regencies, NOW)
            account = book.account(name)
            assert account is not None
            hashed = access.hash_password(PASSWORD)
            book.set_password(account.id, hashed, must_change=False)
    return directory


def _pages(directory: Path) -> Iterator[Pages]:
    site = made(directory)
    assert isinstance(site.clock, Clock)
    yield Pages(site, site.clock)
    site.close()


@pytest.fixture(scope="package")
def shared(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The pages of a copy; tests change nothing that others look at."""
    directory = tmp_path_factory.mktemp("shared") / "p"
    shutil.copytree(whole, directory)
    yield from _pages(directory)


@pytest.fixture
def pages(whole: Path, tmp_path: Path) -> Iterator[Pages]:
    """The pages of a copy, to be changed at will."""
    shutil.copytree(whole, tmp_path / "p")
    yield from _pages(tmp_path / "p")
