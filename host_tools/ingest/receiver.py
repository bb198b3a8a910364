"""The connection to the broker: MQTT 3.1.1 by paho, with a session that outlives us.

Messages and their PUBACKs pass by paho (transport.py), and none is confirmed by itself: what we
were given and did not confirm, the broker gives again after the next connection. There is no
thread and no queue: while we store, unread messages wait in the socket and in the broker, which
is all the back-pressure there needs to be.
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
from host_tools.ingest.options import Broker
from host_tools.ingest.pipeline import Message
from host_tools.ingest.transport import Transport, TransportContext

_KEEPALIVE_S = 30
_CONNECT_S = 10
_REFUSED = {
    "Unsupported protocol version": "it speaks no MQTT 3.1.1",
    "Client identifier not valid": "it does not accept this client id",
    "Not authorized": "it does not know this certificate as an ingest",
}


class Receiver:
    """Receives messages and confirms them, over one connection at a time.

    Attributes:
        connected: subscribed, and not disconnected since.
    """

    def __init__(self, broker: Broker, filters: Sequence[str]) -> None:
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
        self._client = self._make_client()

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            clean_session=False,
            protocol=mqtt.MQTTv311,
            manual_ack=True,  # should ever a message come to paho, only a stored one is confirmed
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_S
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        # With this set, paho leaves it to us when to write.
        client.on_socket_register_write = lambda *_: None
        context = TransportContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.deliver = self._deliver
        tls = self._broker.tls
        context.encrypted = tls is not None
        if tls is not None:
            try:
                context.load_verify_locations(tls.ca)
                context.load_cert_chain(tls.certificate, tls.key)
            except (OSError, ssl.SSLError) as error:
                raise KeyFileError(
                    f"The ingest's certificate {tls.certificate}, its key or {tls.ca} can't be "
                    f"read ({error}); see 'desalink broker config'."
                ) from None
        client.tls_set_context(context)
        return client

    @property
    def _transport(self) -> Transport | None:
        """What there is of a connection."""
        transport = self._client.socket()
        return transport if isinstance(transport, Transport) else None

    # ---- what paho tells -------------------------------------------------------------------

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        self._connacks.append(str(reason) if reason.is_failure else "")

    def _on_subscribe(self, _c: Any, _u: Any, _mid: int, reasons: Sequence[Any], _p: Any) -> None:
        self._subacks.append([reason.value for reason in reasons])

    def _on_disconnect(self, *_: Any) -> None:
        self.connected = False
        # The broker gives these again; to store them now would only make duplicates.
        self._inbox.clear()

    def _deliver(self, messages: list[Message]) -> None:
        self._inbox += messages

    # ---- connecting ------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect and subscribe.

        Raises:
            BrokerError: it does not answer, does not let us in, or is not who it should be.
        """
        where = f"{self._broker.host}:{self._broker.port}"
        self._connection += 1
        self._connacks.clear()
        self._subacks.clear()
        self._inbox.clear()
        try:
            self._client.connect(self._broker.host, self._broker.port, _KEEPALIVE_S)
            self._pump_until(self._connacks)
            if self._connacks[0]:
                why = _REFUSED.get(self._connacks[0], self._connacks[0])
                raise BrokerError(f"The broker at {where} refuses us: {why}; check its settings.")
            self._client.subscribe(self._filters)
            self._pump_until(self._subacks)
        except ssl.SSLCertVerificationError as error:
            raise BrokerError(
                f"The broker at {where} is not who it should be ({error.verify_message}); "
                "see 'desalink broker config'."
            ) from None
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"The broker at {where} does not answer ({reason(error)}); see 'desalink broker "
                "run'."
            ) from None
        if any(code >= 0x80 for code in self._subacks[0]):
            self.close()
            raise BrokerError(
                f"The broker at {where} does not let us subscribe; check its rules for '"
                f"{self._broker.client_id}' with 'desalink broker config'."
            )
        self.connected = True

    def _pump_until(self, answer: Sequence[Any]) -> None:
        end = time.monotonic() + _CONNECT_S
        while not answer:
            if time.monotonic() > end:
                raise TimeoutError("no answer in time")
            # What waited for our session may come before the answer: as much as the broker sends
            # without a PUBACK (its max_inflight_messages).
            if self._pump(end - time.monotonic(), sys.maxsize):
                raise InterruptedError("there was no time to wait for it")
            if self._client.socket() is None and not answer:
                raise ConnectionError("it closed the connection")

    # ---- receiving -------------------------------------------------------------------------

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
        """Let paho read and write once, to `limit` messages in hand; True if somebody woke us."""
        transport = self._transport
        if transport is None:
            self.connected = False
            return False
        readers: list[Transport | socket.socket] = [transport, self._wake_reader]
        writers = [transport] if self._wants_to_write(transport) else []
        wait_s = 0.0 if transport.pending() else timeout_s
        readable, _, _ = select.select(readers, writers, [], wait_s)
        if self._wake_reader in readable:
            return True
        if writers:
            self._write()
        before = -1
        # Each call takes what has come, and one packet of paho's. No new message: that is all.
        while before != len(self._inbox) < limit and self._transport is transport:
            before = len(self._inbox)
            self._client.loop_read()
        self._client.loop_misc()
        return False

    def confirm(self, messages: Iterable[Message]) -> None:
        """Send the PUBACKs of messages that are stored, if they came over this connection."""
        transport = self._transport
        if transport is None or self._taken != self._connection or not self.connected:
            return
        transport.confirm([message.mid for message in messages if message.mid])
        self.flush()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish an ack, retained. It may get lost: the next one says it all."""
        self._client.publish(topic, payload, qos=0, retain=True)

    def flush(self, timeout_s: float = 5.0) -> None:
        """Write what waits to be written."""
        end = time.monotonic() + timeout_s
        self._write()
        while (
            (transport := self._transport)
            and self._wants_to_write(transport)
            and time.monotonic() < end
        ):
            select.select([], [transport], [], 0.1)
            self._write()

    def _wants_to_write(self, transport: Transport) -> bool:
        return self._client.want_write() or transport.unsent

    def _write(self) -> None:
        self._client.loop_write()
        if transport := self._transport:
            transport.flush()

    def stay_alive(self) -> None:
        """Keep the connection while nothing is read."""
        if self._client.socket() is not None:
            self._client.loop_misc()
            self.flush(0.1)

    # ---- ending ----------------------------------------------------------------------------

    def wake(self) -> None:
        """End a wait in `read` or `sleep`, from a signal handler or another thread, for good."""
        # Full: it is awake already. Closed: there is nobody to wake.
        with contextlib.suppress(OSError):
            self._wake_writer.send(b".")

    def sleep(self, seconds: float) -> None:
        """Sleep until then, or until somebody wakes us."""
        select.select([self._wake_reader], [], [], seconds)

    def close(self) -> None:
        """Disconnect in order; the broker keeps our session and what comes for us."""
        if self._client.socket() is not None:
            self.flush()
            self._client.disconnect()
            self.flush()
        self.connected = False

    def release(self) -> None:
        """Give back what the process holds for it."""
        self.close()
        self._wake_reader.close()
        self._wake_writer.close()
