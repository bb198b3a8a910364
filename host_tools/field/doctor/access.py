"""Permission to open the serial ports."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from host_tools.common.i18n import _
from host_tools.field.doctor.finding import Diagnosis, ok, problem
from host_tools.field.doctor.machine import Machine

_CHECK = "permissions"
# Debian and Fedora, then Arch and SUSE.
_GROUPS = ("dialout", "uucp")


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def _groups(machine: Machine) -> list[_Group]:
    groups = []
    for line in machine.read("/etc/group").splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[2].isdigit():
            groups.append(_Group(fields[0], int(fields[2]), tuple(fields[3].split(","))))
    return groups


def _ports(machine: Machine) -> dict[str, os.stat_result]:
    ports = {}
    for port in machine.serial_ports():
        with contextlib.suppress(OSError):  # just pulled out
            ports[port] = machine.path(port).stat()
    return ports


def _may_open(machine: Machine, path: Path, status: os.stat_result) -> bool:
    if (
        hasattr(os, "geteuid")
        and machine.uid == os.geteuid() != 0
        and os.access(path, os.R_OK | os.W_OK)
    ):
        return True  # by an access list, which the mode does not show
    if status.st_uid == machine.uid:
        wanted = stat.S_IRUSR | stat.S_IWUSR
    elif status.st_gid in machine.groups:
        wanted = stat.S_IRGRP | stat.S_IWGRP
    else:
        wanted = stat.S_IROTH | stat.S_IWOTH
    return status.st_mode & wanted == wanted


def _join(machine: Machine, group: _Group, text: str) -> Diagnosis:
    if machine.user in group.members:
        return problem(
            _CHECK,
            _(
                "{user} was put into the group {group}, but this session does not know it yet."
            ).format(user=machine.user, group=group.name),
            _("Log out and in again, or restart the laptop."),
        )
    return problem(
        _CHECK,
        text,
        _("sudo usermod -aG {group} {user}; then log out and in again.").format(
            group=group.name, user=machine.user
        ),
    )


def check(machine: Machine) -> list[Diagnosis]:
    """Whether the ports that there are, or will be, can be opened."""
    return [_permission(machine)]


def _permission(machine: Machine) -> Diagnosis:
    if machine.uid == 0:
        return ok(_CHECK, _("The superuser may open every serial port."))
    groups = _groups(machine)
    usual = next((g for name in _GROUPS for g in groups if g.name == name), None)
    ports = _ports(machine)
    closed = [
        port
        for port, status in ports.items()
        if not _may_open(machine, machine.path(port), status)
    ]
    if closed:
        status = ports[closed[0]]
        by_group = status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP
        group = next((g for g in groups if g.gid == status.st_gid and g.gid), None)
        text = _("{user} may not open {ports}.").format(user=machine.user, ports=", ".join(closed))
        if group is not None and by_group:
            return _join(machine, group, text)
        name = usual.name if usual else _GROUPS[0]
        return problem(
            _CHECK,
            text,
            _(
                "sudo chgrp {group} {ports} && sudo chmod 660 {ports}; find the udev rule "
                "that gave them other permissions."
            ).format(group=name, ports=" ".join(closed)),
        )
    if ports:
        return ok(_CHECK, _("{user} may open the serial ports.").format(user=machine.user))
    if usual is None or usual.gid in machine.groups:
        return ok(_CHECK, _("{user} may open serial ports.").format(user=machine.user))
    text = _("{user} is not in the group {group}, which serial ports belong to.").format(
        user=machine.user, group=usual.name
    )
    return _join(machine, usual, text)
