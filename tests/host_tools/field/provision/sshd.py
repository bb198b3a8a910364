"""A Linux device without one: a real sshd on a loopback port, a folder that is its root, and a
service manager that starts the real agent.

Nothing of the system is changed: sshd has its own configuration, host key and port, and everything
that provisioning writes goes below the folder. `systemctl` is a stand-in that reads the unit which
was installed, and starts what it says; its process takes the place of the service.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests import support
from tests.world.journals import Accepted
from tests.world.router import RC_COMMON, UCI

SYSTEMCTL = '''#!{python}
"""systemctl(1) for one unit below a prefix: daemon-reload, enable, start, stop, restart,
is-active."""
import os, signal, subprocess, sys, time
from pathlib import Path

root = Path("{root}")
state = root / "run"
state.mkdir(exist_ok=True)
pid = state / "desalink.pid"

def running():
    try:
        number = int(pid.read_text())
        return Path("/proc", str(number), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ValueError):
        return False

def stop():
    if running():
        os.kill(int(pid.read_text()), signal.SIGTERM)
        for _ in range(600):
            if not running():
                return
            time.sleep(0.05)
        os.kill(int(pid.read_text()), signal.SIGKILL)

def start():
    unit = dict(
        line.split("=", 1)
        for line in (root / "etc/systemd/system/desalink.service").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    words = unit["ExecStart"].split()
    words = [str(root) + w if w.startswith(("/etc/", "/opt/")) else w for w in words]
    process = subprocess.Popen(
        [sys.executable if w == "/usr/bin/python3" else w for w in words],
        cwd=str(root) + unit["WorkingDirectory"],
        env={{**os.environ, **dict(v.split("=", 1) for v in unit["Environment"].split())}},
        stdin=subprocess.DEVNULL,
        stdout=(state / "journalctl").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    pid.write_text(str(process.pid))

words = [word for word in sys.argv[1:] if not word.startswith("-")]
with (state / "systemctl").open("a") as log:
    print(*words, file=log)
if words[0] == "is-active":
    sys.exit(0 if running() else 3)
if words[0] in ("stop", "restart"):
    stop()
if words[0] in ("start", "restart"):
    start()
'''


class Missing(Exception):
    """sshd is not on this machine; the text says what to do."""


def sshd_program() -> str:
    """Path of OpenSSH's server. Raises Missing."""
    path = shutil.which("sshd", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))
    if path is None:
        raise Missing(
            "sshd is missing: run the tests with 'make test', which installs it, or install "
            "OpenSSH's server from the system's packages."
        )
    return path


def make_key(path: Path) -> str:
    """An Ed25519 key pair; the public part."""
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


class Device:
    """The device, a Raspberry Pi as far as it goes.

    root: what is `/` on it; bin: its programs; target: where to reach it; keys: of the laptop;
    board: what the technician has to say with --board.
    """

    board: str | None = "raspberry-pi"
    state = "var/lib/desalink"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder, self.root = folder, folder / "root"
        self.root.mkdir()
        self.port = support.free_port()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._furnish()
        make_key(folder / "host")
        (folder / "authorized").write_text(make_key(folder / "login"))
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "sshd.log"

    @property
    def target(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def keys(self) -> list[Path]:
        """The laptop has one key."""
        return [self.folder / "login"]

    def program(self, name: str, text: str) -> None:
        """Put a program on the device: a script for its shell, or with a first line of its own."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def _furnish(self) -> None:
        """What of the system provisioning uses."""
        self.program("systemctl", SYSTEMCTL.format(python=sys.executable, root=self.root))
        (self.bin / "python3").symlink_to(sys.executable)

    def _variables(self) -> dict[str, str]:
        return {}

    def files(self) -> dict[str, bytes]:
        """What is on the device, but for what the agent itself writes."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
            and not path.is_relative_to(self.root / self.state)
            and path.relative_to(self.root).parts[0] not in ("run", "var")
        }

    def wait_for_reports(self, timeout: float = support.PATIENCE_S) -> None:
        """Until the service, as it was left running, has written one more report."""
        journal = Accepted(self.root / self.state / "journal")
        journal.look()
        before, end = len(journal.reports), time.monotonic() + timeout
        while len(journal.reports) <= before:
            assert time.monotonic() < end, self.service_said()
            time.sleep(0.05)
            journal.look()

    def service_said(self) -> str:
        path = self.root / "run/journalctl"
        return path.read_text(errors="replace") if path.exists() else "nothing"

    def __enter__(self) -> Device:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.end_service()

    def start(self) -> None:
        """Start sshd; returns when it listens."""
        program = sshd_program()
        # sshd wants it where it separates privileges, which it does as root only.
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        passed = [name for name in os.environ if name.startswith("DESALINK_TEST")]
        variables = {"PATH": f"{self.bin}:/usr/bin:/bin:/usr/sbin:/sbin"}
        variables |= {name: os.environ[name] for name in passed} | self._variables()
        # Whatever the user's own shell has set up is not the device's.
        login = self.folder / "login.sh"
        login.write_text(
            "".join(f"export {name}='{value}'\n" for name, value in variables.items())
            + 'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f"HostKey {self.folder}/host\n"
            f"AuthorizedKeysFile {self.folder}/authorized\n"
            f"ForceCommand exec /bin/sh {login}\n"
            "PidFile none\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            "StrictModes no\nLogLevel VERBOSE\nPerSourceMaxStartups none\n"
            # sshd starts the user's shell, and a bash that is no other's child reads ~/.bashrc:
            # with tools for developers in it that takes longer than the command.
            "SetEnv SHLVL=1\n"
        )
        before = self.said.count("Server listening")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-D", "-e", "-f", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + support.PATIENCE_S
        while self.said.count("Server listening") <= before:
            assert self._process.poll() is None and time.monotonic() < end, self.said
            time.sleep(0.01)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        """End sshd and every session."""
        if self._process is not None:
            self.cut()
            self._process.terminate()
            self._process.wait()
            self._process = None

    def cut(self) -> None:
        """Kill every session's process, as a cable that is pulled ends them."""
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.name().startswith("sshd"):
                    child.send_signal(signal.SIGKILL)

    def end_service(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.root / "run/desalink.pid").read_text()), signal.SIGKILL)

    def new_host_key(self) -> None:
        """The device's system is installed anew, or it is another one."""
        make_key(self.folder / "host")
        self.stop()
        self.start()


# What procd does with what the start script has told it, and what ubus says of it.
PROCD = r"""
procd_start() {
	[ -d "$PROCD/instance" ] || return 0
	set --
	while IFS= read -r word; do set -- "$@" "$word"; done < "$PROCD/instance/env"
	set -- env "$@"
	while IFS= read -r word; do set -- "$@" "$word"; done < "$PROCD/instance/command"
	cd /
	setsid "$@" < /dev/null >> "$IPKG_INSTROOT/run/journalctl" 2>&1 &
	echo $! > "$PROCD/pid"
}
enable() { ln -sf ../init.d/desalink "$IPKG_INSTROOT/etc/rc.d/S96desalink"; }
start() { start_service && service_triggers && procd_start; }
restart() { stop; start; }
"""

UBUS = r"""#!/bin/sh
grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$(cat "$PROCD/pid")/status" &&
	echo '{"desalink": {"instances": {"instance1": {"running": true}}}}'
"""


# What the scripts of provisioning and of the package use.
APPLETS = (
    "awk cat chmod cut dd env find grep head ln ls mkdir mv rm sed setsid sh sha256sum sleep sort"
    " sync tar tr"
).split()


class OpenWrtDevice(Device):
    """The device, an OpenWrt router as far as it goes: tests/host_tools/router.py has what it
    is made of."""

    board = None
    state = "etc/desalink/state"

    def _furnish(self) -> None:
        for name in ("etc/config", "etc/rc.d", "run"):
            (self.root / name).mkdir(parents=True)
        (self.root / "etc/openwrt_release").write_text("DISTRIB_ID='OpenWrt'\n")
        text = RC_COMMON.replace('"$action"\n', PROCD + '"$action"\n')
        (self.root / "etc/rc.common").write_text(text)
        (self.folder / "procd").mkdir()
        self.program("uci", UCI.format(python=sys.executable))
        self.program("logger", '#!/bin/sh\nshift 5\necho "desalink: $*" >&2\n')
        self.program("ubus", UBUS)
        (self.bin / "micropython").symlink_to(support.micropython())
        busybox = shutil.which("busybox")
        if busybox is not None:  # a router has nothing else
            for applet in APPLETS:
                (self.bin / applet).symlink_to(busybox)

    def _variables(self) -> dict[str, str]:
        return {
            "UCI_FOLDER": str(self.root / "etc/config"),
            "PROCD": str(self.folder / "procd"),
        }

    def end_service(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "procd/pid").read_text()), signal.SIGKILL)
