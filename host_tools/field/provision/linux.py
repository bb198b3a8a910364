"""A Raspberry Pi or an OpenWrt router as a device to be provisioned, over SSH.

Each step can be interrupted at any point: files get their names when they are complete, and the
key is made once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tools.common.i18n import _
from host_tools.devices.boards import Board, load_board
from host_tools.devices.packages.openwrt import HOME as OPENWRT_HOME
from host_tools.devices.packages.openwrt import SETTINGS, STATE, system_files
from host_tools.devices.packages.uci import to_uci
from host_tools.field.provision.errors import ProvisionError, understood
from host_tools.field.provision.flash import Progress
from host_tools.field.provision.payload import IMPORT_SELFTEST, import_with_time
from host_tools.field.provision.ssh import SshConnection, Target, check_host_key
from host_tools.people.kits.model import Kit, KitSlot

_PI_SYSTEM = {
    "desalink.service": "/etc/systemd/system/desalink.service",
    "sysusers.conf": "/etc/sysusers.d/desalink.conf",
    "watchdog.conf": "/etc/systemd/system.conf.d/desalink-watchdog.conf",
}
_PUBLIC = 0o644
# A serial number, MAC address or machine id. It names the device's folder on the laptop, so
# it must not hold a path.
_ID = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z:._-]{0,62}[0-9A-Za-z])?")
# An agent with a wrong configuration ends within this time.
SETTLE_S = 2.0


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


class LinuxDevice:
    """One device, identified, on an open connection.

    prefix: of every path on the device; for tests.
    """

    firmware = None

    def __init__(
        self,
        connection: SshConnection,
        identity: Identity,
        board: Board,
        kit: Kit,
        slot: KitSlot,
        prefix: str = "",
    ) -> None:
        """Raises ProvisionError: `device`: it has no interpreter."""
        self._kit = kit
        self._slot = slot
        self.connection = connection
        self.identity = identity
        self.board = board
        self._prefix = prefix
        self._openwrt = board.name == "openwrt"
        if identity.interpreter is None:
            raise ProvisionError(
                "device",
                _(
                    "{device} has no interpreter for the agent; install {packages} on it and run "
                    "the same command."
                ).format(
                    device=connection.target,
                    packages="micropython-mbedtls" if self._openwrt else "python3",
                ),
            )
        self._interpreter = identity.interpreter
        self._home = prefix + (OPENWRT_HOME if self._openwrt else "/opt/desalink")
        self._own = prefix + (STATE if self._openwrt else "/etc/desalink")
        self._state = prefix + (f"{STATE}/state" if self._openwrt else "/var/lib/desalink")
        self._stage = f"{self._own}/.new"
        # On OpenWrt the start script makes this file of UCI's settings.
        self.config_path = (
            f"{prefix}/var/run/desalink/config.json"
            if self._openwrt
            else f"{self._own}/config.json"
        )
        # With systemd the agent has its own user, except in tests.
        self._user = None if self._openwrt or prefix else "desalink"

    # ---- files

    def configuration(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A slot's configuration, completed with paths, board and uplink of this device."""
        result = json.loads(json.dumps(config))
        result["port"] = self.board.port
        result["state_dir"] = self._state
        for name, file in (("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client.key")):
            result.setdefault("broker", {})[name] = f"{self._own}/{file}"
        settings = dict(self.board.settings)
        if settings:
            result["board"] = {**settings, **result.get("board", {})}
        link, usage = result.setdefault("link", {}), result.setdefault("usage", {})
        if self.identity.uplink:
            link.setdefault("interface", self.identity.uplink)
            usage.setdefault("interface", self.identity.uplink)
        if self._openwrt:
            usage.setdefault("leases", "/tmp/dhcp.leases")
        return dict(result)

    def enter(self) -> None:
        """Nothing: it is reached already."""

    def flash(self, progress: Progress) -> bool:
        """Does nothing: the device has its own system."""
        return False

    def install(self, files: Mapping[str, bytes], progress: Progress) -> int:
        code = {f"{self._home}/{path.lstrip('/')}": data for path, data in files.items()}
        wanted = {path: (data, _PUBLIC) for path, data in code.items()}
        have = self.connection.hashes([self._home, *self._system()])
        stray = [path for path in have if path.startswith(self._home) and path not in wanted]
        missing = self._different({**wanted, **self._system()}, have)
        if not missing and not stray:
            progress(1)
            return 0
        self.stop()  # it must not import a mix of old and new files
        self._prepare()
        # In parts, for the progress and so that an interruption costs little.
        total = sum(len(content) for content, _mode in missing.values()) or 1
        done, piece = 0, {}
        for path in sorted(missing):
            piece[path] = missing[path]
            if sum(len(content) for content, _mode in piece.values()) >= 65536:
                done += self._put(piece)
                progress(done / total)
                piece = {}
        self._put(piece)
        if stray:
            listing = "".join(f"{path}\n" for path in stray).encode()
            self.connection.run('while IFS= read -r p; do rm -f "$p"; done', listing)
        progress(1)
        return len(missing) + len(stray)

    def _put(self, files: Mapping[str, tuple[bytes, int]]) -> int:
        self.connection.put(files, self._stage)
        return sum(len(content) for content, _mode in files.values())

    @staticmethod
    def _different(
        wanted: Mapping[str, tuple[bytes, int]], have: Mapping[str, str]
    ) -> dict[str, tuple[bytes, int]]:
        return {
            path: file
            for path, file in wanted.items()
            if have.get(path) != hashlib.sha256(file[0]).hexdigest()
        }

    def _system(self) -> dict[str, tuple[bytes, int]]:
        """The service's files: path on the device -> (content, mode)."""
        if self._openwrt:
            return {
                self._prefix + entry.path: (entry.content, entry.mode)
                for entry in system_files()
                if entry.content is not None and entry.path != SETTINGS
            }
        return {
            self._prefix + path: ((self.board.directory / name).read_bytes(), _PUBLIC)
            for name, path in _PI_SYSTEM.items()
        }

    def _prepare(self) -> None:
        """Make the agent's folders, closed to other users."""
        own, state = shlex.quote(self._own), shlex.quote(self._state)
        self.connection.run(f"umask 077; mkdir -p {own} {state} && chmod 700 {state}")

    def configure(self, progress: Progress) -> int:
        slot = self._slot
        config = self.configuration(slot.config)
        own = self._own
        if self._openwrt:
            text = to_uci(config, enabled=True, interpreter=self._interpreter)
            settings = {self._prefix + SETTINGS: (text.encode(), 0o600)}
        else:
            text = json.dumps(config, indent=2) + "\n"
            settings = {self.config_path: (text.encode(), 0o640)}
        wanted = {
            f"{own}/ca.pem": (self._kit.ca_pem, _PUBLIC),
            f"{own}/client.pem": (slot.certificate_pem, _PUBLIC),
            f"{own}/client.key": (slot.key_pem, 0o640),
            # Last: it makes the device complete.
            **settings,
        }
        missing = self._different(wanted, self.connection.hashes(list(wanted)))
        if missing:
            self.stop()
            self._prepare()
            self.connection.put(missing, self._stage)
        self._set_owner()
        return len(missing)

    def forget_other(self, slot: str | None) -> bool:
        if self._openwrt:
            said = self.connection.execute("uci -q get desalink.agent.slot").out.decode().strip()
        else:
            text = self.connection.execute(f"cat {shlex.quote(self.config_path)}").out
            try:
                said = str(json.loads(text or b"{}").get("slot", ""))
            except (ValueError, AttributeError):
                said = ""
        if said in ("", slot):
            return False
        self.stop()
        # The settings last: while they exist, the deletion is not complete.
        state = shlex.quote(self._state)
        settings = self._prefix + SETTINGS if self._openwrt else self.config_path
        self.connection.run(f"rm -rf {state} && sync && rm -f {shlex.quote(settings)}")
        return True

    def _set_owner(self) -> None:
        """Give the agent's files to its user, which is made if missing."""
        if self._user is None:
            return
        self.connection.run(
            f"systemd-sysusers /etc/sysusers.d/desalink.conf && chown -R {self._user}:"
            f"{self._user} {self._state} && chown -R root:{self._user} {self._own} && "
            f"chmod 750 {self._own}"
        )

    # ---- the agent

    def make_key(self) -> bytes:
        self.stop()  # only one process may use key and journal
        said = self._agent("-m agent --enrol " + shlex.quote(self.config_path), 120)
        words = said.split()
        try:
            if len(words) != 1:
                raise binascii.Error
            return base64.b64decode(words[0], validate=True)
        except binascii.Error:
            raise self.connection.refused(f"its agent gave no proof ({said[:60]!r})") from None

    def test_network(self, unix: int) -> tuple[str, str]:
        with understood(self.connection.refused):
            result, detail = self._selftest(f"network({self.config_path!r}, {unix})")
            return str(result), str(detail)

    def first_report(self, unix: int) -> tuple[str, bytes]:
        self.stop()
        with understood(self.connection.refused):
            call = f"first_report({self.config_path!r})"
            topic, report = self._selftest(call, import_with_time(unix))
            return str(topic), base64.b64decode(report)

    def _selftest(self, call: str, load: str = IMPORT_SELFTEST) -> Any:
        code = f"import json\n{load}print('ANSWER', json.dumps(selftest.{call}))\n"
        said = self._agent("-c " + shlex.quote(code), 180)
        for line in said.splitlines():
            if line.startswith("ANSWER "):
                return json.loads(line[7:])
        raise self.connection.refused(f"its agent gave no answer ({said[:60]!r})")

    def _agent(self, arguments: str, timeout: float) -> str:
        """The output of the interpreter in the agent's folder, run as the agent's user."""
        home = shlex.quote(self._home)
        prepare = self._convert() if self._openwrt else ""
        user = "" if self._user is None else f"runuser -u {self._user} -- "
        ended = self.connection.execute(
            f"{prepare}cd {home} && umask 077 && {user}env MICROPYPATH=.:.frozen PYTHONPATH=. "
            f"PYTHONDONTWRITEBYTECODE=1 {self._interpreter} {arguments}",
            timeout=timeout,
        )
        if ended.code != 0:
            reasons = [line[7:] for line in ended.err.splitlines() if line.startswith("agent: ")]
            reason = reasons[-1] if reasons else ended.err or str(ended.code)
            raise self.connection.refused(reason)
        return ended.out.decode(errors="replace")

    def _convert(self) -> str:
        """The script that converts UCI's settings, as the start script does."""
        path, home = shlex.quote(self.config_path), shlex.quote(self._home)
        return (
            f"umask 077; mkdir -p {shlex.quote(self.config_path.rpartition('/')[0])} && "
            f"uci -q show desalink | env MICROPYPATH={home}:.frozen PYTHONPATH={home} "
            f"PYTHONDONTWRITEBYTECODE=1 {self._interpreter} -m boards.openwrt.uci {path} && "
        )

    # ---- the service

    def stop(self) -> None:
        """Stop the agent, if it runs."""
        if self._openwrt:
            script = shlex.quote(f"{self._prefix}/etc/init.d/desalink")
            self.connection.run(f"[ ! -f {script} ] || {self._service('stop')}", timeout=90)
        else:
            # Fails if the service is not installed yet.
            self.connection.execute("systemctl stop desalink.service", timeout=90)

    def start(self) -> None:
        """Start the agent now and at every boot.

        Raises:
            ProvisionError: it ends within seconds.
        """
        if self._openwrt:
            run = f"{self._service('enable')} && {self._service('restart')}"
        else:
            run = (
                "systemctl daemon-reload && systemctl enable --quiet desalink.service && "
                "systemctl restart desalink.service"
            )
        self.connection.run(run, timeout=120)
        time.sleep(SETTLE_S)
        if not self.running():
            log = "logread -e desalink" if self._openwrt else "journalctl -u desalink"
            raise self.connection.refused(f"its agent ends at once; '{log}' shows why")

    def running(self) -> bool:
        """Whether the agent runs."""
        if self._openwrt:
            list_it = 'ubus call service list \'{"name": "desalink"}\''
            check = f"{list_it} | grep -q '\"running\": true'"
        else:
            check = "systemctl is-active --quiet desalink.service"
        return self.connection.execute(check).code == 0

    def _service(self, action: str) -> str:
        root = shlex.quote(self._prefix)
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


class FoundHost:
    """A device on an open connection; its slot is not chosen yet."""

    def __init__(self, connection: SshConnection, prefix: str, say: Callable[[str], None]) -> None:
        self._connection = connection
        self._prefix = prefix
        self._say = say
        self._identity = identify(connection, prefix)
        self.unique_id = self._identity.unique_id
        self.facts = {"model": self._identity.model}

    def refuse_stranger(self, folder: Path) -> None:
        """Raises ProvisionError: its host key differs from the recorded one."""
        check_host_key(folder, self._connection, self._say)

    def as_device(self, kit: Kit, slot: KitSlot, board: str | None, work: Path) -> LinuxDevice:
        """Raises ProvisionError, BoardError: another kind of board, or no interpreter."""
        kind = board_of(self._identity, board)
        return LinuxDevice(self._connection, self._identity, kind, kit, slot, self._prefix)


@contextmanager
def over_ssh(
    target: Target,
    say: Callable[[str], None] = lambda sentence: None,
    options: Sequence[str] = (),
    prefix: str = "",
) -> Iterator[FoundHost]:
    """The device at an SSH address.

    Args:
        say: gets sentences for the technician, such as a new fingerprint.
        options: further arguments for ssh.
        prefix: of every path on the device; for tests.

    Raises:
        ProvisionError: it can't be reached, or has no identity.
    """
    with SshConnection(target, options) as connection:
        yield FoundHost(connection, prefix, say)
