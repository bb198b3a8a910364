"""The broker's process: find it, start it in the foreground, have it read its files again."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from host_tools.broker.acl import check_identity
from host_tools.broker.config import BrokerFiles, broker_files, connection_limit
from host_tools.common.errors import BrokerError
from host_tools.common.i18n import _
from host_tools.common.passphrase import scrubbed_environment
from host_tools.province.settings import Province

MINIMUM_VERSION = (2, 0)

# Debian keeps daemons in folders that only root's PATH names.
EXTRA_PATH = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
_PR_SET_PDEATHSIG = 1


def find_mosquitto() -> str:
    """The path of a Mosquitto that is new enough.

    Raises:
        BrokerError: it is missing or too old; says how to get one.
    """
    path = os.environ.get("PATH", os.defpath) + os.pathsep + os.pathsep.join(EXTRA_PATH)
    program = shutil.which("mosquitto", path=path)
    if program is None:
        raise BrokerError(
            _(
                "Mosquitto is not installed; install it ('apt install mosquitto', or from "
                "mosquitto.org) and try again."
            )
        )
    shown = subprocess.run([program, "-h"], capture_output=True, text=True, timeout=60).stdout
    match = re.search(r"mosquitto version ([0-9]+)\.([0-9]+)", shown)
    if match is None:
        raise BrokerError(
            _("{program} does not print its version; install Mosquitto 2.0 or newer.").format(
                program=program
            )
        )
    version = int(match[1]), int(match[2])
    if version < MINIMUM_VERSION:
        raise BrokerError(
            _(
                "{program} is version {major}.{minor} and 2.0 is the oldest that can be used; "
                "install a newer one from mosquitto.org."
            ).format(program=program, major=match[1], minor=match[2])
        )
    return program


def check_port_is_free(bind: str, port: int) -> None:
    """Check that the broker can listen.

    Raises:
        BrokerError: another program listens there, or the address or port may not be used.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind or "0.0.0.0", port))  # nosec B104 # only tried: is the port free?
            return
        except OSError as error:
            problem = error
    where = _("port {port}").format(port=port) + (
        _(" of {bind}").format(bind=bind) if bind else ""
    )
    if problem.errno == errno.EADDRINUSE:
        raise BrokerError(
            _(
                "Another program listens on {where}; end it, or choose another port with --port "
                "or in province.toml."
            ).format(where=where)
        )
    if problem.errno == errno.EACCES:
        raise BrokerError(
            _("Only root may listen on {where}; choose a port above 1023.").format(where=where)
        )
    raise BrokerError(
        _(
            "The broker can't listen on {where} ({reason}); correct bind and port in "
            "province.toml."
        ).format(where=where, reason=(problem.strerror or str(problem)).lower())
    )


def running_pid(files: BrokerFiles) -> int | None:
    """The process of the province's broker, or None if it does not run on this machine.

    A pid file from before a crash may name another program by now, so the command line of the
    process is compared where the system shows it.
    """
    try:
        pid = int(files.pid.read_text().strip())
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    except PermissionError:
        pass  # it lives, under another user
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None if Path("/proc/self").exists() else pid
    return pid if os.fsencode(files.config) in arguments else None


def request_reload(province: Province) -> bool:
    """Have the running broker read certificates, revocation list and ACL again (SIGHUP).

    Returns at once; the broker does it within moments. False if no broker of this province runs
    here.

    Raises:
        BrokerError: it belongs to another user.
    """
    pid = running_pid(broker_files(province))
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise BrokerError(
            _(
                "The broker (process {pid}) belongs to another user; reload it yourself with "
                "'sudo kill -HUP {pid}'."
            ).format(pid=pid)
        ) from None
    return True


def raise_open_files_limit(connections: int) -> str | None:
    """Allow the broker one open file a connection; returns a warning where the system refuses."""
    import resource

    needed = connections + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        return _(
            "The system allows the broker {allowed} open files; it needs {needed} for all "
            "connections; raise the limit with 'ulimit -Hn' or LimitNOFILE."
        ).format(allowed=allowed, needed=needed)
    return None


def dies_with_parent(number: int) -> Callable[[], None] | None:
    """For `preexec_fn` of a child: the kernel sends it a signal when its parent is killed."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)  # loaded here: nothing may be loaded between fork and exec
    parent = os.getpid()

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it was killed before
            os._exit(1)

    return ask


class BrokerProcess:
    """One running Mosquitto, as a child. For `broker run`, the demo and tests."""

    def __init__(self, province: Province, *, port: int | None = None) -> None:
        self.province = province
        self.port = port or province.broker.port
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def check(self) -> str:
        """Check whether it could start now; returns the program.

        Raises:
            BrokerError: missing, too old, running already, or the port is taken.
        """
        program = find_mosquitto()
        pid = running_pid(broker_files(self.province))
        if pid is not None:
            raise BrokerError(
                _("The broker of this province runs already (process {pid}).").format(pid=pid)
            )
        check_port_is_free(self.province.broker.bind, self.port)
        return program

    def start(self, villages: int, *, stderr: IO[bytes] | int | None = None) -> str | None:
        """Start it; the configuration must have been written (`write_config`).

        Args:
            villages: how many the province has, for the limit of open files.
            stderr: as for `subprocess.Popen`; None passes the broker's log through.

        Returns:
            A warning for the person, or None.

        Raises:
            BrokerError: as `check`.
        """
        program = self.check()
        warning = raise_open_files_limit(connection_limit(villages))
        self._child = subprocess.Popen(
            [program, "-c", str(broker_files(self.province).config)],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=scrubbed_environment(),
            preexec_fn=dies_with_parent(signal.SIGTERM),
        )
        return warning

    def wait_ready(self, timeout: float = 15.0) -> None:
        """Return once it serves connections.

        Raises:
            BrokerError: it ended, or does not serve in time.
        """
        assert self._child is not None
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._child.poll() is not None:
                raise BrokerError(
                    _("Mosquitto ended at once with code {returncode}; its log says why.").format(
                        returncode=self._child.returncode
                    )
                )
            if self._answers():
                return
            time.sleep(0.02)
        raise BrokerError(
            _("Mosquitto does not serve port {port}; its log says why.").format(port=self.port)
        )

    def set_memory_aside(self) -> tuple[Path, Path] | None:
        """Move away what Mosquitto has saved, if that may be why it ended at once.

        It never starts with a saved file that it can't read, for example after a disk error.

        Returns:
            The file's path and where it lies now; None: it has saved nothing, or still runs.
        """
        saved = broker_files(self.province).data / "mosquitto.db"
        if self._child is None or self._child.poll() is None or not saved.exists():
            return None
        aside = saved.with_name("mosquitto.db.damaged")
        saved.replace(aside)
        return saved, aside

    def _answers(self) -> bool:
        """Whether a TLS handshake gets any answer.

        That the port is open is not enough: Mosquitto listens first and sets up its signal
        handlers later, and a SIGTERM or SIGHUP in between would kill it on the spot.
        """
        host = self.province.broker.local_host
        client = self.province.service(check_identity("ingest"))
        context = ssl.create_default_context(cafile=str(client.ca))
        context.load_cert_chain(client.certificate, client.key)
        try:
            with socket.create_connection((host, self.port), 1) as connection:
                try:
                    context.wrap_socket(connection, server_hostname=host).close()
                except (ssl.SSLError, ConnectionResetError):
                    pass  # an answer, too
                return True
        except OSError:
            return False

    def signal(self, number: int) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def wait(self) -> int:
        assert self._child is not None
        return self._child.wait()

    def stop(self, timeout: float = 10.0) -> None:
        """End it in good order (it saves its sessions), by force if it does not."""
        self.signal(signal.SIGTERM)
        if self._child is not None:
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
