"""Arrivals over MQTT: each slot connects to the running broker with a certificate of its own."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from host_tools.common.errors import BrokerError
from host_tools.common.files import make_directory, write_private
from host_tools.common.i18n import _
from host_tools.keys.ca import Authority
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.simulate.delivery import Arrival
from host_tools.simulate.province import PASSPHRASE

_CERTIFICATES = "simulated-certificates"
_LAST_S = 60  # for messages that are not confirmed at the end


class MqttStore:
    """Publishes what arrives, `pace` simulated seconds in a second."""

    def __init__(self, province: Province, pace: float, begin: int) -> None:
        self._province = province
        self._pace = pace
        self._begin = begin
        self._started = time.monotonic()
        self._clients: dict[str, mqtt.Client] = {}
        self._sent: list[mqtt.MQTTMessageInfo] = []
        self._folder = province.directory / _CERTIFICATES
        make_directory(self._folder)

    def prepare(self, slots: Sequence[str]) -> None:
        """Issue the certificates that are missing: before the time begins to run."""
        missing = [slot for slot in slots if not self._certificate(slot).exists()]
        if missing:
            authority = Authority.load(
                self._province.ca_key, self._province.ca_certificate, PASSPHRASE
            )
            with Registry.open(self._province.directory) as registry, registry.transaction():
                for slot in missing:
                    issued = authority.issue_client(slot)
                    registry.record_certificate(issued.serial, slot, issued.not_after)
                    write_private(self._certificate(slot), issued.key_pem + issued.certificate_pem)
        self._started = time.monotonic()

    def store(self, at: int, arrivals: Sequence[Arrival]) -> None:
        """Publish what arrives at one moment, when its time has come.

        Raises:
            BrokerError: the broker does not answer.
        """
        wait = self._started + (at - self._begin) / self._pace - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._sent = [info for info in self._sent if not info.is_published()]
        for arrival in arrivals:
            client = self._clients.get(arrival.slot) or self._connect(arrival.slot)
            retain = arrival.filed is None
            self._sent.append(client.publish(arrival.topic, arrival.message, 1, retain))

    def _certificate(self, slot: str) -> Path:
        return self._folder / f"{slot}.pem"

    def _connect(self, slot: str) -> mqtt.Client:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._province.ca_certificate)
        context.load_cert_chain(self._certificate(slot))
        client = mqtt.Client(CallbackAPIVersion.VERSION2, slot)
        client.tls_set_context(context)
        broker = self._province.broker
        try:
            client.connect(broker.local_host, broker.port, 400)
        except OSError as error:
            raise BrokerError(
                _(
                    "The broker at {local_host}:{port} does not answer ({error}); start it with "
                    "'desalink -C {directory} broker run'."
                ).format(
                    local_host=broker.local_host,
                    port=broker.port,
                    error=error,
                    directory=self._province.directory,
                )
            ) from None
        client.loop_start()
        self._clients[slot] = client
        return client

    def close(self) -> None:
        """Wait until the broker has confirmed everything, and end each connection.

        Raises:
            BrokerError: the broker has not confirmed all of it.
        """
        end = time.monotonic() + _LAST_S
        for info in self._sent:
            if not info.is_published():
                info.wait_for_publish(max(0.1, end - time.monotonic()))
        left = sum(not info.is_published() for info in self._sent)
        for client in self._clients.values():
            client.disconnect()
            client.loop_stop()
        if left:
            raise BrokerError(
                _(
                    "The broker has not confirmed {left} messages; see its log, and try again."
                ).format(left=left)
            )
