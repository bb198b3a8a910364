"""A Linux device over the system's OpenSSH client: one connection, commands and files over it.

ssh asks no questions (BatchMode). `SshConnection.host_key` is the key that the device showed;
`check_host_key` compares it with the key in the device's folder on the laptop. Commands are
scripts for `sh`. Files are sent under a temporary name and renamed once their hash is right.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from host_tools.common.files import write_private
from host_tools.common.i18n import _
from host_tools.common.passphrase import scrubbed_environment
from host_tools.field.provision.errors import ProvisionError

HOST_KEY_FILE = "host_key"
# The name of the device in known_hosts files, because many routers have the same address.
_ALIAS = "desalink-device"
_CONNECT_S = 20
_LOST = 255  # ssh's own exit code
_LONGEST = 1 << 20  # bytes of one line

_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "StrictHostKeyChecking": "accept-new",
    "GlobalKnownHostsFile": "/dev/null",
    "HostKeyAlias": _ALIAS,
    # A fixed order, so that a device always shows the same one of its keys.
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

    @property
    def arguments(self) -> list[str]:
        """The arguments for ssh."""
        found = [] if self.port is None else ["-p", str(self.port)]
        if self.user is not None:
            found += ["-l", self.user]
        return [*found, "--", self.host]


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
            options: further arguments for ssh, such as `-i FILE`.

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
        # In /tmp, because the path of a socket has at most about 100 characters.
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
            # After the key is known: this uses the open connection.
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
        """Close the connection."""
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
        """The first session, `cat`, which keeps the connection open. It echoes one letter when
        all is well, and ends with this process, as its input then ends."""
        said = self._folder / "said"
        with said.open("wb") as err:
            self._master = subprocess.Popen(
                [*self._command, "-M", *self.target.arguments, "cat"],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                # Ctrl-C must not end it; `close` does.
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
            data: its standard input. Secrets belong here, as other users can read the script.

        Raises:
            ProvisionError: the connection is lost, or the script did not end in time.
        """
        try:
            done = subprocess.run(
                self._running(script),
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
                    "This user of {device} can't become root without a password; log in as root, "
                    "or allow it in /etc/sudoers.d, and run the same command."
                ).format(device=self.target),
            )
        return Ended(done.returncode, done.stdout, said)

    def _running(self, script: str) -> list[str]:
        """The command that runs a script on the device."""
        words = ["sh", "-c", script] if self.root else ["sudo", "-n", "sh", "-c", script]
        command = [*self._command, "-o", "ControlMaster=no", *self.target.arguments]
        return [*command, shlex.join(words)]

    @contextlib.contextmanager
    def conversation(self, script: str) -> Iterator[Conversation]:
        """A script that answers each line of its input; it ends with the block."""
        with (self._folder / "errors").open("w+b") as errors:
            process = subprocess.Popen(
                self._running(script),
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
            try:
                yield Conversation(process, errors)
            finally:
                process.communicate()  # closes its input, at which it ends

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

    def _failure(self, said: str) -> ProvisionError:
        """The error for a message of ssh."""
        text = said.lower()
        last = (said.strip().splitlines() or ["no reason given"])[-1].rstrip(".\r")
        if "permission denied" in text or "too many authentication failures" in text:
            kind, sentence = (
                "access",
                _(
                    "{device} refuses the login of this laptop; copy the laptop's SSH key to it "
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
                    "The connection to {device} was lost ({said}); run the same command: it "
                    "continues where it stopped."
                ),
            )
        command = self.target.copy_id
        return ProvisionError(
            kind, sentence.format(device=self.target, said=last, command=command)
        )


class Conversation:
    """A script that runs on the device and answers line by line."""

    def __init__(self, process: subprocess.Popen[bytes], errors: BinaryIO) -> None:
        self._process = process
        self._errors = errors
        self._unread = b""

    def say(self, line: str) -> None:
        """Send a line. A script that has ended shows at the next `hear`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def hear(self, timeout: float) -> str | None:
        """The next line, None if the script ended or said nothing for so many seconds."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread and ready.select(timeout):
                more = os.read(self._process.stdout.fileno(), 65536)
                if not more or len(self._unread) > _LONGEST:
                    break
                self._unread += more
        line, end, rest = self._unread.partition(b"\n")
        if not end:
            return None
        self._unread = rest
        return line.decode(errors="replace")

    @property
    def errors(self) -> str:
        """What the script has written to its error output."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")


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
    """The key that ssh has recorded: "type base64"."""
    words = known.read_text().split() if known.exists() else []
    with contextlib.suppress(binascii.Error, IndexError):
        base64.b64decode(words[2], validate=True)
        return f"{words[1]} {words[2]}"
    raise ProvisionError("device", _("ssh did not record the device's host key; update OpenSSH."))


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
