"""Bounded waiting: nothing in this agent that talks to a network waits for ever."""

import asyncio
import errno
import socket

from agent.device import interpreter


class NetError(OSError):
    """A step on the network failed; str() is `reason`, one sentence.

    `stage` is "name", "connect", "tls", "mqtt" or "session": how far it came, which is evidence
    of an outage's cause. `errno` is the system's, TLS's (negative) or CONNACK's code, else 0."""

    def __init__(self, reason, stage="session", code=0):
        super().__init__(code, reason)
        self.reason = reason
        self.stage = stage

    def __str__(self):
        return self.reason


_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ETIMEDOUT: "no answer in time",
    errno.ENOENT: "no such file",
}


class Own:
    """Bytes that the agent itself sends and receives beyond the village, since its start, with
    all headers from IP upwards (docs/measuring.md says how). `beyond(n)` is called when n
    more make more than `most`, if somebody keeps account (budget.py); OSError: they must not."""

    total = most = 0
    beyond = None

    def add(self, n):
        self.total += n
        if self.beyond and self.total > self.most:
            self.beyond(n)


own = Own()


# mbedTLS's code for a certificate that can't be verified; here on every interpreter.
CERTIFICATE = -0x2700


def code_of(error):
    """An OSError's errno, else 0. (MicroPython's other exceptions have an `errno` as well.)"""
    return error.errno or 0 if isinstance(error, OSError) else 0


def cause(error):
    """What an exception says, in a few words for people."""
    text = _WORDS.get(code_of(error))
    if not text:
        text = getattr(error, "verify_message", "") or getattr(error, "reason", "")
    return text or str(error.args[-1] if error.args else repr(error)).strip()


async def reap(*tasks):
    """Cancel tasks (never the current one) and wait until each is over.

    Looks at `done()` instead of awaiting the task: a CancelledError here is the caller's own."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        while not task.done():
            await interpreter.sleep_ms(0)


async def within(timeout_ms, coro):
    """Return what `coro` returns, or raise OSError(ETIMEDOUT) after `timeout_ms`.

    Not asyncio.wait_for: MicroPython's cancels its caller, and so can swallow a cancellation from
    outside; CPython's before 3.12 can too. Here the caller waits for an event that the work or
    the timer sets, and whatever happens, neither task outlives the call."""
    over = asyncio.Event()
    outcome = []
    tasks = (
        asyncio.create_task(_work(coro, outcome, over)),
        asyncio.create_task(_timer(timeout_ms, over)),
    )
    try:
        await over.wait()
    finally:
        await reap(*tasks)
        coro.close()  # it never started if its task was cancelled first
    if not outcome:
        raise OSError(errno.ETIMEDOUT, _WORDS[errno.ETIMEDOUT])
    if len(outcome) > 1:
        raise outcome[1]
    return outcome[0]


async def _work(coro, outcome, over):
    try:
        outcome.append(await coro)
    except Exception as error:
        outcome.append(None)
        outcome.append(error)
    finally:
        over.set()


async def _timer(timeout_ms, over):
    await interpreter.sleep_ms(timeout_ms)
    over.set()


def is_address(host):
    """Whether `host` is an IP address in digits, which no look-up can block on."""
    if ":" in host:
        return True
    parts = host.split(".")
    for part in parts:
        if not part.isdigit() or int(part) > 255:
            return False
    return len(parts) == 4


async def exchange(server, port, request, timeout_ms, accept=None, size=512):
    """Send one datagram and return the first answer (bytes, cut at `size`) that `accept` takes.

    `server` is an address in digits. The socket is connected: the system drops datagrams from
    any other address or port, and a closed port shows as ECONNREFUSED. Raises OSError with the
    system's errno, ETIMEDOUT when no answer was accepted in time."""
    if not is_address(server):
        raise OSError(errno.EINVAL, "not an address: " + server)
    info = socket.getaddrinfo(server, port, 0, socket.SOCK_DGRAM)[0]
    deadline = interpreter.ticks_add(interpreter.ticks_ms(), timeout_ms)
    sock = socket.socket(info[0], socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(info[-1])
        sock.send(request)
        while True:
            left = interpreter.ticks_diff(deadline, interpreter.ticks_ms())
            if left <= 0 or not await interpreter.ready(sock, False, left):
                raise OSError(errno.ETIMEDOUT, _WORDS[errno.ETIMEDOUT])
            try:
                answer = sock.recv(size)
            except OSError as error:
                if error.errno != errno.EAGAIN:  # its checksum was wrong after all
                    raise
                continue
            if not accept or accept(answer):
                return answer
    finally:
        sock.close()
