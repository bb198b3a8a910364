"""A small synchronous MQTT client for the check, over paho-mqtt."""

from __future__ import annotations

import queue
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from host_tools.common.errors import BrokerError, reason
from host_tools.common.files import write_private
from host_tools.common.i18n import _, number
from host_tools.keys.ca import Issued
from host_tools.province.settings import TlsFiles

TIMEOUT_S = 5.0  # for each answer of the broker


class AccessRefused(BrokerError):
    """The broker did not accept the connection; the text says at which step."""


@dataclass(frozen=True)
class Delivered:
    topic: str
    payload: bytes


class CheckClient:
    """A connection with one identity; close it, or use it as a context manager.

    Attributes:
        timeout: seconds to wait for each answer.
        messages: all that was delivered.
    """

    def __init__(
        self,
        host: str,
        port: int,
        identity: TlsFiles | None,
        *,
        ca: Path | None = None,
        name: str = "",
        timeout: float | None = None,
    ) -> None:
        """Connect with a clean session.

        Args:
            identity: certificate and key to show, and the CA to trust.
            ca: without an identity, the CA to trust; without either, plain text is spoken.
            name: client id to ask for; the broker replaces it by the certificate's name.

        Raises:
            AccessRefused: by TLS, by MQTT, or by silence.
        """
        self.timeout = timeout = TIMEOUT_S if timeout is None else timeout
        self._connected = threading.Event()
        self._refusal: str | None = None
        self._confirmed: queue.Queue[int] = queue.Queue()
        self.messages: queue.Queue[Delivered] = queue.Queue()
        self._paho = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, reconnect_on_failure=False
        )
        self._paho.on_connect = self._on_connect
        self._paho.on_disconnect = self._on_disconnect
        self._paho.on_message = self._on_message
        self._paho.on_subscribe = self._paho.on_publish = self._on_confirmed
        try:
            trusted = identity.ca if identity is not None else ca
            if trusted is not None:
                context = ssl.create_default_context(cafile=str(trusted))
                if identity is not None:
                    context.load_cert_chain(identity.certificate, identity.key)
                self._paho.tls_set_context(context)
            self._paho.connect_timeout = timeout
            self._paho.connect(host, port, keepalive=60)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise AccessRefused(reason(error)) from None
        self._paho.loop_start()
        if not self._connected.wait(timeout) or self._refusal is not None:
            self._paho.loop_stop()
            raise AccessRefused(self._refusal or _("no answer to CONNECT"))

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, *_rest: Any) -> None:
        if reason.is_failure:
            self._refusal = f"CONNACK: {reason}"
        self._connected.set()

    def _on_disconnect(self, *_rest: Any) -> None:
        if not self._connected.is_set():
            self._refusal = _("the connection was closed")
        self._connected.set()

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.messages.put(Delivered(message.topic, bytes(message.payload)))

    def _on_confirmed(self, _client: Any, _data: Any, mid: int, *_rest: Any) -> None:
        self._confirmed.put(mid)

    def _await(self, mid: int | None, what: str) -> None:
        try:
            while self._confirmed.get(timeout=self.timeout) != mid:
                pass
        except queue.Empty:
            raise BrokerError(
                _("The broker did not confirm {what} within {timeout} s.").format(
                    what=what, timeout=number(self.timeout)
                )
            ) from None

    def subscribe(self, *topics: str) -> None:
        """Subscribe with QoS 1 and await the SUBACK."""
        result, mid = self._paho.subscribe([(topic, 1) for topic in topics])
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerError(
                _("The connection ended before subscribing to {topic}.").format(topic=topics[0])
            )
        self._await(mid, _("the subscription to {topics}").format(topics=topics[0]))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and await the PUBACK."""
        info = self._paho.publish(topic, payload, qos=1, retain=retain)
        self._await(info.mid, _("a message on {topic}").format(topic=topic))

    def until(self, last: Delivered, timeout: float | None = None) -> tuple[list[Delivered], bool]:
        """What is delivered before a certain message, and whether that one comes in time.

        Args:
            timeout: seconds to wait for each message, if not as long as for answers.
        """
        before: list[Delivered] = []
        try:
            while (message := self.messages.get(timeout=timeout or self.timeout)) != last:
                before.append(message)
        except queue.Empty:
            return before, False
        return before, True

    def close(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    def __enter__(self) -> CheckClient:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@contextmanager
def temporary_identity(ca: Path, issued: Issued) -> Iterator[TlsFiles]:
    """The files of a certificate that is needed for moments only; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="desalink-") as name:  # mode 0700
        directory = Path(name)
        files = TlsFiles(ca, directory / "client.crt", directory / "client.key")
        write_private(files.certificate, issued.certificate_pem)
        write_private(files.key, issued.key_pem)
        yield files
