"""One question and its answer over UDP, under a deadline."""

import errno
import socket

from agent.device import interpreter
from agent.net.errors import timed_out


def is_address(host):
    """Whether `host` is an IP address in digits, which no look-up can block on."""
    if ":" in host:
        return True
    parts = host.split(".")
    for part in parts:
        if not part.isdigit() or int(part) > 255:
            return False
    return len(parts) == 4


async def arrival(sock, began, timeout_ms):
    """Wait for a datagram; OSError(ETIMEDOUT) if none comes within `timeout_ms` after `began`."""
    left = timeout_ms - interpreter.since(began)
    if left <= 0 or not await interpreter.ready(sock, False, left):
        raise timed_out()


async def exchange(server, port, request, timeout_ms, accept=None, most=512):
    """Send one datagram and return the first answer (bytes) that `accept` takes. One of more than
    `most` bytes is cut; it has one more then.

    `server` is an address in digits. The socket is connected: the system drops datagrams from
    any other address or port. Raises OSError with the system's errno: ETIMEDOUT when no answer was
    accepted in time, ECONNREFUSED at a closed port on Linux. On lwIP (ESP32) a closed port is
    silent."""
    if not is_address(server):
        raise OSError(errno.EINVAL, "not an address: " + server)
    info = socket.getaddrinfo(server, port, 0, socket.SOCK_DGRAM)[0]
    began = interpreter.ticks_ms()
    sock = socket.socket(info[0], socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(info[-1])
        sock.send(request)
        request = None  # its memory, for the answer
        while True:
            await arrival(sock, began, timeout_ms)
            try:
                answer = sock.recv(most + 1)
            except OSError as error:
                if error.errno != errno.EAGAIN:  # the datagram's checksum was wrong
                    raise
                continue
            if not accept or accept(answer):
                return answer
    finally:
        sock.close()
