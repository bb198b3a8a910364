"""The connection to the broker, with a session that the broker keeps.

Nothing is confirmed by itself. After the next connection the broker sends again what was not
confirmed. There is no thread. The queue holds one batch: while it is stored, further
messages wait in the socket and in the broker, however many the broker sends without a PUBACK.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from host_tools.common.errors import BrokerError, KeyFileError, reason
from host_tools.common.i18n import _, marked
from host_tools.ingest.mqtt import BrokerLink
from host_tools.ingest.options import BrokerAddress
from host_tools.ingest.pipeline import Message

_KEEPALIVE_S = 30
_CONNECT_S = 10
_REFUSED = {
    1: marked("it speaks no MQTT 3.1.1"),
    2: marked("it does not accept this client id"),
    5: marked("it does not know this certificate as an ingest"),
}


class Receiver:
    """Receives messages and confirms them, over one connection at a time.

    Attributes:
        connected: subscribed, and not disconnected since.
    """

    def __init__(self, broker: BrokerAddress, filters: Sequence[str]) -> None:
        self._broker = broker
        self._filters = filters
        self._inbox: list[Message] = []
        self._link: BrokerLink | None = None
        self._connection = 0  # PUBACKs of an earlier one would confirm other messages
        self._taken = 0
        self.connected = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._read_certificates()

    def _read_certificates(self) -> None:
        """Before each connection: they may have been renewed."""
        tls = self._broker.tls
        if tls is None:
            return
        try:
            self._context.load_verify_locations(tls.ca)
            self._context.load_cert_chain(tls.certificate, tls.key)
        except (OSError, ssl.SSLError) as error:
            raise KeyFileError(
                _(
                    "The ingest's certificate {certificate}, its key or {ca} can't be read "
                    "({error}); see 'desalink broker config'."
                ).format(certificate=tls.certificate, ca=tls.ca, error=error)
            ) from None

    def _lost(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = None
        self.connected = False
        # The broker sends these again; to store them now would only make duplicates.
        self._inbox.clear()

    def connect(self) -> None:
        """Connect and subscribe.

        Raises:
            BrokerError: it does not answer, refuses the ingest, or has a wrong certificate.
            KeyFileError: the ingest's own certificate can't be read.
        """
        self._read_certificates()
        self._lost()
        self._connection += 1
        try:
            self._open(f"{self._broker.host}:{self._broker.port}")
        except BaseException:
            self._lost()
            raise
        self.connected = True

    def _open(self, where: str) -> None:
        context = None if self._broker.tls is None else self._context
        try:
            link = BrokerLink(self._broker.host, self._broker.port, context, _CONNECT_S)
            self._link = link
            link.hello(self._broker.client_id, _KEEPALIVE_S, time.monotonic())
            self._pump_until(lambda: link.accepted is not None)
            if link.accepted:
                why = _REFUSED.get(link.accepted)
                why = _(why) if why is not None else f"CONNACK {link.accepted}"
                raise BrokerError(
                    _("The broker at {where} refuses us: {why}; check its settings.").format(
                        where=where, why=why
                    )
                )
            link.subscribe(self._filters)
            self._pump_until(lambda: link.granted is not None)
        except ssl.SSLCertVerificationError as error:
            raise BrokerError(
                _(
                    "The broker at {where} is not who it should be ({verify_message}); see "
                    "'desalink broker config'."
                ).format(where=where, verify_message=error.verify_message)
            ) from None
        except (OSError, ValueError) as error:
            raise BrokerError(
                _(
                    "The broker at {where} does not answer ({reason}); see 'desalink broker run'."
                ).format(where=where, reason=reason(error))
            ) from None
        if any(code >= 0x80 for code in link.granted or ()):
            raise BrokerError(
                _(
                    "The broker at {where} refuses the subscription; check its rules for "
                    "'{client_id}' with 'desalink broker config'."
                ).format(where=where, client_id=self._broker.client_id)
            )

    def _pump_until(self, answered: Callable[[], bool]) -> None:
        end = time.monotonic() + _CONNECT_S
        while not answered():
            if time.monotonic() > end:
                raise TimeoutError(_("no answer in time"))
            # What waited for our session may come before the answer: as much as the broker sends
            # without a PUBACK (max_inflight_messages).
            if self._pump(end - time.monotonic(), sys.maxsize):
                raise InterruptedError(_("there was no time to wait for it"))
            if self._link is None and not answered():
                raise ConnectionError(_("it closed the connection"))

    def read(self, limit: int, wait_s: float, linger_s: float) -> tuple[list[Message], bool]:
        """Take messages as they come.

        Args:
            limit: at most so many.
            wait_s: wait so long for a first one.
            linger_s: and so long for others after it.

        Returns:
            The messages, and whether more are likely to be there already.
        """
        end = time.monotonic() + wait_s
        lingering = False
        while len(self._inbox) < limit and self.connected:
            left = end - time.monotonic()
            if self._pump(max(0.0, left), limit):
                break
            if self._inbox and not lingering:
                lingering = True
                end = time.monotonic() + linger_s
            elif left <= 0:
                break
        messages, self._inbox = self._inbox[:limit], self._inbox[limit:]
        self._taken = self._connection
        return messages, len(messages) == limit

    def _pump(self, timeout_s: float, limit: int) -> bool:
        """Read and write once, to `limit` messages in hand; True if `wake` was called."""
        link = self._link
        if link is None:
            self.connected = False
            return False
        wait_s = 0.0 if link.waiting else timeout_s
        readers = [link.fileno(), self._wake_reader.fileno()]
        writers = readers[:1] if link.unsent else []
        readable, _writable, _failed = select.select(readers, writers, [], wait_s)
        if readers[1] in readable:
            return True
        now = time.monotonic()
        with self._losing():
            link.write(now)
            self._inbox += link.read(limit - len(self._inbox), now)
            link.check_alive(now)
            link.stay_alive(now)
            link.write(now)
        return False

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """A block in which the connection may be lost."""
        try:
            yield
        except OSError:
            self._lost()

    def confirm(self, messages: Iterable[Message]) -> None:
        """Send the PUBACKs of messages that are stored, if they came over this connection."""
        if self._taken != self._connection or self._link is None:
            return
        self._link.confirm(message.mid for message in messages if message.mid)
        self.flush()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish an ack, retained. It may get lost: the next one says it all."""
        if self._link is not None:
            self._link.publish(topic, payload)

    def flush(self, timeout_s: float = 5.0) -> None:
        """Write what waits to be written."""
        end = time.monotonic() + timeout_s
        with self._losing():
            while self._link is not None:
                self._link.write(time.monotonic())
                if not self._link.unsent or time.monotonic() > end:
                    break
                select.select([], [self._link.fileno()], [], 0.1)

    def stay_alive(self) -> None:
        """Keep the connection while nothing is read."""
        if self._link is not None:
            self._link.stay_alive(time.monotonic())
            self.flush(0.1)

    def wake(self) -> None:
        """End each wait in `read` or `sleep` from now on; any thread may call it."""
        # Full: it is awake already. Closed: nothing waits.
        with contextlib.suppress(OSError):
            self._wake_writer.send(b".")

    def sleep(self, seconds: float) -> None:
        """Sleep, or until `wake` is called."""
        select.select([self._wake_reader], [], [], seconds)

    def close(self) -> None:
        """Disconnect in order; the broker keeps our session and what comes for us."""
        if self._link is not None:
            self._link.goodbye()
            self.flush()
        self._lost()

    def release(self) -> None:
        """Close everything."""
        self.close()
        self._wake_reader.close()
        self._wake_writer.close()
