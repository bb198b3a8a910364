"""The agent's MQTT client against a real Mosquitto, on both interpreters."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from tests.agent.net.mqtt_lab import (
    INTERPRETERS,
    Authority,
    Device,
    Proxy,
    broker_lines,
    packet_id,
    run,
)

pytestmark = pytest.mark.parametrize("interpreter", INTERPRETERS)


class Province:
    """A broker with mutual TLS, and options for devices that may or may not connect to it."""

    def __init__(self, folder: Path, broker: support.Broker, authority: Authority):
        self.broker = broker
        self._ca = str(authority.path)
        self._cert = authority.issue("6403112001-1")
        self.expired = authority.issue("6403112001-1", days=-1)
        self.stranger = Authority(folder, "stranger")

    def options(
        self,
        ca: str = "",
        cert: tuple[str, str] | None = None,
        server_hostname: str = "broker.test",
        **more: object,
    ) -> dict[str, object]:
        tls = [ca or self._ca, *(cert or self._cert)]
        return {"port": self.broker.port, "tls": tls, "server_hostname": server_hostname, **more}


@pytest.fixture
def province(tmp_path: Path) -> Iterator[Province]:
    authority = Authority(tmp_path)
    server = authority.issue("broker.test", ["broker.test"])
    with support.start_mosquitto(tmp_path, broker_lines(authority, server)) as broker:
        yield Province(tmp_path, broker, authority)


def test_messages_go_and_come_over_mutual_tls(interpreter: str, province: Province) -> None:
    said = dict(run(interpreter, "round_trip", **province.options()))
    assert said["got"] == [
        ["test/fast", 4, "fast", False],
        ["test/kept", 4, "kept", False],
        ["test/long", 2000, "long", False],
    ]
    assert said["reason"] == "this client closed the connection"
    assert said["kept"] == [["test/kept", 4, "kept", True]]


@pytest.mark.parametrize("fault", ["name", "authority", "stranger", "expired"])
def test_a_refused_certificate_is_told_from_other_failures(
    interpreter: str, province: Province, fault: str
) -> None:
    options = {
        "name": lambda: province.options(server_hostname="other.test"),
        "authority": lambda: province.options(ca=str(province.stranger.path)),
        "stranger": lambda: province.options(cert=province.stranger.issue("6403112001-1")),
        "expired": lambda: province.options(cert=province.expired),
    }[fault]()
    ((what, (stage, reason, _)),) = run(interpreter, "connect", **options)
    assert (what, stage) == ("failed", "tls"), reason
    if fault == "name":
        assert "match" in reason or "valid for" in reason
    if fault == "authority":
        assert "CA" in reason or "certificate" in reason


def test_the_will_is_published_when_the_agent_is_killed(
    interpreter: str, province: Province
) -> None:
    with Device("cpython", "watch", **province.options(id="watcher")) as watcher:
        watcher.expect("watching")
        with Device(interpreter, "with_will", **province.options()) as device:
            assert watcher.expect("message") == ["test/state", "online", False]
            os.kill(device.process.pid, signal.SIGKILL)
            assert watcher.expect("message") == ["test/state", "offline", False]
        with Device(interpreter, "with_will", **province.options(leave=True)) as device:
            assert watcher.expect("message") == ["test/state", "online", False]
            device.finish()
        # Had the will been published, it would have come before this.
        with Device("cpython", "with_will", **province.options(id="6403112001-2", leave=True)):
            assert watcher.expect("message") == ["test/state", "online", False]


def test_a_refused_subscription_raises_and_the_connection_goes_on(
    interpreter: str, tmp_path: Path
) -> None:
    (tmp_path / "acl").write_text("topic readwrite test/ok\n")
    with support.start_mosquitto(tmp_path, [f"acl_file {tmp_path / 'acl'}"]) as broker:
        said = dict(run(interpreter, "refused_subscription", port=broker.port))
    # Mosquitto 2.0 grants forbidden filters (2.1 refuses them): then there is nothing to raise.
    assert "failed" not in said or said["failed"][0] == "session"
    assert said["still"] is True


def test_unacknowledged_messages_are_repeated_when_the_session_is_present(
    interpreter: str, tmp_path: Path
) -> None:
    with support.start_mosquitto(tmp_path) as broker:
        proxy = Proxy(broker.port)
        with proxy.running() as port, Device(interpreter, "interrupted", port=port) as device:
            device.expect("sent")
            proxy.wait_for_publishes(3)
            proxy.cut()
            said = dict(device.finish())
    assert said["present"] is True
    assert said["results"] == ["acknowledged"] * 3
    assert said["in_flight"] == 0
    first = proxy.sent[0][1:4]
    assert [packet[0] for packet in first] == [0x32] * 3
    assert len({packet_id(packet) for packet in first}) == 3
    repeated = [bytes([packet[0] | 8]) + packet[1:] for packet in first]
    assert proxy.sent[1][1:4] == repeated


def test_messages_are_given_back_when_a_restarted_broker_has_forgotten_the_session(
    interpreter: str, tmp_path: Path
) -> None:
    with support.start_mosquitto(tmp_path) as broker:
        proxy = Proxy(broker.port)
        with proxy.running() as port, Device(interpreter, "interrupted", port=port) as device:
            device.expect("sent")
            proxy.wait_for_publishes(3)
            broker.kill9()
            assert device.expect("ended") == "the broker closed the connection"
            broker.start()
            said = dict(device.finish())
    assert said["present"] is False
    assert said["results"] == ["the broker has lost the session: send again"] * 3
    assert said["in_flight"] == 0


def test_a_broker_that_stops_answering_is_noticed(interpreter: str, tmp_path: Path) -> None:
    with support.start_mosquitto(tmp_path) as broker:
        options = {"port": broker.port, "keepalive_s": 1, "ack_timeout_s": 1}
        with Device(interpreter, "silent_broker", **options) as device:
            device.expect("connected")
            os.kill(broker.pid, signal.SIGSTOP)
            with contextlib.ExitStack() as stack:
                stack.callback(os.kill, broker.pid, signal.SIGCONT)
                assert str(device.expect("ended")).startswith("no PINGRESP from the broker in 1 s")


def test_cancelling_at_any_moment_leaves_nothing_behind(
    interpreter: str, province: Province
) -> None:
    said = dict(run(interpreter, "cancelled", **province.options(turns=60)))
    assert said == {"files left": 0, "tasks left": 0, "unhandled": []}


def test_the_client_works_in_a_small_heap(interpreter: str, province: Province) -> None:
    with Device(interpreter, "round_trip", heapsize="160k", **province.options()) as device:
        assert device.finish()
