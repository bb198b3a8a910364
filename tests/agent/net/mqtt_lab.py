"""What the tests of MQTT and of the network share: devices, certificates, scripted servers."""

import contextlib
import datetime
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import support

INTERPRETERS = ["cpython", "micropython"]
ACCEPTED = b"\x20\x02\x00\x00"
RESUMED = b"\x20\x02\x01\x00"


class Device:
    """A case of mqtt_device.py in a process of its own."""

    def __init__(
        self, interpreter: str, case: str, heapsize: str | None = None, **options: object
    ):
        if interpreter == "micropython":
            command = [support.micropython()]
            command += ["-X", f"heapsize={heapsize}"] if heapsize else []
        else:
            command = [sys.executable, "-W", "always"]
        script = Path(__file__).with_name("mqtt_device.py")
        self.process = subprocess.Popen(
            [*command, str(script), case],
            cwd=support.ROOT,
            # Not in argv: MicroPython dies of an argument longer than 255 bytes.
            env={
                **support.micropython_env(),
                "PYTHONPATH": str(support.ROOT),
                "MQTT_DEVICE": json.dumps(options),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._rest = b""

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def next(self, timeout: float = support.PATIENCE_S) -> tuple[str, object]:
        """What the device says next."""
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], timeout)
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                self.process.kill()
                raise AssertionError(f"the device said no more: {self.process.communicate()}")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        what, value = json.loads(line)
        return what, value

    def expect(self, what: str) -> object:
        """The value of what the device says next, which must be `what`."""
        said, value = self.next()
        assert said == what, f"the device said {said!r}: {value!r}"
        return value

    def finish(self, timeout: float = 2 * support.PATIENCE_S) -> list[tuple[str, object]]:
        """All that the device still says; it must end by itself, without a word on stderr."""
        output, errors = self.process.communicate(timeout=timeout)
        ended = (self.process.returncode, errors.decode())
        assert ended == (0, ""), ended
        return [tuple(json.loads(line)) for line in (self._rest + output).splitlines()]


def run(interpreter: str, case: str, **options: object) -> list[tuple[str, object]]:
    """All that a case says."""
    with Device(interpreter, case, **options) as device:
        return device.finish()


class Authority:
    """A throw-away CA with P-256 certificates, its files in a folder."""

    def __init__(self, folder: Path, name: str = "ca"):
        self.folder = folder
        self.path = folder / f"{name}.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test {name}")])
        self._write(self.path, self._sign(self._name, self._key, [], 30, True))

    def issue(self, cn: str, names: list[str] | None = None, days: int = 30) -> tuple[str, str]:
        """Paths of a certificate and its key; days below 0 for one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
        base = self.folder / f"{cn}.{self.path.stem}.{days}"
        cert = self._sign(name, key, names or [], days, False)
        self._write(Path(f"{base}.crt"), cert)
        Path(f"{base}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return f"{base}.crt", f"{base}.key"

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: list[str],
        days: int,
        ca: bool,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            san = x509.SubjectAlternativeName([x509.DNSName(n) for n in names])
            builder = builder.add_extension(san, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    @staticmethod
    def _write(path: Path, cert: x509.Certificate) -> None:
        path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))


def broker_lines(authority: Authority, server: tuple[str, str]) -> list[str]:
    """mosquitto.conf lines for mutual TLS."""
    return [
        f"cafile {authority.path}",
        f"certfile {server[0]}",
        f"keyfile {server[1]}",
        "require_certificate true",
        "use_identity_as_username true",
    ]


def read_exactly(sock: socket.socket, n: int) -> bytes:
    data = bytearray(n)
    at = 0
    while at < n:
        got = sock.recv_into(memoryview(data)[at:])
        if not got:
            raise EOFError
        at += got
    return bytes(data)


def read_packet(sock: socket.socket) -> bytes:
    """One MQTT packet. Raises EOFError or OSError when the connection ends."""
    packet = read_exactly(sock, 2)
    while packet[-1] & 128:
        packet += read_exactly(sock, 1)
    n = sum((byte & 127) << 7 * i for i, byte in enumerate(packet[1:]))
    return packet + read_exactly(sock, n)


def packet_id(publish: bytes) -> int:
    """The packet id of a QoS 1 PUBLISH shorter than 128 bytes."""
    at = 4 + int.from_bytes(publish[2:4], "big")
    return int.from_bytes(publish[at : at + 2], "big")


@contextlib.contextmanager
def serve(
    handler: Callable[[socket.socket, int], None],
    tls: ssl.SSLContext | None = None,
    **options: int,
) -> Iterator[int]:
    """A TCP server on a loopback port; the handler gets each connection and its number."""
    with socket.socket() as listener:
        for name, value in options.items():
            listener.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threads: list[threading.Thread] = []
        open_now: list[socket.socket] = []

        def one(sock: socket.socket, number: int) -> None:
            with contextlib.suppress(OSError, EOFError), sock:
                if tls:
                    # The handshake later, by when the end of the test finds the connection.
                    sock = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                    open_now.append(sock)
                    sock.do_handshake()
                with sock:
                    handler(sock, number)

        def accept() -> None:
            number = 0
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    open_now.append(sock)
                    threads.append(threading.Thread(target=one, args=(sock, number)))
                    threads[-1].start()
                    number += 1

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            # A copy: a connection over TLS may just begin.
            for sock in list(open_now):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


class Proxy:
    """Between a device and a broker: keeps what the device sent, per connection, in `sent`.

    On the first connection it swallows the broker's PUBACKs."""

    def __init__(self, port: int):
        self.sent: list[list[bytes]] = []
        self.news = threading.Condition()
        self._target = port
        self._socks: list[socket.socket] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        with serve(self._handle) as port:
            try:
                yield port
            finally:
                self.cut()

    def cut(self) -> None:
        # A copy: the device may connect again while this loop runs, and that connection must live.
        for sock in list(self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def wait_for_publishes(self, n: int, connection: int = 0) -> None:
        def seen() -> bool:
            return len(self.sent) > connection and n <= len(
                [p for p in self.sent[connection] if p[0] & 0xF0 == 0x30]
            )

        with self.news:
            assert self.news.wait_for(seen, support.PATIENCE_S), self.sent

    def _handle(self, near: socket.socket, number: int) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as far:
            self._socks += [near, far]
            packets: list[bytes] = []
            self.sent.append(packets)
            back = threading.Thread(target=self._answers, args=(far, near, number))
            back.start()
            try:
                while True:
                    packet = read_packet(near)
                    with self.news:
                        packets.append(packet)
                        self.news.notify_all()
                    far.sendall(packet)
            finally:
                self._shut(near, far)
                back.join()

    def _answers(self, far: socket.socket, near: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                packet = read_packet(far)
                if number or packet[0] != 0x40:
                    near.sendall(packet)
        self._shut(near, far)

    @staticmethod
    def _shut(*socks: socket.socket) -> None:
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
