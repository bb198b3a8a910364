"""What the tests of the sources share: a source in its own process, and scripted equipment."""

import contextlib
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agent import config
from host_tools.wire import vocabulary
from tests import support

INTERPRETERS = ["cpython", "micropython"]
# How a source may live. In turn (agent/sources/turns.py) is on MicroPython: all that runs there
# without turns runs then, too.
WAYS = ["cpython", "in turn"]
LONG_MS = 60_000  # for an answer that comes
NAMES = {metric.id: metric.name for metric in vocabulary.METRICS}


def defaults(module: str) -> dict[str, object]:
    """What the keys of a source are if its section of the configuration is empty."""
    table = importlib.import_module(f"agent.sources.{module}").KEYS
    return {
        key: None if default == config.REQUIRED else default
        for key, _, default, _, _ in config.keys(table)
    }


class Device:
    """Sources (one, or several in their order) on an interpreter.

    error: what `make` said, if the configuration was refused.
    """

    def __init__(
        self,
        interpreter: str,
        modules: str | Sequence[str],
        deadline_ms: int = LONG_MS,
        heapsize: str | None = None,
        **options: object,
    ):
        modules = [modules] if isinstance(modules, str) else list(modules)
        settings = {"usage.leases": None, "usage.arp": None, "usage.lan_interface": None}
        for module in modules:
            settings |= defaults(module)
        settings |= {f"usage.{k.replace('__', '.')}": v for k, v in options.items()}
        if interpreter != "cpython":
            command = [support.micropython()]
            command += ["-X", f"heapsize={heapsize}"] if heapsize else []
        else:
            # Unbuffered: each answer is to leave its pipe at once, as MicroPython's does.
            command = [sys.executable, "-u", "-W", "always"]
        orders = {"modules": modules, "config": settings, "in_turn": interpreter == "in turn"}
        self._deadline_ms = deadline_ms
        self._process = subprocess.Popen(
            [*command, str(Path(__file__).with_name("source_device.py"))],
            cwd=support.ROOT,
            env={
                **support.micropython_env(),
                "PYTHONPATH": str(support.ROOT),
                "SOURCE_DEVICE": json.dumps(orders),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: list[str] = []
        self.resets: list[str] = []
        self.error = self._next().get("error")

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _next(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the device said no more: {self._process.communicate()}")
        self._said.append(line)
        return json.loads(line)

    def _order(self, what: str, now: int | None, deadline_ms: int | None = None) -> dict[str, int]:
        assert self._process.stdin is not None
        order = {"do": what, "now": now, "deadline_ms": deadline_ms or self._deadline_ms}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        said = self._next()
        self.resets = [NAMES[metric] for metric in said["resets"]]
        return {NAMES[metric]: value for metric, value in said["row"]}

    def sample(self, now: int | None = None, deadline_ms: int | None = None) -> dict[str, int]:
        """A sample's row, by the metrics' names. deadline_ms: of this sample only."""
        return self._order("sample", now, deadline_ms)

    def observe(self, now: int | None = None) -> None:
        """What a round between samples does, to its end."""
        self._order("observe", now)

    def end(self) -> str:
        """Ends it; all that it ever printed, rows and log."""
        _, log = self._process.communicate()
        assert self._process.returncode == 0, log
        return "".join(self._said) + log


def need(name: str, package: str) -> str:
    """Path of a program that the tests need; fails with what to install."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    path = shutil.which(name, path=folders)
    if path is None:
        raise support.Missing(f"{name} is missing: install {package} from the system's packages.")
    return path


@contextlib.contextmanager
def udp(answer: Callable[[bytes], Sequence[bytes]]) -> Iterator[int]:
    """A UDP server; `answer` gives the replies to a datagram. Yields its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def loop() -> None:
            while True:
                data, address = sock.recvfrom(65536)
                if not data:
                    return
                for reply in answer(data):
                    sock.sendto(reply, address)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"", sock.getsockname())
            thread.join()


@contextlib.contextmanager
def tcp(talk: Callable[[socket.socket], None], wrap: Callable | None = None) -> Iterator[int]:
    """A TCP server that lets `talk` speak on each connection, one after the other. Yields its
    port. `wrap` turns a connection into one over TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def loop() -> None:
            while True:
                sock, _ = server.accept()
                with sock, contextlib.suppress(OSError, EOFError):
                    if over.is_set():
                        return
                    sock.settimeout(support.PATIENCE_S)
                    with contextlib.ExitStack() as stack:
                        talk(stack.enter_context(wrap(sock)) if wrap else sock)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            with socket.create_connection(server.getsockname()):
                thread.join()


class Request:
    """A request that a scripted HTTP server received."""

    def __init__(self, head: bytes, body: bytes):
        line, *headers = head.decode().split("\r\n")
        self.method, self.path, _ = line.split(" ")
        self.headers = {h.split(":")[0].lower(): h.split(":", 1)[1].strip() for h in headers}
        self.body = body


def requests(sock: socket.socket) -> Iterator[Request]:
    """The requests that come on a connection, until it ends."""
    buffer = b""

    def more() -> None:
        nonlocal buffer
        piece = sock.recv(4096)
        if not piece:
            raise EOFError
        buffer += piece

    while True:
        while b"\r\n\r\n" not in buffer:
            more()
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        request = Request(head, b"")
        size = int(request.headers.get("content-length", 0))
        while len(buffer) < size:
            more()
        request.body, buffer = buffer[:size], buffer[size:]
        yield request


def response(body: bytes | object, status: int = 200, headers: str = "") -> bytes:
    """An HTTP response; anything but bytes becomes JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
    return head.encode() + data


@contextlib.contextmanager
def http(answer: Callable[[Request], bytes], wrap: Callable | None = None) -> Iterator[int]:
    """An HTTP server; `answer` gives the whole response. Yields its port."""

    def talk(sock: socket.socket) -> None:
        for request in requests(sock):
            sock.sendall(answer(request))

    with tcp(talk, wrap) as port:
        yield port


@contextlib.contextmanager
def snmpd(folder: Path, lines: Sequence[str], fixed: int = 0) -> Iterator[int]:
    """The real snmpd with a configuration of its own, on the port `fixed` or a free one. Yields
    its port."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "snmpd.conf"
    config.write_text("\n".join([*lines, ""]))
    for _ in range(5):
        port = fixed or support.free_port()
        log = folder / "log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [need("snmpd", "snmpd"), "-f", "-Le", "-C", "-c", str(config), "-I", "-smux"]
                + [f"--persistentDir={folder}/persistent", f"udp:127.0.0.1:{port}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        try:
            end = time.monotonic() + support.PATIENCE_S
            while "NET-SNMP version" not in log.read_text() and process.poll() is None:
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.01)
            if process.poll() is None:
                yield port
                return
        finally:
            process.kill()
            process.wait()
    raise AssertionError(f"snmpd did not start:\n{log.read_text()}")
