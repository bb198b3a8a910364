"""A Linux device over the system's OpenSSH client: one connection, commands and files over it.

OpenSSH asks nothing (BatchMode). No setting of the device is trusted before its host key was
compared: `SshConnection.host_key` is what the device showed; `check_host_key` compares it with the
device's folder on the laptop. Commands are scripts for `sh`; files go in as bytes, under
another name first, and take their own once their hash is right.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import os
import re
import selectors
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from host_tools.common.files import write_private
from host_tools.common.i18n import _
from host_tools.common.passphrase import scrubbed_environment
from host_tools.field.provision.errors import ProvisionError

HOST_KEY_FILE = "host_key"
# What stands before the device's key in known_hosts files: village routers share addresses.
_ALIAS = "desalink-device"
_CONNECT_S = 20
_LOST = 255  # ssh's own exit code

_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "StrictHostKeyChecking": "accept-new",
    "GlobalKnownHostsFile": "/dev/null",
    "HostKeyAlias": _ALIAS,
    # Always the same order: the key that was seen first must be the one that is seen again.
    "HostKeyAlgorithms": "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256",
    "HashKnownHosts": "no",
    "CheckHostIP": "no",
    "UpdateHostKeys": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "PermitLocalCommand": "no",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}


@dataclass(frozen=True)
class Target:
    """Who and where: `user@host` or `user@host:port`; the user may be left out."""

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

    @property
    def words(self) -> list[str]:
        """For ssh's command line."""
        words = [] if self.port is None else ["-p", str(self.port)]
        if self.user is not None:
            words += ["-l", self.user]
        return [*words, "--", self.host]


class Ended(NamedTuple):
    """How a command on the device ended."""

    code: int
    out: bytes
    err: str


class SshConnection:
    """An open connection; a context manager. Ends with the process that opened it.

    host_key: what the device showed, as "ssh-ed25519 AAAA...".
    """

    def __init__(self, target: Target, options: Sequence[str] = ()) -> None:
        """Connect.

        Args:
            options: further words for ssh, such as `-i FILE`.

        Raises:
            ProvisionError: `unreachable`, `access` (the login is refused) or `usage`.
        """
        self.target = target
        if os.name == "nt":
            raise ProvisionError(
                "usage",
                _(
                    "Linux devices can't be provisioned from Windows; use a laptop with Linux "
                    "or macOS."
                ),
            )
        program = shutil.which("ssh")
        if program is None:
            raise ProvisionError(
                "usage", _("There is no ssh on this laptop; install the OpenSSH client.")
            )
        # In /tmp and short: the path of a socket has room for about a hundred characters.
        self._folder = Path(tempfile.mkdtemp(prefix="desalink-", dir="/tmp"))
        known = self._folder / "known"
        self._command = [program, *options, "-S", str(self._folder / "s")]
        for name, value in {**_OPTIONS, "UserKnownHostsFile": str(known)}.items():
            self._command += ["-o", f"{name}={value}"]
        self._environment = {**scrubbed_environment(), "LC_ALL": "C"}
        self._master: subprocess.Popen[bytes] | None = None
        self.root = True
        try:
            self._open()
            self.host_key = _shown(known)
            # Not before the key is known: this one talks over the connection that is open.
            self.root = self.run("id -u").strip() == b"0"
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> SshConnection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def fingerprint(self) -> str:
        """Of the host key, as OpenSSH and people write it."""
        return fingerprint(self.host_key)

    def close(self) -> None:
        """Hang up."""
        master, self._master = self._master, None
        if master is not None:
            assert master.stdin is not None and master.stdout is not None
            with contextlib.suppress(OSError):
                master.stdin.close()  # the device's `cat` ends, and the connection with it
            try:
                master.wait(5)
            except subprocess.TimeoutExpired:
                master.kill()
                master.wait()
            master.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        """The first session, which holds the connection open: `cat`, for as long as we live. It
        says a letter back when all is well; if this process dies, its input ends, and so does it.
        """
        said = self._folder / "said"
        with said.open("wb") as err:
            self._master = subprocess.Popen(
                [*self._command, "-M", *self.target.words, "cat"],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                # A Ctrl-C is for us: we end the connection in order.
                start_new_session=True,
            )
        stdin, stdout = self._master.stdin, self._master.stdout
        assert stdin is not None and stdout is not None
        with contextlib.suppress(OSError):
            stdin.write(b"\n")
            stdin.flush()
            with selectors.DefaultSelector() as ready:
                ready.register(stdout, selectors.EVENT_READ)
                if ready.select(_CONNECT_S) and os.read(stdout.fileno(), 1) == b"\n":
                    return
        self._master.kill()
        raise self._failure(said.read_text(errors="replace"))

    def execute(self, script: str, data: bytes = b"", timeout: float = 60) -> Ended:
        """Run a script in the device's `sh`, as root where sudo gives that.

        Args:
            data: its standard input. Secrets go here: others on the device can read the script.

        Raises:
            ProvisionError: the connection is lost, or there was no end of it in `timeout` seconds.
        """
        words = ["sh", "-c", script] if self.root else ["sudo", "-n", "sh", "-c", script]
        command = [*self._command, "-o", "ControlMaster=no", *self.target.words]
        try:
            done = subprocess.run(
                [*command, shlex.join(words)],
                env=self._environment,
                input=data,
                capture_output=True,
                timeout=timeout,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise self._failure(f"no answer in {timeout:.0f} s") from None
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode == _LOST or done.returncode < 0:
            raise self._failure(said)
        if not self.root and done.returncode == 1 and said.startswith("sudo:"):
            raise ProvisionError(
                "access",
                _(
                    "{device} lets this user do nothing as root without a password; log in as "
                    "root, or allow it in /etc/sudoers.d, and run the same command."
                ).format(device=self.target),
            )
        return Ended(done.returncode, done.stdout, said)

    def run(self, script: str, data: bytes = b"", timeout: float = 60) -> bytes:
        """As `execute`; what the script printed.

        Raises:
            ProvisionError: it failed; carries the last of what it said.
        """
        ended = self.execute(script, data, timeout)
        if ended.code != 0:
            raise self.refused(ended.err or f"exit code {ended.code}")
        return ended.out

    def refused(self, said: str) -> ProvisionError:
        """The device did not do its part."""
        last = (said.strip().splitlines() or ["?"])[-1][-200:].rstrip(".")
        return ProvisionError(
            "device",
            _("{device} can't do its part: {said}. Mend that and run the same command.").format(
                device=self.target, said=last
            ),
        )

    def hashes(self, paths: Sequence[str]) -> dict[str, str]:
        """Path -> SHA-256 (hex) of those files that are there; a folder stands for all files in
        it."""
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
        """Write files whole: what arrived is compared before any of them takes its name.

        Args:
            files: path on the device -> (content, permission bits). Folders are made.
            stage: a folder, deleted again, on the same file system: so that a rename is one step.

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
        # The list goes in first and has a length of its own: one stream for both.
        script = _PUT.format(folder=shlex.quote(stage), size=len(listing))
        self.run(script, listing + archive.getvalue(), timeout=600)

    def _failure(self, said: str) -> ProvisionError:
        """What ssh said, as a sentence and its kind."""
        text = said.lower()
        last = (said.strip().splitlines() or ["no reason given"])[-1].rstrip(".\r")
        if "permission denied" in text or "too many authentication failures" in text:
            kind, sentence = (
                "access",
                _(
                    "{device} does not let this laptop in; put the laptop's SSH key on it "
                    "({command}) and run the same command."
                ),
            )
        elif self._master is not None and not hasattr(self, "host_key"):
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
                    "The connection to {device} was lost ({said}); run the same command: it goes "
                    "on where it stopped."
                ),
            )
        command = self.target.copy_id
        return ProvisionError(
            kind, sentence.format(device=self.target, said=last, command=command)
        )


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


def _shown(known: Path) -> str:
    """The key that ssh has noted; "type base64"."""
    words = known.read_text().split() if known.exists() else []
    with contextlib.suppress(binascii.Error, IndexError):
        base64.b64decode(words[2], validate=True)
        return f"{words[1]} {words[2]}"
    raise ProvisionError("device", _("ssh did not note the device's host key; update OpenSSH."))


def check_host_key(folder: Path, connection: SshConnection, tell: Callable[[str], None]) -> None:
    """Remember a device's host key at the first meeting; refuse another one later.

    Args:
        folder: the device's own on the laptop, chosen by what the device says that it is.
        tell: called with a sentence when the key is new.

    Raises:
        ProvisionError: `host_key`: it is not the one that was remembered.
    """
    path = folder / HOST_KEY_FILE
    if not path.exists():
        write_private(path, f"{connection.host_key}\n".encode())
        tell(
            _("First meeting with {device}: its host key is {key}.").format(
                device=connection.target, key=connection.fingerprint
            )
        )
        return
    known = path.read_text().strip()
    if known != connection.host_key:
        raise ProvisionError(
            "host_key",
            _(
                "{device} shows another host key ({new}) than when it was first met ({old}): "
                "somebody may be in between, or its system was installed anew; if you know that "
                "it was, delete {file} and run the same command."
            ).format(
                device=connection.target,
                new=connection.fingerprint,
                old=fingerprint(known),
                file=path,
            ),
        )
