"""Devices that fill slots, and those in trouble."""

from __future__ import annotations

from dataclasses import dataclass

from host_tools.common.i18n import _, number
from host_tools.common.times import DAY_S
from host_tools.derive.findings import Kind
from host_tools.listings.model import CODE, NUMBER, TIME, Column
from host_tools.pages.listing import (
    VILLAGE,
    FilterChoice,
    ListPage,
    of_place,
    page_of,
    provider_choice,
    regency_choice,
)
from host_tools.pages.serving import PageRoute
from host_tools.pages.visits import PageVisit
from host_tools.province.records import Certificate, Device
from host_tools.store import queries

# A lead battery of 12 V is empty below this voltage.
_SOON_S, _LOW_V, _FILLED = 90 * DAY_S, 11.5, 70


@dataclass(frozen=True)
class DeviceRow:
    """A device, and what is known of it. clocks: kinds of findings about its clock."""

    device: Device
    software: queries.Software | None
    now: queries.SlotStatus | None
    certificate: Certificate | None
    voltage: float | None
    clocks: set[str]

    @property
    def slot(self) -> str:
        return self.device.slot

    @property
    def board(self) -> str:
        return self.software.board if self.software else self.device.board

    @property
    def agent(self) -> str:
        return self.software.agent if self.software else ""

    @property
    def firmware(self) -> str:
        return self.device.firmware

    @property
    def journal_fill(self) -> float | None:
        return self.now.journal_fill if self.now else None

    @property
    def gaps(self) -> int | None:
        return self.now.gaps if self.now else None

    @property
    def certificate_end(self) -> int | None:
        return self.certificate.not_after if self.certificate else None

    def clock(self) -> str | None:
        """What is wrong with the clock, in words; None: nothing was heard."""
        if self.now is None or not self.now.last_report:
            return None
        if Kind.FUTURE_CLOCK in self.clocks:
            return _("ahead of ours")
        return _("not set: reports have no time") if Kind.UNPLACED in self.clocks else _("right")

    def has_trouble(self, trouble: str, now: int) -> bool:
        """Whether it has a trouble that the filter names."""
        if trouble == "clock":
            return bool(self.clocks)
        if trouble == "gaps":
            return bool(self.gaps)
        if trouble == "journal":
            return (self.journal_fill or 0) >= _FILLED
        if trouble == "voltage":
            return self.voltage is not None and self.voltage < _LOW_V
        end = self.certificate_end
        return trouble == "certificate" and end is not None and end <= now + _SOON_S


def _rows(visit: PageVisit) -> list[DeviceRow]:
    meant = of_place(visit)
    software, clocks = {}, dict[str, set[str]]()
    if visit.database is not None:
        software = {its.slot: its for its in queries.software(visit.database)}
        clocks = queries.open_kinds(visit.database, [Kind.FUTURE_CLOCK, Kind.UNPLACED])
    voltages = visit.site.voltages(visit.database)
    status = {slot.slot: slot for slot in visit.snapshot.overview.slots}
    certificates = visit.registry.certificates_in_use()
    return [
        DeviceRow(
            device,
            software.get(device.slot),
            status.get(device.slot),
            certificates.get(device.slot),
            voltages.get(device.slot),
            clocks.get(device.slot, set()),
        )
        for device in visit.snapshot.devices
        if device.active and meant(device.slot)
    ]


def devices(visit: PageVisit) -> ListPage:
    """Devices that fill slots."""
    rows = _rows(visit)
    headings = {"board": _("Board"), "agent": _("Agent"), "firmware": _("Firmware")}
    choices = [
        FilterChoice(
            name,
            heading,
            [
                ("", _("all")),
                *((v, v) for v in sorted({getattr(row, name) for row in rows}) if v),
            ],
            visit.query(name),
        )
        for name, heading in headings.items()
    ]
    trouble = visit.query("trouble")
    troubles = [
        ("", _("all")),
        ("clock", _("the clock is wrong")),
        ("voltage", _("the supply is below {volt} V").format(volt=number(_LOW_V, 1))),
        ("journal", _("the journal is filled to {share} % or more").format(share=_FILLED)),
        ("gaps", _("reports are missing")),
        (
            "certificate",
            _("the certificate ends within {days} days").format(days=_SOON_S // DAY_S),
        ),
    ]
    return ListPage(
        "devices",
        _("Devices"),
        [
            Column("village", _("Village"), VILLAGE, lambda row: row.slot[:10]),
            Column("slot", _("Slot"), CODE),
            Column("device", _("Key"), of=lambda row: row.device.kid.hex()),
            Column("board", headings["board"]),
            Column("agent", headings["agent"]),
            Column("firmware", headings["firmware"]),
            Column(
                "interpreter",
                _("Interpreter"),
                of=lambda row: row.software.interpreter if row.software else "",
            ),
            Column(
                "started",
                _("Last start (WITA)"),
                TIME,
                lambda row: row.software and row.software.received_at,
            ),
            Column(
                "last_report",
                _("Last report (WITA)"),
                TIME,
                lambda row: row.now and row.now.last_report,
            ),
            Column("clock", _("Clock"), of=DeviceRow.clock),
            Column("voltage", _("Supply (V)"), NUMBER),
            Column("journal_fill", _("Journal (%)"), NUMBER),
            Column("backlog", _("Backlog"), NUMBER, lambda row: row.now and row.now.backlog),
            Column("gaps", _("Gaps"), NUMBER),
            Column("certificate_end", _("Certificate ends (WITA)"), TIME),
            Column("enrolled", _("Enrolled (WITA)"), TIME, lambda row: row.device.enrolled_at),
            Column("enrolled_by", _("By"), of=lambda row: row.device.enrolled_by),
        ],
        [
            row
            for row in rows
            if all(its.chosen in ("", getattr(row, its.name)) for its in choices)
            and (not trouble or row.has_trouble(trouble, visit.now))
        ],
        [
            regency_choice(visit),
            provider_choice(visit),
            *choices,
            FilterChoice("trouble", _("Trouble"), troubles, trouble),
        ],
    )


ROUTES = [PageRoute("/devices", page_of(devices), kept=True)]
