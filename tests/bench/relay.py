"""Stands between device and broker where the network itself can't be watched, and counts there.

What it sees is what TCP carries. The heads are computed: 52 bytes (IP, TCP, timestamps) for each
segment, one segment for each piece of up to 1,448 bytes that came at once, and one more to
acknowledge the last piece of each exchange.
"""

import contextlib
import socket
import threading
import time
from collections import Counter

_HEAD = 52
_MSS = 1448
_DELAYED_ACK_S = 0.04


class Counts:
    """Bytes and packets by what they carry."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.packets: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._last = time.monotonic()

    def wait_for_silence(self, seconds: float) -> None:
        """Return once nothing has come by for so long: delayed acknowledgements have."""
        while (left := self._last + seconds - time.monotonic()) > 0:
            time.sleep(left)


class Relay(Counts):
    """Listens on `host`, at `port`, and connects to `target`, a port there.

    Attributes:
        bytes, packets: by direction: `to province`, `to device`, `tcp ack`, `connecting`.
    """

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.target = 0
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self._unanswered = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection((self.host, self.target))
                except OSError:
                    near.close()
                    continue
                # SYN, SYN-ACK, ACK; FIN both ways and their ACKs.
                self._count("connecting", 0, 7)
                for source, sink, what in ((near, far, "to province"), (far, near, "to device")):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(
                        target=self._pass_on, args=(source, sink, what), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, what: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._count(what, len(data), -(-len(data) // _MSS))
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _count(self, what: str, size: int, segments: int) -> None:
        with self._lock:
            now = time.monotonic()
            # Answered soon, the acknowledgement travels with the answer.
            late = now - self._last > _DELAYED_ACK_S
            if late and self._unanswered:
                self.bytes["tcp ack"] += _HEAD
                self.packets["tcp ack"] += 1
            self._unanswered = what != "connecting"
            self._last = now
            self.bytes[what] += size + segments * _HEAD
            self.packets[what] += segments
