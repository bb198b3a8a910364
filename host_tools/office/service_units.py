"""Systemd units that keep a province's services, backup and checks at work."""

from __future__ import annotations

import importlib.util
import pwd
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.province.settings import Province

# Alike in all units: they see the system, and write only where the unit says.
_HARDENED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
UMask=0077
ReadWritePaths={writable}
"""

_HOMES = ("/home", "/root", "/run/user")


class ServiceError(DesalinkError):
    """Units that can't be made for this province, or can't be installed here."""


@dataclass(frozen=True)
class Settings:
    """What the units depend on."""

    province: Province
    program: Path
    """Of the command `desalink`."""
    user: str
    backups: Path | None = None
    """Where the nightly backup goes; None: no unit for it."""
    keep: int = 30


def default_settings(
    province: Province, *, user: str | None, backups: Path | None, keep: int
) -> Settings:
    """The settings for this machine.

    Args:
        user: who runs the services; None: the owner of the province.

    Raises:
        ServiceError: there is no such user, no such directory, or no command `desalink`.
    """
    if user is None:
        user = _owner(province.directory)
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ServiceError(
            _(
                "There is no user {user} on this machine; make it with 'adduser --system {user}'."
            ).format(user=user)
        ) from None
    if backups is not None and not backups.is_dir():
        raise ServiceError(
            _("There is no directory {backups}; make it, and give it to {user}.").format(
                backups=backups, user=user
            )
        )
    for path in (province.directory, backups or province.directory):
        if any(character in str(path) for character in "%\n\"\\'$"):
            raise ServiceError(
                _(
                    "{path} has a character with a special meaning for systemd; choose another "
                    "path."
                ).format(path=path)
            )
    beside = Path(sys.executable).parent / "desalink"
    found = str(beside) if beside.exists() else shutil.which("desalink")
    if found is None:
        raise ServiceError(_("The command desalink is not installed; install it ('pip install')."))
    return Settings(
        province,
        Path(found).absolute(),
        user,
        None if backups is None else backups.resolve(),
        keep,
    )


def _owner(directory: Path) -> str:
    try:
        return pwd.getpwuid(directory.stat().st_uid).pw_name
    except KeyError:
        raise ServiceError(
            _("The owner of {directory} is not a user of this machine; give --user.").format(
                directory=directory
            )
        ) from None


def units(settings: Settings) -> dict[str, str]:
    """The name and text of each unit."""
    broker = _unit(
        settings,
        "Desalink broker of {name}",
        "broker run",
        after="network-online.target",
        service="Type=exec\nExecReload=/bin/kill -HUP $MAINPID\nLimitNOFILE=65536\n" + _RESTART,
        install="multi-user.target",
    )
    ingest = _unit(
        settings,
        "Desalink ingest of {name}",
        "ingest",
        after="network-online.target desalink-broker.service",
        service="Type=exec\n" + _RESTART,
        install="multi-user.target",
    )
    alerts = _unit(
        settings,
        "Desalink alerts of {name}",
        "alerts run",
        after="network-online.target",
        service="Type=exec\n" + _RESTART,
        install="multi-user.target",
    )
    checks = _unit(
        settings,
        "Desalink check of what ends soon in {name}",
        "crl check --quiet",
        service="Type=oneshot\n",
    )
    found = {
        "desalink-broker.service": broker,
        "desalink-ingest.service": ingest,
        "desalink-alerts.service": alerts,
        "desalink-checks.service": checks,
        "desalink-checks.timer": _timer("Daily check of what ends soon", "*-*-* 06:00"),
    }
    if importlib.util.find_spec("starlette") is not None:
        # Of the keys the pages see only the public ones of the roots, for verifying.
        directory = settings.province.directory
        hidden = " ".join(
            f'"-{directory / name}"'
            for name in ("technicians", "services", "ca/ca.key", "ca/former.key")
        )
        shown = " ".join(f'"-{directory / "keys" / name}"' for name in ("root.pub", "former.pub"))
        found["desalink-pages.service"] = _unit(
            settings,
            "Desalink pages of {name}",
            "serve",
            after="network-online.target",
            service=f"Type=exec\n{_RESTART}InaccessiblePaths={hidden}\n"
            f'TemporaryFileSystem="{directory / "keys"}:ro"\nBindReadOnlyPaths={shown}\n',
            install="multi-user.target",
        )
    found["desalink-archive.service"] = _unit(
        settings,
        "Desalink archive of closed months of {name}",
        "archive",
        service="Type=oneshot\nNice=10\nIOSchedulingClass=idle\n",
    )
    found["desalink-archive.timer"] = _timer("Daily archiving of closed months", "*-*-* 03:30")
    if settings.backups is not None:
        found["desalink-backup.service"] = _unit(
            settings,
            "Desalink backup of {name}",
            f'backup "{settings.backups}" --keep {settings.keep}',
            service="Type=oneshot\nNice=10\nIOSchedulingClass=idle\n",
            writable=settings.backups,
        )
        found["desalink-backup.timer"] = _timer("Nightly Desalink backup", "*-*-* 02:00")
    return found


# After a crash at once, and for ever: a village's reports wait only as long as its journal lasts.
_RESTART = "Restart=on-failure\nRestartSec=5\n"


def _unit(
    settings: Settings,
    description: str,
    arguments: str,
    *,
    service: str,
    after: str = "",
    install: str = "",
    writable: Path | None = None,
) -> str:
    province = settings.province
    places = [province.directory, *([writable] if writable else [])]
    in_home = any(
        str(path).startswith(_HOMES) for path in (*places, settings.program, Path(sys.prefix))
    )
    name = province.name.replace("%", "%%")
    lines = [
        "# Made by 'desalink service install'; changes are lost when it runs again. Settings of",
        "# your own go into a drop-in: 'systemctl edit NAME'.",
        "[Unit]",
        f"Description={description.format(name=name)}",
    ]
    if after:
        lines += [f"Wants={after.split()[0]}", f"After={after}", "StartLimitIntervalSec=0"]
    lines += [
        "",
        "[Service]",
        f"User={settings.user}",
        f'ExecStart="{settings.program}" -C "{province.directory}" {arguments}',
        service.rstrip("\n"),
        _HARDENED.format(
            home="read-only" if in_home else "yes",
            writable=" ".join(f'"{path}"' for path in places),
        ),
    ]
    if install:
        lines += ["[Install]", f"WantedBy={install}", ""]
    return "\n".join(lines)


def _timer(description: str, when: str) -> str:
    return f"""\
[Unit]
Description={description}

[Timer]
OnCalendar={when}
RandomizedDelaySec=10min
Persistent=yes

[Install]
WantedBy=timers.target
"""
