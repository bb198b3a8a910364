"""Some villages whose states a test sets, and the messages that follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from host_tools.alerts.places import AlertPlace
from host_tools.alerts.post import Post
from host_tools.alerts.records import AlertRecords, Outgoing, open_records
from host_tools.alerts.view import ProvinceView, SlotView
from host_tools.alerts.watch import Watch
from host_tools.store.queries import Change
from tests.host_tools.alerts.playing import BEGIN, settings_in

MINUTE, HOUR, DAY = 60, 3600, 86400
NOON = BEGIN + 12 * HOUR  # a Thursday


class Plant:
    """Some villages whose states a test sets, and the messages that follow."""

    def __init__(self, folder: Path, count: int = 12, more: str = "") -> None:
        self.folder, self.more = folder, more
        self.now = NOON
        # Twelve to a district.
        self.states = {f"6403{11 + n // 12}{2000 + n}-1": ("up", NOON - DAY) for n in range(count)}
        self.places = {slot: self.place(slot, n) for n, slot in enumerate(self.states)}
        self.silenced: set[str] = set()
        self.start()

    @staticmethod
    def place(slot: str, n: int) -> AlertPlace:
        provider = "Orbit 4G" if n % 2 else "Icon+"
        return AlertPlace(slot, f"Desa {n}", f"D{slot[4:6]}", "Berau", provider, "")

    def start(self) -> None:
        """As after a restart of the service."""
        self.records: AlertRecords = open_records(self.folder)
        settings = settings_in(self.folder, self.more)
        post = Post(settings, self.records)
        post.places = self.places
        post.spells = lambda slot, begin, end: [(begin, end - 600, "power")]
        self.watch = Watch(settings, self.records, post)

    @property
    def slots(self) -> list[str]:
        return list(self.states)

    def set(self, state: str, *slots: str, since: int | None = None) -> None:
        for slot in slots:
            self.states[slot] = state, self.now if since is None else since

    def run(
        self,
        seconds: int,
        own: dict[str, int] | None = None,
        found: dict[str, dict[str, str]] | None = None,
        changes: Callable[[int], list[Change]] = lambda now: [],
        step: int = MINUTE,
    ) -> None:
        for now in range(self.now, self.now + seconds, step):
            slots = [SlotView(slot, *state) for slot, state in self.states.items()]
            view = ProvinceView(slots, own or {}, changes(now), found or {})
            self.watch.tick(now, view, self.places, self.silenced)
        self.now += seconds

    @property
    def sent(self) -> list[Outgoing]:
        return self.records.messages()[::-1]

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(message.what, message.channel) for message in self.sent]
