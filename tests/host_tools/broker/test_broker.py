"""The broker: its configuration on a real Mosquitto, its process, and revocation."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from host_tools.broker import process, upkeep
from host_tools.broker.client import AccessRefused, CheckClient, Delivered
from host_tools.broker.config import broker_files, configured_port, write_config
from host_tools.broker.process import BrokerProcess, find_mosquitto, request_reload, running_pid
from host_tools.broker.revocation import is_refused
from host_tools.common.errors import BrokerError
from host_tools.common.files import write_private
from host_tools.keys import ca
from host_tools.keys.ca import Authority
from host_tools.province.registry import Registry
from host_tools.province.settings import Province, TlsFiles, load
from tests.host_tools.conftest import Run, running_broker
from tests.support import PATIENCE_S, ROOT, free_port
from tests.world.evidencing import signing_registry

SLOT = "6403112001-1"


def settings(province: Province) -> dict[str, str]:
    lines = broker_files(province).config.read_text().splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def identity_for(province: Province, authority: Authority, name: str, place: Path) -> TlsFiles:
    """A certificate on record, as enrolment issues it."""
    issued = authority.issue_client(name)
    with signing_registry(province) as registry:
        registry.record_certificate(issued.serial, name, issued.not_after)
    files = TlsFiles(province.ca_certificate, place / f"{name}.crt", place / f"{name}.key")
    write_private(files.certificate, issued.certificate_pem)
    write_private(files.key, issued.key_pem)
    return files


def test_config_writes_what_the_broker_needs(desalink: Run, kaltim: Province):
    ended = desalink("-C", kaltim.directory, "broker", "config", "--port", "9999")
    assert (ended.code, ended.err) == (0, "")
    files = broker_files(kaltim)
    assert ended.out == f"Written: {files.config} and {files.acl}.\n"
    found = settings(kaltim)
    assert found["listener"] == "9999 127.0.0.1"
    assert configured_port(kaltim) == 9999
    assert list(found).count("listener") == 1
    expected = {
        "allow_anonymous": "false",
        "require_certificate": "true",
        "use_identity_as_username": "true",
        "use_username_as_clientid": "true",
        "tls_version": "tlsv1.2",
        "crlfile": str(kaltim.crl),
        "acl_file": str(files.acl),
        "persistence": "true",
        "max_queued_messages": "242208",
        "max_inflight_messages": "1000",
    }
    assert {key: found[key] for key in expected} == expected
    assert 0 < int(found["max_queued_bytes"]) <= 256 * 1024 * 1024
    assert 32 * 1024 < int(found["max_packet_size"]) < 40 * 1024
    assert int(found["max_connections"]) > 2 * 841
    # A session that expires costs a device what waits for it.
    assert "persistent_client_expiration" not in found
    assert (
        oct(files.config.stat().st_mode & 0o777)
        == oct(files.acl.stat().st_mode & 0o777)
        == "0o600"
    )


def test_the_acl_names_each_regency_that_has_villages(kaltim: Province):
    acl = broker_files(kaltim).acl.read_text()
    written = set(re.findall(r"pattern write desa/1/(\S+)/%u/report", acl))
    assert written == {"6401", "6402", "6403", "6407", "6408", "6409", "6411"}
    assert "pattern write desa/1/+" not in acl and "pattern readwrite" not in acl


def test_new_hosts_in_province_toml_need_a_new_certificate(
    desalink: Run, kaltim: Province, monkeypatch: pytest.MonkeyPatch
):
    path = kaltim.directory / "province.toml"
    path.write_text(
        path.read_text().replace('["localhost"]', '["broker.example.go.id", "10.1.2.3"]')
    )
    ended = desalink("-C", kaltim.directory, "broker", "run")
    assert ended.code == 1
    assert ended.err == (
        "desalink: No device could connect: the broker's certificate does not name 10.1.2.3, "
        "broker.example.go.id of province.toml; renew it with 'desalink broker config'.\n"
    )
    ended = desalink("-C", kaltim.directory, "broker", "config")
    assert ended.code == 0
    names = ca.server_names(ca.load_certificate(kaltim.server_certificate))
    assert names == {"localhost", "127.0.0.1", "::1", "broker.example.go.id", "10.1.2.3"}
    monkeypatch.delenv("DESALINK_PASSPHRASE")
    assert desalink("-C", kaltim.directory, "broker", "config").code == 0


def test_the_end_of_a_revocation_list_is_reported_long_before(
    kaltim: Province, registry: Registry, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    assert not upkeep.inspect(kaltim, registry)
    monkeypatch.setattr(ca, "CRL_LIFE", timedelta(days=100))
    kaltim.crl.write_bytes(authority.crl_pem([]))
    (sentence,) = upkeep.inspect(kaltim, registry).due
    assert sentence.startswith("the revocation list ends on 20")
    monkeypatch.setattr(ca, "CRL_LIFE", timedelta(seconds=-1))
    kaltim.crl.write_bytes(authority.crl_pem([]))
    (sentence,) = upkeep.inspect(kaltim, registry).broken
    assert sentence.startswith("the revocation list ended on 20")
    monkeypatch.undo()
    upkeep.renew(kaltim, registry, authority)
    assert not upkeep.inspect(kaltim, registry)
    # A command was interrupted between the registry and the list.
    registry.record_certificate("abc123", SLOT, 2_000_000_000)
    registry.revoke_certificates(SLOT)
    assert upkeep.inspect(kaltim, registry).due == [
        "1 revoked certificates are not in the revocation list yet"
    ]


class Running:
    """`desalink broker run` as a person starts it."""

    def __init__(self, province: Province) -> None:
        self.child = subprocess.Popen(
            [
                sys.executable, "-c", "from host_tools.cli import main; main()",
                "-C", str(province.directory), "broker", "run",
            ],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "DESALINK_PASSPHRASE": "not for the broker"},
        )  # fmt: skip
        self.said: list[str] = []
        self.until("Ctrl-C ends it")

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def until(self, text: str) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self.said.append(line)
            if text in line:
                return
        raise AssertionError("".join(self.said))

    def end(self, number: int) -> int:
        self.child.send_signal(number)
        assert self.child.stderr is not None
        self.said += self.child.stderr.readlines()
        self.child.stderr.close()
        return self.child.wait(PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_passes_a_hangup_on_and_saves_its_sessions_at_its_end(kaltim: Province, number: int):
    with Running(kaltim) as running:
        pid = running_pid(broker_files(kaltim))
        assert pid is not None
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"not for the broker" not in environment
        running.child.send_signal(signal.SIGHUP)
        running.until("Reloading config")
        assert running.end(number) == 0
    assert any("terminating" in line for line in running.said)
    assert running_pid(broker_files(kaltim)) is None
    assert (broker_files(kaltim).data / "mosquitto.db").exists()
    assert "Traceback" not in "".join(running.said)


def test_a_broker_that_cannot_read_what_it_saved_begins_anew(kaltim: Province):
    saved = broker_files(kaltim).data / "mosquitto.db"
    with Running(kaltim) as running:
        running.end(signal.SIGTERM)
    whole = saved.read_bytes()
    damaged = whole[: len(whole) // 2] + bytes(len(whole) // 2)
    for content in (damaged[::-1], b"not a database of Mosquitto's"):
        saved.write_bytes(content)
        with Running(kaltim) as running:
            assert "has started with an empty" in "".join(running.said)
            assert running.end(signal.SIGTERM) == 0
        assert saved.with_name("mosquitto.db.damaged").read_bytes() == content
        assert saved.exists()


def test_a_wrong_setting_of_ones_own_ends_it_and_what_it_saved_stays(
    desalink: Run, kaltim: Province
):
    with Running(kaltim) as running:
        running.end(signal.SIGTERM)
    saved = broker_files(kaltim).data / "mosquitto.db"
    before = saved.read_bytes()
    (broker_files(kaltim).local / "own.conf").write_text("no_such_setting true\n")
    ended = desalink("-C", kaltim.directory, "broker", "run")
    assert ended.code == 1 and "ended at once" in ended.err
    assert saved.read_bytes() == before
    assert not saved.with_name("mosquitto.db.damaged").exists()


def test_a_killed_run_leaves_no_broker_behind(kaltim: Province):
    with Running(kaltim) as running:
        running.end(signal.SIGKILL)  # reads until the broker, too, has closed its end of the pipe
    assert running_pid(broker_files(kaltim)) is None
    process.check_port_is_free("127.0.0.1", kaltim.broker.port)


def test_a_taken_port_and_a_second_broker_are_reported(
    desalink: Run, kaltim: Province, broker: BrokerProcess
):
    ended = desalink("-C", kaltim.directory, "broker", "run")
    assert (ended.code, ended.err) == (
        1, f"desalink: The broker of this province runs already (process {broker.pid}).\n",
    )  # fmt: skip
    broker.stop(PATIENCE_S)
    # It allows for connections of the broker that are not quite closed.
    with socket.create_server(("127.0.0.1", kaltim.broker.port)):
        ended = desalink("-C", kaltim.directory, "broker", "run")
    assert (ended.code, ended.err) == (
        1,
        f"desalink: Another program listens on port {kaltim.broker.port} of 127.0.0.1; end it, or "
        "choose another port with --port or in province.toml.\n",
    )


def test_a_missing_or_old_mosquitto_is_reported(
    desalink: Run, kaltim: Province, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(process, "EXTRA_PATH", (str(tmp_path),))
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = desalink("-C", kaltim.directory, "broker", "run")
    assert ended.code == 1
    assert ended.err.startswith("desalink: Mosquitto is not installed; install it ('apt install")
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\necho mosquitto version 1.6.9\n")
    program.chmod(0o755)
    with pytest.raises(BrokerError, match="is version 1.6 and 2.0 is the oldest that can be used"):
        find_mosquitto()
    program.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(BrokerError, match="does not print its version"):
        find_mosquitto()


def test_a_pid_file_from_before_a_crash_hits_nobody(kaltim: Province):
    with subprocess.Popen(["sleep", "600"]) as other:
        broker_files(kaltim).pid.write_text(f"{other.pid}\n")
        assert running_pid(broker_files(kaltim)) is None
        assert not request_reload(kaltim)
        assert other.poll() is None
        other.kill()
    for text in ("", "x", "999999999"):
        broker_files(kaltim).pid.write_text(text)
        assert running_pid(broker_files(kaltim)) is None


def test_a_packet_over_the_limit_ends_the_connection(kaltim: Province, broker: BrokerProcess):
    topic = "desa/1/6403/0000000000-1/report"
    with CheckClient("localhost", broker.port, kaltim.service("0000000000-1")) as device:
        device.publish(topic, bytes(32 * 1024))
        with pytest.raises(BrokerError, match="did not confirm"):
            device.timeout = 1
            device.publish(topic, bytes(40 * 1024))


def test_an_absent_ingest_finds_what_waited_for_it(kaltim: Province, broker: BrokerProcess):
    done = threading.Event()
    received: list[int] = []
    count = 1500  # more than Mosquitto keeps by default

    def on_message(client: object, data: object, message: mqtt.MQTTMessage) -> None:
        received.append(int(message.payload))
        if len(received) == count:
            done.set()

    def run_ingest(*, subscribe: bool) -> None:
        files = kaltim.service("check-ingest")
        client = mqtt.Client(CallbackAPIVersion.VERSION2, "x", clean_session=False)
        client.tls_set(str(files.ca), str(files.certificate), str(files.key))
        client.on_message = on_message
        client.on_subscribe = lambda *_: done.set()
        if subscribe:
            client.on_connect = lambda client, *_: client.subscribe("desa/1/+/+/report", 1)
        client.connect("localhost", broker.port)
        client.loop_start()
        assert done.wait(PATIENCE_S)
        client.disconnect()
        client.loop_stop()
        done.clear()

    run_ingest(subscribe=True)
    with CheckClient("localhost", broker.port, kaltim.service("0000000000-1")) as device:
        for number in range(count):
            device.publish("desa/1/6403/0000000000-1/report", str(number).encode())
    broker.stop(PATIENCE_S)
    broker.start(841, stderr=subprocess.DEVNULL)
    broker.wait_ready(PATIENCE_S)
    run_ingest(subscribe=False)
    assert received == list(range(count))


def enrolled(province: Province, slot: str = SLOT) -> str:
    with signing_registry(province) as registry:
        device, _ = registry.enrol(slot, b"\1" * 32, board="linux", firmware="0.1.0", by="ani")
    return device.kid.hex()


def test_without_a_running_broker_the_revocation_waits_in_the_list(
    desalink: Run, kaltim: Province, authority: Authority, tmp_path: Path
):
    enrolled(kaltim)
    identity = identity_for(kaltim, authority, SLOT, tmp_path)
    ended = desalink("-C", kaltim.directory, "devices", "revoke", SLOT)
    assert ended.code == 0
    assert "takes effect when one starts" in ended.err
    with running_broker(kaltim) as started:
        assert is_refused(kaltim, identity, started.port)


def test_a_wrong_passphrase_revokes_nothing(
    desalink: Run, kaltim: Province, monkeypatch: pytest.MonkeyPatch
):
    enrolled(kaltim)
    monkeypatch.setenv("DESALINK_PASSPHRASE", "not the passphrase")
    assert desalink("-C", kaltim.directory, "devices", "revoke", SLOT).code == 1
    with signing_registry(kaltim) as registry:
        assert len(registry.active_devices()) == 1


def test_devices_are_listed_and_shown(desalink: Run, kaltim: Province):
    assert "No device is enrolled" in desalink("-C", kaltim.directory, "devices", "list").err
    kid = enrolled(kaltim)
    lines = desalink("-C", kaltim.directory, "devices", "list").out.splitlines()
    assert lines[0].split("\t")[:4] == ["slot", "village", "device", "board"]
    assert lines[1].split("\t")[:4] == [SLOT, "Bohe Silian", kid, "linux"]
    assert lines[1].endswith("active") and " WITA\t" in lines[1]
    assert (
        json.loads(desalink("-C", kaltim.directory, "devices", "list", "--json").out)[0]["device"]
        == kid
    )
    assert f"device:      {kid}\n" in desalink("-C", kaltim.directory, "devices", "show", kid).out
    ended = desalink("-C", kaltim.directory, "devices", "show", "6403112002-1")
    assert ended.code == 1
    assert ended.err.startswith("desalink: There is no device '6403112002-1'; give a slot such as")


def test_a_moved_province_runs_where_it_is_now(kaltim: Province, tmp_path: Path):
    moved = kaltim.directory.rename(tmp_path / "elsewhere")
    province = load(moved)
    write_config(province)
    with (
        running_broker(province) as started,
        CheckClient("localhost", started.port, province.service("check-ingest")) as ingest,
        CheckClient("localhost", started.port, province.service("0000000000-1")) as device,
    ):
        ingest.subscribe("desa/1/+/+/report")
        message = Delivered("desa/1/6403/0000000000-1/report", b"hello")
        device.publish(message.topic, message.payload)
        assert ingest.until(message) == ([], True)


def test_nothing_answers_on_a_port_without_a_broker(kaltim: Province):
    with pytest.raises(AccessRefused):
        CheckClient("localhost", free_port(), kaltim.service("ingest"))
