"""A Raspberry Pi or an OpenWrt router as a device to be provisioned, over SSH.

Each step can be interrupted at any point: files get their names when they are complete, and the
key is made once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host_tools.devices.boards import Board
from host_tools.devices.packages.openwrt import SETTINGS, system_files
from host_tools.devices.packages.uci import to_uci
from host_tools.field.provision.errors import understood
from host_tools.field.provision.flash import Progress
from host_tools.field.provision.linux_agent import Identity, LinuxAgent, board_of, identify
from host_tools.field.provision.payload import IMPORT_SELFTEST, import_with_time
from host_tools.field.provision.ssh import SshConnection, Target, check_host_key
from host_tools.field.talk.over_ssh import SshVisitor, visiting
from host_tools.people.kits.model import Kit, KitSlot

_PI_SYSTEM = {
    "desalink.service": "/etc/systemd/system/desalink.service",
    "sysusers.conf": "/etc/sysusers.d/desalink.conf",
    "watchdog.conf": "/etc/systemd/system.conf.d/desalink-watchdog.conf",
}
_PUBLIC = 0o644


class LinuxDevice(LinuxAgent):
    """A device to be filled for a slot."""

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
        super().__init__(connection, identity, board, prefix)
        self._kit = kit
        self._slot = slot
        self._stage = f"{self.own}/.new"

    # ---- files

    def configuration(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A slot's configuration, completed with paths, board and uplink of this device."""
        result = json.loads(json.dumps(config))
        result["port"] = self.board.port
        result["state_dir"] = self.state
        for name, file in (("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client.key")):
            result.setdefault("broker", {})[name] = f"{self.own}/{file}"
        settings = dict(self.board.settings)
        if settings:
            result["board"] = {**settings, **result.get("board", {})}
        link, usage = result.setdefault("link", {}), result.setdefault("usage", {})
        if self.identity.uplink:
            link.setdefault("interface", self.identity.uplink)
            usage.setdefault("interface", self.identity.uplink)
        if self.openwrt:
            usage.setdefault("leases", "/tmp/dhcp.leases")  # nosec B108 # OpenWrt's own
        return dict(result)

    def enter(self) -> None:
        """Nothing: it is reached already."""

    def flash(self, progress: Progress) -> bool:
        """Does nothing: the device has its own system."""
        return False

    def install(self, files: Mapping[str, bytes], progress: Progress) -> int:
        code = {f"{self.home}/{path.lstrip('/')}": data for path, data in files.items()}
        wanted = {path: (data, _PUBLIC) for path, data in code.items()}
        have = self.connection.hashes([self.home, *self._system()])
        stray = [path for path in have if path.startswith(self.home) and path not in wanted]
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
        if self.openwrt:
            return {
                self.prefix + entry.path: (entry.content, entry.mode)
                for entry in system_files()
                if entry.content is not None and entry.path != SETTINGS
            }
        return {
            self.prefix + path: ((self.board.directory / name).read_bytes(), _PUBLIC)
            for name, path in _PI_SYSTEM.items()
        }

    def _prepare(self) -> None:
        """Make the agent's folders, closed to other users."""
        own, state = shlex.quote(self.own), shlex.quote(self.state)
        self.connection.run(f"umask 077; mkdir -p {own} {state} && chmod 700 {state}")

    def configure(self, progress: Progress) -> int:
        slot = self._slot
        config = self.configuration(slot.config)
        own = self.own
        if self.openwrt:
            text = to_uci(config, enabled=True, interpreter=self.interpreter)
            settings = {self.prefix + SETTINGS: (text.encode(), 0o600)}
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
        if self.openwrt:
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
        state = shlex.quote(self.state)
        settings = self.prefix + SETTINGS if self.openwrt else self.config_path
        self.connection.run(f"rm -rf {state} && sync && rm -f {shlex.quote(settings)}")
        return True

    def _set_owner(self) -> None:
        """Give the agent's files to its user, which is made if missing."""
        if self.user is None:
            return
        self.connection.run(
            f"systemd-sysusers /etc/sysusers.d/desalink.conf && chown -R {self.user}:"
            f"{self.user} {self.state} && chown -R root:{self.user} {self.own} && "
            f"chmod 750 {self.own}"
        )

    # ---- the agent

    def make_key(self) -> bytes:
        self.stop()  # only one process may use key and journal
        said = self.run("-m agent --enrol " + shlex.quote(self.config_path), 120)
        words = said.split()
        try:
            if len(words) != 1:
                raise binascii.Error
            return base64.b64decode(words[0], validate=True)
        except binascii.Error:
            raise self.connection.refused(f"its agent gave no proof ({said[:60]!r})") from None

    @contextmanager
    def visit(self) -> Iterator[SshVisitor]:
        with visiting(self) as visitor:
            yield visitor

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
        said = self.run("-c " + shlex.quote(code), 180)
        for line in said.splitlines():
            if line.startswith("ANSWER "):
                return json.loads(line[7:])
        raise self.connection.refused(f"its agent gave no answer ({said[:60]!r})")


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
    keys: Sequence[Path] = (),
    prefix: str = "",
) -> Iterator[FoundHost]:
    """The device at an SSH address.

    Args:
        say: gets sentences for the technician, such as a new fingerprint.
        keys: files of private keys, instead of the user's own.
        prefix: of every path on the device; for tests.

    Raises:
        ProvisionError: it can't be reached, or has no identity.
    """
    with SshConnection(target, keys) as connection:
        yield FoundHost(connection, prefix, say)
