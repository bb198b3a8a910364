"""Proof of the broker's rules by delivery.

Mosquitto confirms a forbidden publish like any other (PUBACK) and grants a forbidden subscription
(SUBACK). Both answers prove nothing; only what arrives counts. "Not delivered" is proved without
waiting: the same connection sends an allowed message after the forbidden one, and the broker keeps
the order. When only the allowed message has arrived, the forbidden one never will.

The check retains no message and uses clean sessions, so nothing remains of it. It has its own
names, so it takes over no other session.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from host_tools.broker.acl import DEVICE_TOPICS, PROVINCE_TOPICS, check_identity, render_acl
from host_tools.broker.client import AccessRefused, CheckClient, Delivered, temporary_identity
from host_tools.broker.config import broker_files
from host_tools.broker.process import request_reload
from host_tools.broker.revocation import PROBE_LIFE, is_refused, reload_until_refused, write_crl
from host_tools.common.errors import BrokerError
from host_tools.common.i18n import _
from host_tools.keys.ca import Authority, common_name, load_certificate
from host_tools.province.registry import Registry
from host_tools.province.settings import CHECK_SLOTS, CHECK_VILLAGE, Province, TlsFiles

_REVOKED_SLOT = f"{CHECK_VILLAGE}-3"


@dataclass(frozen=True)
class RuleResult:
    """One rule and whether it holds; `held` is None where it was not tried."""

    rule: str
    held: bool | None
    detail: str = ""


class RuleBroken(Exception):
    """A rule that does not hold; the text says how that was seen."""


def _payload() -> bytes:
    return b"desalink broker check " + secrets.token_hex(8).encode()


class Check:
    """The rules of one province's running broker."""

    def __init__(
        self,
        province: Province,
        registry: Registry,
        *,
        port: int | None = None,
        authority: Authority | None = None,
        timeout: float | None = None,
    ) -> None:
        """
        Args:
            authority: the opened CA; without it the rules about revocation are not tried.
            timeout: seconds to wait for each message that must arrive.
        """
        self._province = province
        self._registry = registry
        self._port = port or province.broker.port
        self._authority = authority
        self._timeout = timeout
        self._regencies = list(registry.regencies())

    def _connect(
        self, identity: TlsFiles | None, *, name: str = "", ca: Path | None = None
    ) -> CheckClient:
        host = self._province.broker.local_host
        return CheckClient(host, self._port, identity, ca=ca, name=name)

    def _device(self, index: int = 0, name: str = "") -> CheckClient:
        # It asks for its name as a client id, as a device does.
        slot = CHECK_SLOTS[index]
        return self._connect(self._province.service(slot), name=name or slot)

    def _service(self, name: str) -> CheckClient:
        name = check_identity(name)
        return self._connect(self._province.service(name), name=name)

    def _topic(self, leaf: str, index: int = 0, regency: str | None = None) -> str:
        return f"desa/1/{regency or self._regencies[0]}/{CHECK_SLOTS[index]}/{leaf}"

    def _device_topics(self, index: int) -> list[str]:
        """All that a slot may write, under each regency: the ACL has a line for each."""
        regencies, leaves = self._regencies, DEVICE_TOPICS
        return [self._topic(leaf, index, regency) for regency in regencies for leaf in leaves]

    def _must_arrive(
        self, sender: CheckClient, receiver: CheckClient, topics: Sequence[str]
    ) -> None:
        for topic in topics:
            message = Delivered(topic, _payload())
            sender.publish(message.topic, message.payload)
            if not receiver.until(message, self._timeout)[1]:
                raise RuleBroken(_("a message on {topic} did not arrive").format(topic=topic))

    def _nothing_of(
        self, payload: bytes, receiver: CheckClient, sender: CheckClient, marker: str
    ) -> None:
        """The receiver gets no message with this payload, and gets the marker that is sent last.

        The publisher has its PUBACKs, so the broker has handled the payload before the marker.
        """
        last = Delivered(marker, _payload())
        sender.publish(last.topic, last.payload)
        before, found = receiver.until(last, self._timeout)
        delivered = sorted({message.topic for message in before if message.payload == payload})
        if delivered:
            raise RuleBroken(_("delivered: {topics}").format(topics=", ".join(delivered)))
        if not found:
            raise RuleBroken(
                _("an allowed message on {marker} did not arrive, so nothing is proved").format(
                    marker=marker
                )
            )

    @staticmethod
    def _publish(sender: CheckClient, topics: Iterable[str]) -> bytes:
        """Publish one payload on many topics; returns it."""
        payload = _payload()
        for topic in topics:
            sender.publish(topic, payload)
        return payload

    def _files_as_generated(self) -> None:
        files = broker_files(self._province)
        try:
            found = files.acl.read_text()
        except FileNotFoundError:
            raise RuleBroken(_("there is no ACL file; run 'desalink broker config'")) from None
        if found != render_acl(self._regencies):
            raise RuleBroken(
                _("{acl} was changed; run 'desalink broker config', then reload").format(
                    acl=files.acl
                )
            )

    def _own_publish(self) -> None:
        with self._service("ingest") as ingest, self._device() as device:
            ingest.subscribe(*(f"desa/1/+/+/{leaf}" for leaf in DEVICE_TOPICS))
            self._must_arrive(device, ingest, self._device_topics(0))

    def _forbidden_publish(self, topics: Iterable[str]) -> None:
        with self._service("ingest") as ingest, self._device() as device:
            ingest.subscribe("desa/1/#")
            payload = self._publish(device, topics)
            self._nothing_of(payload, ingest, device, self._topic("report"))

    def _foreign_subscribe(self) -> None:
        """A slot that subscribes to everything receives nothing of other slots."""
        with (
            self._device(0) as other,
            self._device(1) as listener,
            self._service("ingest") as ingest,
            self._service("operator") as operator,
        ):
            topics = [self._topic(leaf) for leaf in (*DEVICE_TOPICS, *PROVINCE_TOPICS)]
            listener.subscribe("#", "desa/1/+/+/+", *topics)
            for sender, leaves in (
                (other, DEVICE_TOPICS),
                (ingest, ("ack",)),
                (operator, ("command", "certificate")),
            ):
                payload = self._publish(sender, (self._topic(leaf) for leaf in leaves))
                self._nothing_of(payload, listener, ingest, self._topic("ack", 1))

    def _told_by_province(self) -> None:
        with (
            self._device() as device,
            self._service("ingest") as ingest,
            self._service("operator") as operator,
        ):
            own = [self._topic(leaf) for leaf in PROVINCE_TOPICS]
            device.subscribe(*own, "desa/1/release/#")
            operator.subscribe("desa/1/+/+/reply")
            self._must_arrive(ingest, device, [self._topic("ack")])
            # Not `trust`: every device of the province would receive it and have to refuse it.
            orders = [self._topic("command"), self._topic("certificate"), self._release()]
            self._must_arrive(operator, device, orders)
            self._must_arrive(device, operator, [self._topic("reply")])

    @staticmethod
    def _release() -> str:
        return f"desa/1/release/check/{secrets.token_hex(4)}"

    def _written_by_slot(self, index: int) -> None:
        """A slot can't publish as the province: to itself (0) or to another slot (1)."""
        with (
            self._device(0) as sender,
            self._device(1) as other,
            self._service("ingest") as ingest,
        ):
            receiver = sender if index == 0 else other
            own = [self._topic(leaf, index) for leaf in PROVINCE_TOPICS]
            receiver.subscribe(*own, "desa/1/trust", "desa/1/release/#")
            payload = self._publish(sender, (*own, "desa/1/trust", self._release()))
            self._nothing_of(payload, receiver, ingest, self._topic("ack", index))

    def _services_apart(self) -> None:
        """The ingest commands nothing, the operator acknowledges nothing, neither is a slot."""
        with (
            self._device() as device,
            self._service("ingest") as ingest,
            self._service("operator") as operator,
        ):
            own = [self._topic(leaf) for leaf in PROVINCE_TOPICS]
            device.subscribe(*own, "desa/1/trust", "desa/1/release/#")
            commands = (self._topic("command"), self._topic("certificate"))
            payload = self._publish(ingest, (*commands, "desa/1/trust", self._release()))
            self._nothing_of(payload, device, ingest, self._topic("ack"))
            payload = self._publish(operator, (self._topic("ack"),))
            self._nothing_of(payload, device, operator, self._topic("command"))
            ingest.subscribe(*(f"desa/1/+/+/{leaf}" for leaf in DEVICE_TOPICS))
            for sender in (ingest, operator):
                payload = self._publish(sender, self._device_topics(0))
                self._nothing_of(payload, ingest, device, self._topic("report"))

    def _client_id_is_name(self) -> None:
        """A client that asks for another's client id does not take its session."""
        with self._device(0) as victim, self._service("ingest") as ingest:
            victim.subscribe(self._topic("ack"))
            with self._device(1, name=CHECK_SLOTS[0]):
                self._must_arrive(ingest, victim, [self._topic("ack")])

    def _no_certificate(self, ca: Path | None, who: str) -> None:
        try:
            self._connect(None, ca=ca).close()
        except AccessRefused:
            return
        raise RuleBroken(_("{who} could connect").format(who=who))

    def _foreign_authority(self) -> None:
        # The same name as the real CA: only the signature differs.
        name = common_name(load_certificate(self._province.ca_certificate))
        foreign = Authority.generate(name)
        issued = foreign.issue_client(CHECK_SLOTS[0], PROBE_LIFE)
        with temporary_identity(self._province.ca_certificate, issued) as identity:
            if not is_refused(self._province, identity, self._port):
                raise RuleBroken(_("a certificate of another CA could connect"))

    def _revoked(self) -> None:
        assert self._authority is not None
        issued = self._authority.issue_client(_REVOKED_SLOT, PROBE_LIFE)
        with temporary_identity(self._province.ca_certificate, issued) as identity:
            if is_refused(self._province, identity, self._port):
                raise RuleBroken(
                    _("a certificate was refused before it was revoked, so nothing is proved")
                )
            write_crl(self._province, self._registry, self._authority, issued)
            if not request_reload(self._province):
                raise RuleBroken(
                    _("no broker of this province runs on this machine, so it can't be reloaded")
                )
            if not reload_until_refused(self._province, identity, self._port):
                raise RuleBroken(_("a revoked certificate could connect after the reload"))
            # Refused because of the list, and not because the broker is gone.
            self._device().close()

    def run(self) -> Iterator[RuleResult]:
        """Try each rule; yields as it goes.

        Raises:
            BrokerError: the broker does not run, or does not know the province's certificates.
        """
        try:
            self._device().close()
        except AccessRefused as error:
            raise BrokerError(
                _(
                    "The broker on {local_host}, port {port}, accepts no client ({error}); start "
                    "it with 'desalink broker run'."
                ).format(local_host=self._province.broker.local_host, port=self._port, error=error)
            ) from None
        rules: list[tuple[str, Callable[[], None]]] = [
            (_("the ACL is the generated one"), self._files_as_generated),
            (_("a slot's own messages reach the ingest"), self._own_publish),
            (
                _("a slot can't publish as another slot"),
                lambda: self._forbidden_publish(self._device_topics(1)),
            ),
            (
                _("a slot can't publish under a made-up regency"),
                lambda: self._forbidden_publish(
                    self._topic(leaf, regency="0000") for leaf in DEVICE_TOPICS
                ),
            ),
            (_("a slot receives nothing of other slots"), self._foreign_subscribe),
            (
                _("ack, command and release reach their slot, replies the operator"),
                self._told_by_province,
            ),
            (
                _("a slot can't write its own ack or command, trust or release"),
                lambda: self._written_by_slot(0),
            ),
            (
                _("a slot can't write another's ack or command, trust or release"),
                lambda: self._written_by_slot(1),
            ),
            (_("ingest and operator can't do each other's work"), self._services_apart),
            (_("nobody takes another's session by its client id"), self._client_id_is_name),
            (
                _("a client without a certificate is refused"),
                lambda: self._no_certificate(
                    self._province.ca_certificate, _("a client without a certificate")
                ),
            ),
            (_("a certificate of another CA is refused"), self._foreign_authority),
            (
                _("plain text is refused"),
                lambda: self._no_certificate(None, _("a client without TLS")),
            ),
        ]
        for rule, prove in rules:
            yield self._tried(rule, prove)
        rule = _("a revoked certificate is refused after a reload")
        if self._authority is None:
            yield RuleResult(rule, None, _("not tried: it needs the passphrase of the CA's key"))
        else:
            yield self._tried(rule, self._revoked)

    @staticmethod
    def _tried(rule: str, prove: Callable[[], None]) -> RuleResult:
        try:
            prove()
        except RuleBroken as failure:
            return RuleResult(rule, False, str(failure))
        except BrokerError as error:
            return RuleResult(rule, False, _("the broker failed: {error}").format(error=error))
        return RuleResult(rule, True)
