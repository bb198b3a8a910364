"""What all requests share: settings, connections of each thread, the newest snapshot."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

from host_tools.pages.access import Throttle
from host_tools.pages.checks import FileChecks
from host_tools.pages.outlines import read_outlines
from host_tools.pages.records import PagesBook
from host_tools.pages.shelf import Shelf
from host_tools.pages.snapshot import ProvinceWatcher
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.store import Database, StoreMissing, open_database, queries

_THREADS = 4
_KEPT_PAGES = 200
_VOLTAGES_S = 60


@dataclass
class Connections:
    """What one thread has open. database: None until the ingest has made it."""

    registry: Registry
    book: PagesBook
    database: Database | None


@dataclass(frozen=True)
class Asset:
    """A file that browsers load: its name holds its content's digest."""

    content: bytes
    kind: str


class PagesSite:
    """The pages of one province."""

    def __init__(self, province: Province, clock: Callable[[], float] = time.time) -> None:
        self.province, self.settings, self.clock = province, province.pages, clock
        self.watcher = ProvinceWatcher(province.directory, province.database, clock)
        self.pool = ThreadPoolExecutor(_THREADS, "pages")
        self.throttle = Throttle()
        self.link_throttle = Throttle()
        # What is wrong with files and folders shows at the start.
        its = self.settings
        self.outlines = read_outlines(province.directory / its.outlines) if its.outlines else []
        self.assets: dict[str, Asset] = {}
        self.asset_names = {
            name: self._asset(name, kind)
            for name, kind in (("pages.css", "text/css"), ("pages.js", "text/javascript"))
        }
        self.shelf = Shelf(province.directory, its.files)
        self.checks = FileChecks(province, clock)
        self._local = threading.local()
        self._pages: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._voltages: dict[str, float] = {}
        self._voltages_at = float("-inf")
        self._voltages_lock = threading.Lock()

    @cached_property
    def https(self) -> bool:
        """Whether browsers speak HTTPS to us, or to a proxy before us."""
        return bool(self.settings.certificate) or self.settings.https

    def _asset(self, name: str, kind: str) -> str:
        content = resources.files("host_tools.pages").joinpath("static", name).read_bytes()
        stem, _dot, suffix = name.partition(".")
        named = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
        self.assets[named] = Asset(content, kind)
        return f"/static/{named}"

    def connections(self) -> Connections:
        """The connections of this thread.

        Raises:
            DesalinkError: one can't be opened.
        """
        its: Connections | None = getattr(self._local, "its", None)
        # A backup may have been put back.
        if its is not None and its.registry.replaced():
            its.registry.close()
            its.registry = Registry.open(self.province.directory, readonly=True)
        if its is not None and its.database is not None and its.database.replaced():
            its.database.close()
            its.database = None
        if its is None:
            its = Connections(
                Registry.open(self.province.directory, readonly=True),
                PagesBook.open(self.province.pages_database),
                None,
            )
            self._local.its = its
        if its.database is None and self.province.database.exists():
            try:
                its.database = open_database(self.province.database, readonly=True)
            except StoreMissing:
                pass  # an older version: the ingest renews it
        return its

    def voltages(self, database: Database | None) -> dict[str, float]:
        """The supply voltage of each slot that measures it. Every newest report is decoded for
        it: so not at each change."""
        with self._voltages_lock:
            now = self.clock()
            if database is not None and not 0 <= now - self._voltages_at < _VOLTAGES_S:
                self._voltages = queries.newest_values(database, ["voltage"])
                self._voltages_at = now
            return self._voltages

    def kept(self, key: tuple[object, ...]) -> bytes | None:
        """A page that was made before; packed, if the key says so."""
        with self._lock:
            found = self._pages.get(key)
            if found is not None:
                self._pages.move_to_end(key)
            return found

    def keep(self, key: tuple[object, ...], page: bytes) -> None:
        """Keep a page."""
        with self._lock:
            self._pages[key] = page
            if len(self._pages) > _KEPT_PAGES:
                self._pages.popitem(last=False)

    def close(self) -> None:
        """End all threads."""
        self.checks.close()
        self.pool.shutdown()
        self.watcher.close()
