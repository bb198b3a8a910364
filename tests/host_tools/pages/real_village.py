"""A village whose link can be cut: real agent, broker, ingest and pages. Its provider is ours."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from host_tools.pages import access
from host_tools.pages.records import VIEWER, PagesBook
from host_tools.pages.site import PagesSite
from host_tools.province.settings import PagesSettings
from tests.host_tools.pages.conftest import PASSWORD
from tests.host_tools.pages.test_pages_live import running
from tests.support import free_port
from tests.world.plant import Plant


class NameServer:
    """The agent's target on the internet, which answers until the link is cut."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.cut = threading.Event()
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        # An empty datagram ends it.
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _answer(self) -> None:
        while True:
            question, address = self._socket.recvfrom(2048)
            if not question:
                return
            if not self.cut.is_set():
                # There is no such name (RFC 1035, 4.1.1): any answer will do.
                head = question[:2] + bytes.fromhex("8183 0001 0000 0000 0000")
                self._socket.sendto(head + question[12:], address)


@dataclass
class RealVillage:
    """What runs: `cut` cuts the village's link; the broker stays within its reach."""

    site: PagesSite
    plant: Plant
    cut: threading.Event

    @property
    def slot(self) -> str:
        return self.plant.agents[0].slot


@contextmanager
def real_village(folder: Path) -> Iterator[RealVillage]:
    """The village, after its first reports; `viewer` may log in to the pages."""
    with NameServer() as names:
        settings = {"link.targets": [f"dns:127.0.0.1:{names.port}"]}
        with Plant(folder, ("cpython",), settings) as plant:
            plant.start()
            plant.wait_for_reports(3)
            with PagesBook.open(plant.province.pages_database) as book:
                access.add_account(book, "viewer", VIEWER, (), int(time.time()))
                account = book.account("viewer")
                assert account is not None
                hashed = access.hash_password(PASSWORD)
                book.set_password(account.id, hashed, must_change=False)
            pages = PagesSettings(port=free_port())
            site = PagesSite(replace(plant.province, pages=pages))
            with running(site):
                yield RealVillage(site, plant, names.cut)
