"""A Linux device over SSH: one connection, commands and files over it.

No question is asked: the login is by the user's keys or agent. `SshConnection.host_key` is the key
that the device showed; `check_host_key` compares it with the key in the device's folder on the
laptop. Commands are scripts for `sh`. Files are sent under a temporary name and renamed once their
hash is right.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import io
import logging
import re
import shlex
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import paramiko  # type: ignore[import-untyped]

from host_tools.common.errors import reason
from host_tools.common.files import write_private
from host_tools.common.i18n import _
from host_tools.field.provision.errors import ProvisionError

HOST_KEY_FILE = "host_key"
_CONNECT_S = 15
_KEEPALIVE_S = 5
_SILENT_MS = 20_000
_MOST = 1 << 24  # bytes of one answer
_MOST_JUMPS = 4
_LOST = (OSError, EOFError, paramiko.SSHException)

# Its warnings would stand between the sentences for the technician.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Target:
    """An address: `[user@]host[:port]`."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises ProvisionError: `text` has another form."""
        match = re.fullmatch(
            r"(?:([\w][\w.-]*)@)?(\[[0-9A-Fa-f:.]+\]|[\w][\w.-]*)(?::(\d{1,5}))?", text
        )
        if match is None or int(match[3] or 22) not in range(1, 65536):
            raise ProvisionError(
                "usage",
                _("'{text}' is no SSH address; write user@host or user@host:port.").format(
                    text=text
                ),
            )
        return cls(match[2].strip("[]"), match[1], int(match[3]) if match[3] else None)

    def __str__(self) -> str:
        name = self.host if self.user is None else f"{self.user}@{self.host}"
        return name if self.port is None else f"{name}:{self.port}"

    @property
    def copy_id(self) -> str:
        """The command that puts the laptop's SSH key on the device."""
        name = self.host if self.user is None else f"{self.user}@{self.host}"
        return f"ssh-copy-id {name}" if self.port is None else f"ssh-copy-id -p {self.port} {name}"


class Ended(NamedTuple):
    """How a command on the device ended."""

    code: int
    out: bytes
    err: str


class SshConnection:
    """An open connection; a context manager. Ends with the process that opened it.

    host_key: what the device showed, as "ssh-ed25519 AAAA...".
    """

    def __init__(self, target: Target, keys: Sequence[Path] = ()) -> None:
        """Connect.

        Args:
            keys: files of private keys, instead of the user's own settings, keys and agent.

        Raises:
            ProvisionError: `unreachable`, `access` (the login is refused) or `usage`.
        """
        self.target = target
        self.root = True
        self._client = client = paramiko.SSHClient()
        # Any key is taken here; `check_host_key` compares it before anything is sent.
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # nosec B507
        self._jumps: list[Any] = []
        try:
            self._log_in(client, target, {} if keys else _own_settings(target.host), keys)
            self._transport = client.get_transport()
            shown = self._transport.get_remote_server_key()
            self.host_key = f"{shown.get_name()} {shown.get_base64()}"
            # After the key is known: this uses the open connection.
            self.root = self.run("id -u").strip() == b"0"
        except _LOST as error:
            self.close()
            raise self._failure(error) from None
        except BaseException:
            self.close()
            raise

    def _log_in(
        self, client: Any, target: Target, own: Mapping[str, Any], keys: Sequence[Path] = ()
    ) -> None:
        host, port = _address(target, own)
        client.connect(
            host,
            port,
            target.user or own.get("user") or getpass.getuser(),
            key_filename=own.get("identityfile", []) or [str(key) for key in keys],
            allow_agent=not keys,
            look_for_keys=not keys,
            timeout=_CONNECT_S,
            banner_timeout=_CONNECT_S,
            auth_timeout=_CONNECT_S,
            sock=self._line(host, port, own),
        )
        client.get_transport().set_keepalive(_KEEPALIVE_S)

    def _line(self, host: str, port: int, own: Mapping[str, Any]) -> Any:
        """A connection to an address: from this laptop, or through the jump hosts (ProxyJump)."""
        if own.get("proxycommand", "none") != "none":
            sentence = _(
                "~/.ssh/config has a ProxyCommand for {host}, which desalink does not run; write "
                "ProxyJump there."
            )
            raise ProvisionError("usage", sentence.format(host=host))
        *before, last = own.get("proxyjump", "none").split(",")
        if last.strip() == "none":
            return _connected(host, port)
        jump = Target.parse(last.strip().removeprefix("ssh://"))
        settings = dict(_own_settings(jump.host))
        if before:
            settings["proxyjump"] = ",".join(before)
        if (host, port) == _address(jump, settings):
            return _connected(host, port)  # `Host *` holds for the jump host, too
        client = paramiko.SSHClient()
        try:
            if len(self._jumps) == _MOST_JUMPS:
                raise paramiko.SSHException("too many jump hosts")
            self._jumps.append(client)
            # A jump host is a server like others: its key must be known.
            client.load_system_host_keys()
            self._log_in(client, jump, settings)
        except _LOST as error:
            sentence = _(
                "The jump host {jump} of ~/.ssh/config can't be used ({said}); log in to it once "
                "with ssh, and run the same command."
            )
            said = reason(error).rstrip(".")
            raise ProvisionError("access", sentence.format(jump=jump, said=said)) from None
        channel = client.get_transport().open_channel(
            "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=_CONNECT_S
        )
        return _Line(channel)

    def __enter__(self) -> SshConnection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def fingerprint(self) -> str:
        """Of the host key, as OpenSSH and people write it."""
        return fingerprint(self.host_key)

    def close(self) -> None:
        for client in (self._client, *reversed(self._jumps)):
            client.close()

    def execute(self, script: str, data: bytes = b"", timeout: float = 60) -> Ended:
        """Run a script in the device's `sh`, as root where sudo gives that.

        Args:
            data: its standard input. Secrets belong here, as other users can read the script.

        Raises:
            ProvisionError: the connection is lost, or the script did not end in time.
        """
        try:
            with self._running(script) as channel:
                feeder = threading.Thread(target=_feed, args=(channel, data), daemon=True)
                feeder.start()
                end = time.monotonic() + timeout
                out = _all(channel, channel.recv, end)
                said = _all(channel, channel.recv_stderr, end).decode(errors="replace").strip()
                channel.status_event.wait(max(0.0, end - time.monotonic()))
                code = channel.recv_exit_status() if channel.exit_status_ready() else -1
        except TimeoutError:
            raise self._failure(f"no answer in {timeout:.0f} s") from None
        except _LOST as error:
            raise self._failure(error) from None
        if code < 0:
            raise self._failure(said)
        if not self.root and code == 1 and said.startswith("sudo:"):
            raise ProvisionError(
                "access",
                _(
                    "This user of {device} can't become root without a password; log in as root, "
                    "or allow it in /etc/sudoers.d, and run the same command."
                ).format(device=self.target),
            )
        return Ended(code, out, said)

    def _running(self, script: str) -> Any:
        """The channel of a script that runs on the device; a context manager."""
        words = ["sh", "-c", script] if self.root else ["sudo", "-n", "sh", "-c", script]
        channel = self._transport.open_session(timeout=_CONNECT_S)
        channel.exec_command(shlex.join(words))  # nosec B601 # words are quoted
        return channel

    @contextlib.contextmanager
    def conversation(self, script: str) -> Iterator[Conversation]:
        """A script that answers each line of its input; it ends with the block."""
        try:
            channel = self._running(script)
        except _LOST as error:
            raise self._failure(error) from None
        with channel:
            yield Conversation(channel)
            # The script ends in order before anything else runs there.
            with contextlib.suppress(*_LOST):
                channel.shutdown_write()
                _all(channel, channel.recv, time.monotonic() + _CONNECT_S)

    def run(self, script: str, data: bytes = b"", timeout: float = 60) -> bytes:
        """The output of a script; see `execute`.

        Raises:
            ProvisionError: it failed; with the last line of its errors.
        """
        ended = self.execute(script, data, timeout)
        if ended.code != 0:
            raise self.refused(ended.err or f"exit code {ended.code}")
        return ended.out

    def refused(self, said: str) -> ProvisionError:
        """The error for a command that failed on the device."""
        last = (said.strip().splitlines() or ["?"])[-1][-200:].rstrip(".")
        return ProvisionError(
            "device",
            _("{device} reports an error: {said}. Correct it and run the same command.").format(
                device=self.target, said=last
            ),
        )

    def hashes(self, paths: Sequence[str]) -> dict[str, str]:
        """Path -> SHA-256 (hex) of the files that exist; a folder means all files in it."""
        # Not `-exec ... +`, which not every busybox knows.
        script = """
            while IFS= read -r p; do
                if [ -d "$p" ]; then find "$p" -type f -exec sha256sum {} ";"
                elif [ -f "$p" ]; then sha256sum "$p"; fi
            done"""
        said = self.run(script, "".join(f"{path}\n" for path in paths).encode())
        lines = [
            line.split("  ", 1)
            for line in said.decode(errors="replace").splitlines()
            if "  " in line
        ]
        return {path: digest for digest, path in lines}

    def put(self, files: Mapping[str, tuple[bytes, int]], stage: str) -> None:
        """Write files; all hashes are compared before the first file is renamed.

        Args:
            files: path on the device -> (content, permission bits). Folders are made.
            stage: a temporary folder on the same file system, so that a rename is one step.

        Raises:
            ProvisionError: the connection is lost, or the device has no room.
        """
        if not files:
            return
        archive = io.BytesIO()
        moves = []
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for number, (path, (content, mode)) in enumerate(sorted(files.items())):
                info = tarfile.TarInfo(str(number))
                info.size, info.mode = len(content), mode
                tar.addfile(info, io.BytesIO(content))
                digest = hashlib.sha256(content).hexdigest()
                moves.append(f"{digest} {mode:o} {number} {path}\n")
        listing = "".join(moves).encode()
        # One stream for both; the list comes first and has a known length.
        script = _PUT.format(folder=shlex.quote(stage), size=len(listing))
        self.run(script, listing + archive.getvalue(), timeout=600)

    def _failure(self, error: object) -> ProvisionError:
        """The error for what has ended the connection."""
        said = reason(error) if isinstance(error, OSError) else str(error).strip()
        last = (said.splitlines() or ["no reason given"])[-1].rstrip(".\r")
        refused = isinstance(error, paramiko.AuthenticationException)
        # So paramiko says that there is no key at all.
        if refused or "No authentication methods" in last or "encrypted" in last:
            kind, sentence = (
                "access",
                _(
                    "{device} refuses the login of this laptop; copy the laptop's SSH key to it "
                    "({command}) and run the same command."
                ),
            )
        elif not hasattr(self, "host_key"):
            kind, sentence = (
                "unreachable",
                _(
                    "{device} can't be reached by SSH ({said}); check address, cable and power "
                    "and run the same command."
                ),
            )
        else:
            kind, sentence = (
                "cable",
                _(
                    "The connection to {device} was lost ({said}); run the same command: it "
                    "continues where it stopped."
                ),
            )
        command = self.target.copy_id
        return ProvisionError(
            kind, sentence.format(device=self.target, said=last, command=command)
        )


class _Line:
    """A channel in the place of a socket. paramiko's thread closes it, also one that is lost."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def close(self) -> None:
        with contextlib.suppress(*_LOST):
            self._channel.close()


def _own_settings(host: str) -> Mapping[str, Any]:
    """What the user's own SSH settings say of a host: name, port, user, keys, jump hosts."""
    path = Path.home() / ".ssh" / "config"
    if not path.is_file():
        return {}
    found: Mapping[str, Any] = paramiko.SSHConfig.from_path(str(path)).lookup(host)
    return found


def _address(target: Target, own: Mapping[str, Any]) -> tuple[str, int]:
    return own.get("hostname", target.host), target.port or int(own.get("port", 22))


def _connected(host: str, port: int) -> socket.socket:
    """A socket that notices a dead line within seconds, where the system can do that."""
    found = socket.create_connection((host, port), _CONNECT_S)
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        found.setsockopt(socket.IPPROTO_TCP, option, _SILENT_MS)
    return found


def _feed(channel: Any, data: bytes) -> None:
    """Send a script its input. One that has ended without reading it says so by its exit code."""
    with contextlib.suppress(*_LOST):
        channel.sendall(data)
        channel.shutdown_write()


def _all(channel: Any, receive: Callable[[int], bytes], end: float) -> bytes:
    """All that comes until the script has ended, or `end`, a time of the monotonic clock."""
    found = bytearray()
    while len(found) <= _MOST:
        channel.settimeout(max(0.01, end - time.monotonic()))
        more = receive(65536)
        if not more:
            break
        found += more
    return bytes(found)


class Conversation:
    """A script that runs on the device and answers line by line."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._unread = b""

    def say(self, line: str) -> None:
        """Send a line. A script that has ended shows at the next `hear`."""
        with contextlib.suppress(*_LOST):
            self._channel.sendall(line.encode() + b"\n")

    def hear(self, timeout: float) -> str | None:
        """The next line, None if the script ended or said nothing for so many seconds."""
        self._channel.settimeout(timeout)
        with contextlib.suppress(TimeoutError):
            while b"\n" not in self._unread and len(self._unread) <= _MOST:
                more = self._channel.recv(65536)
                if not more:
                    break
                self._unread += more
        line, end, rest = self._unread.partition(b"\n")
        if not end:
            return None
        self._unread = rest
        return line.decode(errors="replace")

    @property
    def errors(self) -> str:
        found = b""
        while self._channel.recv_stderr_ready() and len(found) <= _MOST:
            found += self._channel.recv_stderr(65536)
        return found.decode(errors="replace")


# Reads `size` bytes of lines "hash mode number path", then a tar of files named by number.
_PUT = """\
set -e
umask 077
d={folder}
mkdir -p "${{d%/*}}"
rm -rf "$d"
mkdir "$d"
trap 'rm -rf "$d"' EXIT
dd of="$d/list" bs=1 count={size} 2>/dev/null
tar -xf - -C "$d"
while read -r digest mode number path; do
	[ "$(sha256sum < "$d/$number")" = "$digest  -" ] || {{
		echo "$path arrived damaged" >&2
		exit 1
	}}
done < "$d/list"
sync
while read -r digest mode number path; do
	[ -d "${{path%/*}}" ] || ( umask 022; mkdir -p "${{path%/*}}" )
	chmod "$mode" "$d/$number"
	mv -f "$d/$number" "$path"
done < "$d/list"
sync
"""


def fingerprint(host_key: str) -> str:
    """SHA-256 fingerprint of "type base64", as `ssh-keygen -l` shows it."""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def check_host_key(folder: Path, connection: SshConnection, say: Callable[[str], None]) -> None:
    """Record a device's host key at the first connection; refuse another one later.

    Args:
        folder: the device's folder on the laptop, named by its unique id.
        say: gets a sentence when the key is new.

    Raises:
        ProvisionError: `host_key`: it is not the recorded one.
    """
    path = folder / HOST_KEY_FILE
    if not path.exists():
        write_private(path, f"{connection.host_key}\n".encode())
        say(
            _("First connection to {device}: its host key is {key}.").format(
                device=connection.target, key=connection.fingerprint
            )
        )
        return
    known = path.read_text().strip()
    if known != connection.host_key:
        raise ProvisionError(
            "host_key",
            _(
                "{device} shows another host key ({new}) than at the first connection ({old}): "
                "its system was installed again, or this is another machine. If you are sure "
                "that it was installed again, delete {file} and run the same command."
            ).format(
                device=connection.target,
                new=connection.fingerprint,
                old=fingerprint(known),
                file=path,
            ),
        )
