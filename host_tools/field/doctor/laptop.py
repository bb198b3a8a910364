"""The laptop itself: disk, clock, kit, and the programs that Desalink is made of."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _, ngettext, number
from host_tools.common.times import wita
from host_tools.field.doctor.finding import Diagnosis, ok, problem, warning
from host_tools.field.doctor.machine import Machine
from host_tools.people.kits.opened import FILE, find_directory, open_kit, read_kit_header

if TYPE_CHECKING:
    from host_tools.people.kits.seal import Header

_MB = 1_000_000
# A day's journals and labels take a few megabytes; a kit with firmware some tens.
_LITTLE = 500 * _MB
_TOO_LITTLE = 50 * _MB

_DAY = 86400
_SOON = 7 * _DAY
# This doctor did not exist before.
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()

_PROGRAMS = ("esptool", "mpremote", "cryptography", "segno", "pillow", "fpdf2")


def _kit_directory(kit: Path | None) -> Path:
    found = find_directory(kit)
    return found.parent if found.is_file() else found


def _header(kit: Path | None) -> Header:
    """The part of the kit that is readable without its passphrase."""
    path = find_directory(kit)
    return read_kit_header(path if path.is_file() else path / FILE)


def _read_only(place: Path) -> bool:
    return sys.platform != "win32" and bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def check_disk(machine: Machine, kit: Path | None) -> Diagnosis:
    """Free space and write permission where the kit and the devices' journals are."""
    place = _kit_directory(kit)
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK):
        if _read_only(place):
            return problem(
                "disk",
                _("The file system of {place} is read-only.").format(place=place),
                _("Mount it for writing, or open the kit elsewhere: --to DIR."),
            )
        return problem(
            "disk",
            _("{user} may not write to {place}.").format(user=machine.user, place=place),
            _("Give {user} write permission there, or open the kit elsewhere: --to DIR.").format(
                user=machine.user
            ),
        )
    free = machine.free(place)
    text = _("{size} MB are free at {place}.").format(size=number(free // _MB), place=place)
    if free >= _LITTLE:
        return ok("disk", text)
    make = problem if free < _TOO_LITTLE else warning
    return make("disk", text, _("Make room: empty the trash, move films and photographs."))


def _not_before(kit: Path | None) -> float:
    """The earliest time that the clock can show: this program and the kit were made by then."""
    import host_tools

    known = [_EARLIEST]
    try:
        known.append(Path(str(host_tools.__file__)).stat().st_mtime)
        known.append(_header(kit).created)
    except (DesalinkError, OSError):
        pass  # check_kit reports it
    return max(known)


def check_clock(machine: Machine, kit: Path | None) -> Diagnosis:
    """Whether the laptop's clock can be right. Certificates and enrolments depend on it."""
    command = "sudo timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"
    if machine.system != "linux":
        command = _("in the system's settings for date and time")
    fix = _("Take the time from a telephone and set it: {command}").format(command=command)
    now = wita(machine.now) if 0 <= machine.now < _LATEST else str(machine.now)
    earliest = _not_before(kit)
    # The clocks of the office and of the laptop may differ by some minutes.
    if not earliest - 900 <= machine.now < _LATEST:
        return problem(
            "clock",
            _("The clock is wrong: it shows {now}, but the time is after {earliest}.").format(
                now=now, earliest=wita(earliest)
            ),
            fix,
        )
    said = machine.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if said is not None and said.strip() == "yes":
        return ok(
            "clock",
            _("The clock shows {now} and is set by the network.").format(now=now),
        )
    return warning(
        "clock",
        _("The clock shows {now}; the network has not set it since the start.").format(now=now),
        _("Compare it with a telephone; if it is wrong, set it: {command}").format(
            command=command
        ),
    )


def check_kit(machine: Machine, kit: Path | None, passphrase: str | None) -> list[Diagnosis]:
    """Whether a kit is here, is valid, opens, and is closed to other users."""
    fix = _("Get a kit from the province and open it: desalink kit open FILE")
    directory = _kit_directory(kit)
    try:
        header = _header(kit)
    except FileNotFoundError:
        return [problem("kit", _("There is no kit in {place}.").format(place=directory), fix)]
    except (DesalinkError, OSError) as error:
        return [problem("kit", str(error), fix)]
    if header.expires <= machine.now:
        text = _("The kit expired on {date}.").format(date=wita(header.expires))
        return [problem("kit", text, fix)]
    findings = []
    # File modes mean nothing on Windows: there others can't read a user's profile folder.
    visible = machine.system != "win32" and directory.stat().st_mode & 0o077
    if visible and not find_directory(kit).is_file():
        text = _("Other users of this laptop can read {place}.").format(place=directory)
        findings.append(warning("kit", text, f"chmod 700 {directory}"))
    if passphrase is not None:
        findings += _check_opening(machine, kit, passphrase)
    days = int((header.expires - machine.now) // _DAY)
    left = ngettext(
        "The kit of province {province} expires on {date}, in {days} day.",
        "The kit of province {province} expires on {date}, in {days} days.",
        days,
    ).format(province=header.province, date=wita(header.expires), days=number(days))
    if header.expires - machine.now < _SOON:
        findings.append(
            warning("kit", left, _("Ask the province for a new kit before a longer trip."))
        )
    return findings or [ok("kit", left)]


def _check_opening(machine: Machine, kit: Path | None, passphrase: str) -> Iterator[Diagnosis]:
    try:
        open_kit(find_directory(kit), passphrase, now=machine.now)
    except (DesalinkError, OSError) as error:
        yield problem(
            "kit",
            str(error),
            _("Check the passphrase; if it is right, ask the province for the kit's file again."),
        )
        return


def check_programs() -> Diagnosis:
    """Whether everything is installed that flashing, copying and labels need."""
    versions = {}
    for name in _PROGRAMS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    missing = [name for name in _PROGRAMS if name not in versions]
    if missing:
        return problem(
            "programs",
            _("Desalink is incomplete: {names} are missing.").format(names=", ".join(missing)),
            _("Get desalink's folder again from the office and install it again."),
        )
    return ok(
        "programs",
        _("esptool {esptool} and mpremote {mpremote} are installed.").format(**versions),
    )
