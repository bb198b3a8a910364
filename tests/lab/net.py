"""Network namespaces, the cables between them, and processes inside them."""

from __future__ import annotations

import ctypes
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab.isolation import program
from tests.support import ROOT

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

# What is mounted for a process that looks at its interfaces and its resolver as a device does.
_DEVICE = 'mount -t sysfs none /sys && mount --bind "$0" /etc/resolv.conf && exec "$@"'


def _dies_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def call(*command: str, check: bool = True, text: str | None = None) -> str:
    """Run a command to its end and return what it printed; fails with its words."""
    done = subprocess.run(command, capture_output=True, text=True, input=text, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Namespace:
    """A host of the laboratory: a network namespace, kept by a file, and a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self._file = self.folder / "net"
        self._file.touch()
        self._enter = [program("nsenter"), f"--net={self._file}"]
        self.resolv_conf = self.folder / "resolv.conf"
        self.resolv_conf.touch()
        # A namespace lives as long as something refers to it: here, a mount on that file.
        call(program("unshare"), f"--net={self._file}", "true")
        self.ip("link", "set", "lo", "up")

    @property
    def file(self) -> str:
        """The path by which `ip` knows it."""
        return str(self._file)

    def ip(self, *arguments: str, check: bool = True) -> str:
        """`ip` inside."""
        return call(*self._enter, program("ip"), *arguments, check=check)

    def tc(self, *arguments: str, check: bool = True) -> str:
        """`tc` inside."""
        return call(*self._enter, program("tc"), *arguments, check=check)

    def nft(self, rules: str, check: bool = True) -> str:
        """nftables rules inside."""
        return call(*self._enter, program("nft"), "-f", "-", check=check, text=rules)

    def nft_json(self, *what: str) -> str:
        """What `nft --json list` says."""
        return call(*self._enter, program("nft"), "--json", "list", *what)

    def sysctl(self, name: str, value: int) -> None:
        """Set a value of /proc/sys."""
        path = "/proc/sys/" + name.replace(".", "/")
        call(*self._enter, "sh", "-c", f"echo {value} > {path}")

    def command(self, *command: str, device: bool = False) -> list[str]:
        """A command line that runs another one inside. device: with its own /sys and resolver."""
        if not device:
            return [*self._enter, *command]
        shell = ["sh", "-c", _DEVICE, str(self.resolv_conf), *command]
        return [*self._enter, program("unshare"), "--mount", *shell]


def cable(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    """A cable between two hosts, both of its ends up."""
    call(
        program("ip"), "link", "add", left_name, "netns", left.file, "type", "veth",
        "peer", "name", right_name, "netns", right.file,
    )  # fmt: skip
    left.ip("link", "set", left_name, "up")
    right.ip("link", "set", right_name, "up")


class Process:
    """A program in a namespace: started, frozen, killed, started again; its words in one log."""

    def __init__(
        self, host: Namespace, name: str, command: Sequence[str], *, device: bool = False
    ) -> None:
        self.name = name
        self.log = host.folder / f"{name}.log"
        self._command = host.command(*command, device=device)
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = False

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        return self._child is not None and self._child.poll() is None

    @property
    def died(self) -> bool:
        """Whether it ended by itself."""
        return self._child is not None and self._child.poll() is not None and not self._ended

    def start(self) -> Process:
        """Start it."""
        assert not self.running, f"{self.name} runs already"
        self._ended = False
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_dies_with_parent,
                start_new_session=True,
            )
        return self

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self._child is not None and self.running:
            self._child.send_signal(number)

    def freeze(self) -> None:
        """It stands still until `thaw`."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._ended = True
        self.send(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30) -> None:
        """Ask it to end, and wait; by force if it does not."""
        self._ended = True
        self.send(number)
        if self._child is not None:
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
