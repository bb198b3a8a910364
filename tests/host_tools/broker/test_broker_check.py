"""`desalink broker check` finds what is wrong with a running broker, and disturbs nobody."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from host_tools.broker.check import Check, RuleResult
from host_tools.broker.client import CheckClient, Delivered
from host_tools.broker.config import broker_files
from host_tools.broker.process import BrokerProcess
from host_tools.common.errors import BrokerError
from host_tools.keys.ca import Authority
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from tests.host_tools.conftest import Run

RULES = 14


@contextmanager
def running(province: Province) -> Iterator[BrokerProcess]:
    """The broker with the files as they are now."""
    process = BrokerProcess(province)
    process.start(841, stderr=subprocess.DEVNULL)
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


def results(
    province: Province, authority: Authority | None = None, timeout: float = 2
) -> list[RuleResult]:
    with Registry.open(province.directory) as registry:
        check = Check(province, registry, authority=authority, timeout=timeout)
        return list(check.run())


def test_all_rules_hold_on_the_generated_configuration(
    desalink: Run, kaltim: Province, broker: BrokerProcess
):
    ended = desalink("-C", kaltim.directory, "broker", "check")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert lines[0] == ["rule", "result", "detail"]
    assert [line[1] for line in lines[1:]] == ["holds"] * RULES


def test_without_the_passphrase_one_rule_is_skipped_with_a_sentence(
    desalink: Run,
    kaltim: Province,
    broker: BrokerProcess,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("DESALINK_PASSPHRASE")
    ended = desalink("-C", kaltim.directory, "broker", "check")
    assert ended.code == 0
    lines = [line.split("\t") for line in ended.out.splitlines()[1:]]
    assert [line[1] for line in lines] == ["holds"] * (RULES - 1) + ["skipped"]
    assert lines[-1] == [
        "a revoked certificate is refused after a reload",
        "skipped",
        "not tried: it needs the passphrase of the CA's key",
    ]


def test_without_a_broker_it_says_how_to_start_one(desalink: Run, kaltim: Province):
    ended = desalink("-C", kaltim.directory, "broker", "check")
    assert ended.code == 1
    assert ended.err.startswith(
        f"desalink: The broker on 127.0.0.1, port {kaltim.broker.port}, lets nobody in ("
    )
    assert ended.err.endswith("start it with 'desalink broker run'.\n")


def test_the_check_leaves_nothing_behind_and_disturbs_nobody(
    kaltim: Province, authority: Authority, broker: BrokerProcess
):
    ingest = CheckClient("localhost", broker.port, kaltim.service("ingest"))
    operator = CheckClient("localhost", broker.port, kaltim.service("operator"))
    ingest.subscribe("desa/1/+/+/report")
    assert all(result.held for result in results(kaltim, authority))
    # Both still have their connections, and nothing that is retained or queued comes up later.
    last = Delivered("desa/1/6403/0000000000-1/report", b"still there")
    with CheckClient("localhost", broker.port, kaltim.service("0000000000-1")) as device:
        device.publish(last.topic, last.payload)
    assert ingest.until(last)[1]
    operator.publish("desa/1/6403/0000000000-1/command", b"x")
    ingest.close()
    operator.close()
    with (
        CheckClient("localhost", broker.port, kaltim.service("check-ingest")) as late,
        CheckClient("localhost", broker.port, kaltim.service("0000000000-1")) as device,
    ):
        late.subscribe("desa/#")
        device.subscribe("desa/#")
        device.publish(last.topic, last.payload)
        assert late.until(last) == ([], True)
        late.publish("desa/1/6403/0000000000-1/ack", b"y")
        assert device.until(Delivered("desa/1/6403/0000000000-1/ack", b"y")) == ([], True)


def append(*lines: str) -> Callable[[str], str]:
    return lambda text: text + "".join(f"{line}\n" for line in lines)


def drop(line: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert f"\n{line}\n" in text
        return text.replace(f"\n{line}\n", "\n")

    return change


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def only(*rules: str) -> set[str]:
    return {"the ACL is the generated one", *rules}


@pytest.mark.parametrize(
    ("sabotage", "broken"),
    [
        (
            append("pattern write desa/1/6409/+/report"),
            only(
                "a slot can't publish as another slot",
                "ingest and operator can't do each other's work",
            ),
        ),
        (
            append("pattern write desa/1/+/%u/state"),
            only("a slot can't publish under a made-up regency"),
        ),
        (append("pattern read desa/1/+/+/birth"), only("a slot receives nothing of other slots")),
        (append("pattern read desa/1/+/+/ack"), only("a slot receives nothing of other slots")),
        (
            append("pattern write desa/1/+/%u/ack"),
            only("a slot can't write its own ack or command, trust or release"),
        ),
        (
            append("pattern write desa/1/trust"),
            only(
                "a slot can't write its own ack or command, trust or release",
                "a slot can't write another's ack or command, trust or release",
                "ingest and operator can't do each other's work",
            ),
        ),
        (
            swap("user check-ingest\n", "user check-ingest\ntopic write desa/1/+/+/command\n"),
            only("ingest and operator can't do each other's work"),
        ),
        (
            swap("user check-operator\n", "user check-operator\ntopic write desa/1/+/+/reply\n"),
            only("ingest and operator can't do each other's work"),
        ),
        (swap("user ingest\n", "user ingest\ntopic write desa/#\n"), only()),
        (
            drop("pattern write desa/1/6411/%u/reply"),
            only("a slot's own messages reach the ingest"),
        ),
        (
            drop("pattern read desa/1/release/#"),
            only("ack, command and release reach their slot, replies the operator"),
        ),
    ],
)  # fmt: skip
def test_a_wrong_acl_is_found(kaltim: Province, sabotage: Callable[[str], str], broken: set[str]):
    acl = broker_files(kaltim).acl
    acl.write_text(sabotage(acl.read_text()))
    with running(kaltim):
        found = {result.rule for result in results(kaltim) if result.held is False}
    # An overlapping rule may well break others, too; these must be among them.
    assert broken <= found
    assert len(found) < RULES - 4


@pytest.mark.parametrize(
    ("sabotage", "rule"),
    [
        (
            swap("use_username_as_clientid true", "use_username_as_clientid false"),
            "nobody takes another's session by its client id",
        ),
        (
            swap("\ncrlfile ", "\n#crlfile "),
            "a revoked certificate is refused after a reload",
        ),
        (
            lambda text: (
                text.replace("require_certificate true", "require_certificate false")
                .replace("use_identity_as_username true", "use_identity_as_username false")
                .replace("use_username_as_clientid true", "use_username_as_clientid false")
                .replace("allow_anonymous false", "allow_anonymous true")
            ),
            "a client without a certificate is refused",
        ),
    ],
)
def test_a_wrong_configuration_is_found(
    kaltim: Province,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    sabotage: Callable[[str], str],
    rule: str,
):
    monkeypatch.setattr("host_tools.broker.revocation._RELOAD_TIMEOUT_S", 1.0)
    config = broker_files(kaltim).config
    config.write_text(sabotage(config.read_text()))
    with running(kaltim):
        tried = results(kaltim, authority, timeout=0.5)
    assert rule in {result.rule for result in tried if result.held is False}


def test_a_foreign_ca_that_the_broker_trusts_is_found(kaltim: Province, tmp_path_factory):
    # Same name as the province's own: only the signature could tell its certificates apart.
    foreign = Authority.generate("Desalink Kalimantan Timur 2000")
    trusted = tmp_path_factory.mktemp("ca") / "both.pem"
    trusted.write_bytes(kaltim.ca_certificate.read_bytes() + foreign.certificate_pem)
    config = broker_files(kaltim).config
    text = config.read_text().replace(f"cafile {kaltim.ca_certificate}", f"cafile {trusted}")
    # With the one CA's list, certificates of the other would be refused anyway.
    config.write_text(text.replace("\ncrlfile ", "\n#crlfile "))
    with running(kaltim), pytest.MonkeyPatch.context() as patched:
        patched.setattr(Authority, "generate", lambda name: foreign)
        found = {result.rule for result in results(kaltim) if result.held is False}
    assert found == {"a certificate of another CA is refused"}


def test_a_broken_rule_ends_the_command_with_code_1(desalink: Run, kaltim: Province):
    acl = broker_files(kaltim).acl
    acl.write_text(acl.read_text() + "pattern read desa/1/+/+/report\n")
    with running(kaltim):
        ended = desalink("-C", kaltim.directory, "broker", "check")
    assert ended.code == 1
    line = next(line for line in ended.out.splitlines() if line.startswith("a slot receives"))
    assert line == (
        "a slot receives nothing of other slots\tBROKEN\t"
        "delivered: desa/1/6401/0000000000-1/report"
    )
    assert ended.err == (
        "desalink: 2 of 14 rules do not hold; run 'desalink broker config', restart the broker "
        "and check again before any device is connected.\n"
    )


def test_a_broker_that_trusts_another_ca_only_lets_nobody_in(kaltim: Province):
    foreign = Authority.generate("Another CA")
    config = broker_files(kaltim).config
    other = kaltim.broker_directory / "other.pem"
    other.write_bytes(foreign.certificate_pem)
    config.write_text(
        config.read_text()
        .replace(f"cafile {kaltim.ca_certificate}", f"cafile {other}")
        .replace("\ncrlfile ", "\n#crlfile ")
    )
    with running(kaltim), pytest.raises(BrokerError, match="lets nobody in"):
        results(kaltim)
