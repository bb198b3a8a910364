"""The connection to the broker: MQTT 3.1.1 by paho, with a session that the broker keeps.

paho confirms nothing by itself. After the next connection the broker sends again what was not
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
from collections.abc import Iterable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from host_tools.common.errors import BrokerError, KeyFileError, reason
from host_tools.common.i18n import _, marked
from host_tools.ingest.options import BrokerAddress
from host_tools.ingest.pipeline import Message

_KEEPALIVE_S = 30
_CONNECT_S = 10
_REFUSED = {
    "Unsupported protocol version": marked("it speaks no MQTT 3.1.1"),
    "Client identifier not valid": marked("it does not accept this client id"),
    "Not authorized": marked("it does not know this certificate as an ingest"),
}


class Receiver:
    """Receives messages and confirms them, over one connection at a time.

    Attributes:
        connected: subscribed, and not disconnected since.
    """

    def __init__(self, broker: BrokerAddress, filters: Sequence[str]) -> None:
        self._broker = broker
        self._filters = [(topic, 1) for topic in filters]
        self._inbox: list[Message] = []
        self._connection = 0  # PUBACKs of an earlier one would confirm other messages
        self._taken = 0
        self._connacks: list[str] = []  # why we are refused; empty: we are not
        self._subacks: list[list[int]] = []
        self.connected = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = self._make_client()

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            clean_session=False,
            protocol=mqtt.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_S
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        # With this set, paho writes only when `loop_write` is called.
        client.on_socket_register_write = lambda *_rest: None
        if self._broker.tls is not None:
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._read_certificates()
            client.tls_set_context(self._context)
        return client

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

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        self._connacks.append(str(reason) if reason.is_failure else "")

    def _on_subscribe(self, _c: Any, _u: Any, _mid: int, reasons: Sequence[Any], _p: Any) -> None:
        self._subacks.append([reason.value for reason in reasons])

    def _on_disconnect(self, *_rest: Any) -> None:
        self.connected = False
        # The broker sends these again; to store them now would only make duplicates.
        self._inbox.clear()

    def _on_message(self, _c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "(not UTF-8)"
        mid = message.mid if message.qos else 0
        self._inbox.append(Message(topic, bytes(message.payload), mid))

    def connect(self) -> None:
        """Connect and subscribe.

        Raises:
            BrokerError: it does not answer, refuses the ingest, or has a wrong certificate.
            KeyFileError: the ingest's own certificate can't be read.
        """
        self._read_certificates()
        where = f"{self._broker.host}:{self._broker.port}"
        self._connection += 1
        self._connacks.clear()
        self._subacks.clear()
        self._inbox.clear()
        try:
            self._client.connect(self._broker.host, self._broker.port, _KEEPALIVE_S)
            self._pump_until(self._connacks)
            if self._connacks[0]:
                why = _(_REFUSED.get(self._connacks[0], self._connacks[0]))
                raise BrokerError(
                    _("The broker at {where} refuses us: {why}; check its settings.").format(
                        where=where, why=why
                    )
                )
            self._client.subscribe(self._filters)
            self._pump_until(self._subacks)
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
        if any(code >= 0x80 for code in self._subacks[0]):
            self.close()
            raise BrokerError(
                _(
                    "The broker at {where} refuses the subscription; check its rules for "
                    "'{client_id}' with 'desalink broker config'."
                ).format(where=where, client_id=self._broker.client_id)
            )
        self.connected = True

    def _pump_until(self, answer: Sequence[Any]) -> None:
        end = time.monotonic() + _CONNECT_S
        while not answer:
            if time.monotonic() > end:
                raise TimeoutError(_("no answer in time"))
            # What waited for our session may come before the answer: as much as the broker sends
            # without a PUBACK (max_inflight_messages).
            if self._pump(end - time.monotonic(), sys.maxsize):
                raise InterruptedError(_("there was no time to wait for it"))
            if self._client.socket() is None and not answer:
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
        connection = self._client.socket()
        if connection is None:
            self.connected = False
            return False
        writers = [connection] if self._client.want_write() else []
        # TLS decrypts whole records: `select` does not see the rest of one.
        wait_s = 0.0 if _decrypted(connection) else timeout_s
        readable, _writable, _failed = select.select(
            [connection, self._wake_reader], writers, [], wait_s
        )
        if self._wake_reader in readable:
            return True
        if writers:
            self._client.loop_write()
        # Each call reads one packet. No new message: nothing more has come.
        before = -1
        while before != len(self._inbox) < limit and self._client.socket() is connection:
            before = len(self._inbox)
            self._client.loop_read()
        self._client.loop_misc()
        return False

    def confirm(self, messages: Iterable[Message]) -> None:
        """Send the PUBACKs of messages that are stored, if they came over this connection."""
        if self._taken != self._connection or not self.connected:
            return
        for message in messages:
            if message.mid:
                self._client.ack(message.mid, 1)
        self.flush()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish an ack, retained. It may get lost: the next one says it all."""
        self._client.publish(topic, payload, qos=0, retain=True)

    def flush(self, timeout_s: float = 5.0) -> None:
        end = time.monotonic() + timeout_s
        self._client.loop_write()
        while (connection := self._client.socket()) and self._client.want_write():
            if time.monotonic() > end:
                break
            select.select([], [connection], [], 0.1)
            self._client.loop_write()

    def stay_alive(self) -> None:
        """Keep the connection while nothing is read."""
        if self._client.socket() is not None:
            self._client.loop_misc()
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
        if self._client.socket() is not None:
            self.flush()
            self._client.disconnect()
            self.flush()
        self.connected = False

    def release(self) -> None:
        self.close()
        self._wake_reader.close()
        self._wake_writer.close()


def _decrypted(connection: Any) -> int:
    """How many bytes can be read without the kernel."""
    return int(connection.pending()) if isinstance(connection, ssl.SSLSocket) else 0
