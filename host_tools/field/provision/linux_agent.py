"""The agent on a Linux device, over SSH: where it lies, how it runs, and its service."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass

from host_tools.common.i18n import _
from host_tools.devices.boards import Board, load_board
from host_tools.devices.packages.openwrt import HOME as OPENWRT_HOME
from host_tools.devices.packages.openwrt import STATE
from host_tools.field.provision.errors import ProvisionError
from host_tools.field.provision.ssh import SshConnection

# A serial number, MAC address or machine id. It names the device's folder on the laptop, so
# it must not hold a path.
_ID = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z:._-]{0,62}[0-9A-Za-z])?")
# An agent with a wrong configuration ends within this time.
SETTLE_S = 2.0
_AS_USER = (
    "setpriv --reuid {user} --regid {user} --init-groups --inh-caps +net_raw "
    "--ambient-caps +net_raw -- "
)


@dataclass(frozen=True)
class Identity:
    """The identity that a device reports.

    unique_id: what its agent will sign as its identity; board: name of its board, None if it is
    unknown; model: for people; interpreter: of the agent, None if missing; uplink: the interface
    of its default route, None if missing.
    """

    unique_id: str
    board: str | None
    model: str
    interpreter: str | None
    uplink: str | None


# Uses the same places in the same order as the boards' modules: the proof must have the same id.
# Prints NAME=VALUE lines.
_IDENTIFY = """\
r={root}
line() {{ tr -d '\\000\\n' < "$1" 2>/dev/null; }}
macs() {{
	for n in "$@" $(LC_ALL=C ls /sys/class/net 2>/dev/null); do
		[ ! -f "/sys/class/net/$n/address" ] || cat "/sys/class/net/$n/address"
	done | tr A-F a-f | grep '^..:..:..:..:..:..$' | grep -v '^00:00:00:00:00:00$'
}}
if [ -e "$r/etc/openwrt_release" ]; then
	echo system=openwrt
	id="$(macs br-lan lan lan1 eth0 | grep '^.[048c]:' | head -n 1)"
	[ -n "$id" ] || id="$(macs br-lan lan lan1 eth0 | head -n 1)"
	echo "id=$id"
	echo "model=$(line /tmp/sysinfo/model)"
	programs="micropython python3"
else
	echo system=linux
	id="$(sed -n 's/^Serial[[:space:]]*: *//p' /proc/cpuinfo | head -n 1)"
	[ -n "$id" ] || id="$(line /proc/device-tree/serial-number)"
	[ -n "$id" ] || id="$(macs | head -n 1)"
	[ -n "$id" ] || id="$(line /etc/machine-id)"
	echo "id=$id"
	echo "model=$(line /proc/device-tree/model)"
	programs="python3"
fi
for p in $programs; do
	"$p" -c 'import asyncio, ssl, json, hashlib' 2>/dev/null || continue
	echo "interpreter=$p"
	break
done
echo "uplink=$(awk '$2 == "00000000" && $8 == "00000000" {{ print $7, $1 }}' /proc/net/route \\
	| sort -n | head -n 1 | cut -d ' ' -f 2)"
"""


def identify(connection: SshConnection, prefix: str = "") -> Identity:
    """Ask a device what it is. Writes nothing.

    Raises:
        ProvisionError: the connection is lost, or it has no identity.
    """
    said = connection.run(_IDENTIFY.format(root=shlex.quote(prefix)))
    lines = said.decode(errors="replace").splitlines()
    facts = dict(line.split("=", 1) for line in lines if "=" in line)
    if not facts.get("id"):
        raise connection.refused("it has no serial number and no network interface of its own")
    if _ID.fullmatch(facts["id"]) is None:
        raise connection.refused(f"its serial number {facts['id'][:60]!r} is not valid")
    board = None
    if facts.get("system") == "openwrt":
        board = "openwrt"
    elif "Raspberry Pi" in facts.get("model", ""):
        board = "raspberry-pi"
    return Identity(
        facts["id"],
        board,
        facts.get("model", ""),
        facts.get("interpreter") or None,
        facts.get("uplink") or None,
    )


class LinuxAgent:
    """The agent of one device, identified, on an open connection.

    prefix: of every path on the device; for tests.
    """

    def __init__(
        self, connection: SshConnection, identity: Identity, board: Board, prefix: str = ""
    ) -> None:
        """Raises ProvisionError: `device`: it has no interpreter."""
        self.connection = connection
        self.identity = identity
        self.board = board
        self.prefix = prefix
        self.openwrt = board.name == "openwrt"
        if identity.interpreter is None:
            raise ProvisionError(
                "device",
                _(
                    "{device} has no interpreter for the agent; install {packages} on it and run "
                    "the same command."
                ).format(
                    device=connection.target,
                    packages="micropython-mbedtls" if self.openwrt else "python3",
                ),
            )
        self.interpreter = identity.interpreter
        self.home = prefix + (OPENWRT_HOME if self.openwrt else "/opt/desalink")
        self.own = prefix + (STATE if self.openwrt else "/etc/desalink")
        self.state = prefix + (f"{STATE}/state" if self.openwrt else "/var/lib/desalink")
        # On OpenWrt the start script makes this file of UCI's settings.
        self.config_path = (
            f"{prefix}/var/run/desalink/config.json" if self.openwrt else f"{self.own}/config.json"
        )
        # With systemd the agent has its own user, except in tests.
        self.user = None if self.openwrt or prefix else "desalink"

    def command(self, arguments: str) -> str:
        """The script that runs the interpreter in the agent's folder, as the agent's user and
        with its permission to send pings."""
        prepare = self._convert() if self.openwrt else ""
        user = "" if self.user is None else _AS_USER.format(user=self.user)
        return (
            f"{prepare}cd {shlex.quote(self.home)} && umask 077 && {user}env "
            "MICROPYPATH=.:.frozen PYTHONPATH=. PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 "
            f"{self.interpreter} {arguments}"
        )

    def run(self, arguments: str, timeout: float) -> str:
        """What the interpreter prints, see `command`."""
        ended = self.connection.execute(self.command(arguments), timeout=timeout)
        if ended.code != 0:
            raise self.refused(ended.err or str(ended.code))
        return ended.out.decode(errors="replace")

    def refused(self, said: str) -> ProvisionError:
        """The error for what the agent has written to its error output."""
        reasons = [line[7:] for line in said.splitlines() if line.startswith("agent: ")]
        return self.connection.refused(reasons[-1] if reasons else said)

    def _convert(self) -> str:
        """The script that converts UCI's settings, as the start script does."""
        path, home = shlex.quote(self.config_path), shlex.quote(self.home)
        return (
            f"umask 077; mkdir -p {shlex.quote(self.config_path.rpartition('/')[0])} && "
            f"uci -q show desalink | env MICROPYPATH={home}:.frozen PYTHONPATH={home} "
            f"PYTHONDONTWRITEBYTECODE=1 {self.interpreter} -m boards.openwrt.uci {path} && "
        )

    # ---- the service

    def stop(self) -> None:
        """Stop the agent, if it runs."""
        if self.openwrt:
            script = shlex.quote(f"{self.prefix}/etc/init.d/desalink")
            self.connection.run(f"[ ! -f {script} ] || {self._service('stop')}", timeout=90)
        else:
            # Fails if the service is not installed yet.
            self.connection.execute("systemctl stop desalink.service", timeout=90)

    def start(self) -> None:
        """Start the agent now and at every boot.

        Raises:
            ProvisionError: it ends within seconds.
        """
        if self.openwrt:
            run = f"{self._service('enable')} && {self._service('restart')}"
        else:
            run = (
                "systemctl daemon-reload && systemctl enable --quiet desalink.service && "
                "systemctl restart desalink.service"
            )
        self.connection.run(run, timeout=120)
        time.sleep(SETTLE_S)
        if not self.running():
            raise self.connection.refused(
                f"its agent ends at once; '{self.log_command}' shows why"
            )

    @property
    def log_command(self) -> str:
        return "logread -e desalink" if self.openwrt else "journalctl -u desalink"

    def running(self) -> bool:
        if self.openwrt:
            list_it = 'ubus call service list \'{"name": "desalink"}\''
            check = f"{list_it} | grep -q '\"running\": true'"
        else:
            check = "systemctl is-active --quiet desalink.service"
        return self.connection.execute(check).code == 0

    def _service(self, action: str) -> str:
        root = shlex.quote(self.prefix)
        return (
            f"env IPKG_INSTROOT={root} sh {root}/etc/rc.common {root}/etc/init.d/desalink {action}"
        )


def board_of(identity: Identity, name: str | None) -> Board:
    """The board of a device, found or named by the technician.

    Raises:
        ProvisionError: `board`: it is unknown, or differs from the name.
    """
    if name is None and identity.board is None:
        raise ProvisionError(
            "board",
            _(
                "This device ({model}) is neither an OpenWrt router nor a Raspberry Pi; if it has "
                "systemd and Python, add --board raspberry-pi."
            ).format(model=identity.model or identity.unique_id),
        )
    board = load_board(name or str(identity.board))
    if board.transport != "ssh" or (identity.board == "openwrt") != (board.name == "openwrt"):
        raise ProvisionError(
            "board",
            _("This device ({model}) is no {board}; run the command without --board.").format(
                model=identity.model or identity.board, board=board.title
            ),
        )
    return board
