"""What changes around a simulated device from minute to minute, the same for the same seed."""

import math
import random
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support import free_port

UPLINK = "eth0"
_LONGEST = timedelta(hours=30)


def earlier_s() -> int:
    """How much earlier than now a simulation is to begin, for no month to end in it: the figures
    of a month begin anew with the next, and a test must not depend on the day."""
    wita = datetime.now(UTC) + timedelta(hours=8)
    return 2 * 86400 if (wita + _LONGEST).month != wita.month else 0


def begin() -> float:
    """The Unix time at which a simulation that is started now begins."""
    return time.time() - earlier_s()


class Village:
    """The files that a village's router has: counters of its interfaces, leases of its clients.

    Up to 40 clients, few at night; each uses up to some megabytes a minute.

    Attributes:
        begin: the minute of the day at minute 0.
    """

    begin = 0

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.proc_net_dev = folder / "proc_net_dev"
        self.leases = folder / "leases"
        self._random = random.Random(seed)
        self._down = self._up = 0
        self._clients: list[int] = []
        self.minute(0)

    def minute(self, minute: int) -> None:
        """Write the files as they are at the end of a minute."""
        draw = self._random
        busy = 0.5 - 0.5 * math.cos(2 * math.pi * ((minute + self.begin) / 1440 - 0.1))
        while len(self._clients) < round(40 * busy * draw.uniform(0.85, 1)):
            self._clients.append(draw.getrandbits(24))
        while len(self._clients) > round(40 * busy):
            self._clients.pop(draw.randrange(len(self._clients)))
        for _ in self._clients:
            used = int(draw.paretovariate(1.2) * 20_000)
            self._down += used
            self._up += used // draw.randint(5, 20)
        background = draw.randint(2_000, 30_000)
        self._down += background
        self._up += background // 2
        self.proc_net_dev.write_text(self._counters())
        self.leases.write_text("".join(map(self._lease, self._clients)))

    @property
    def counters(self) -> tuple[int, int]:
        """Bytes down and up so far."""
        return self._down, self._up

    def _counters(self) -> str:
        columns = "bytes packets errs drop fifo frame compressed multicast"
        lines = ["Inter-|   Receive |  Transmit", f" face |{columns}|{columns}"]
        for name, down, up in (("lo", 1000, 1000), (UPLINK, self._down, self._up)):
            lines.append(
                f"{name:>6}: {down} {down // 900} 0 0 0 0 0 0 {up} {up // 400} 0 0 0 0 0 0"
            )
        return "\n".join(lines) + "\n"

    @staticmethod
    def _lease(client: int) -> str:
        mac = ":".join(f"{byte:02x}" for byte in (2, 0, 0, *client.to_bytes(3, "big")))
        address = f"10.5.{client >> 8 & 255}.{client & 255}"
        return f"{2**31 - 1} {mac} {address} phone 01:{mac}\n"


class Upstream:
    """A host in the internet, at a loopback port: accepts connections, or refuses them."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None
        # Nobody else may listen on it, or call from it, while it refuses.
        self.port = free_port()
        self.answer()

    def answer(self) -> None:
        """Accept connections from now on."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections from now on."""
        if self._listener is not None:
            # Closing alone would leave it listening until accept() in the thread returns.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    @staticmethod
    def _accept(listener: socket.socket) -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return
