"""`desalink broker check` finds what is wrong with a running broker, and disturbs nobody."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from host_tools.broker.check import Check, RuleResult
from host_tools.broker.client import CheckClient, Delivered
from host_tools.broker.config import broker_files
from host_tools.broker.process import BrokerProcess
from host_tools.common.errors import BrokerError
from host_tools.keys.ca import Authority
from host_tools.province.settings import Province
from tests.host_tools.conftest import Run, running_broker
from tests.support import PATIENCE_S
from tests.world.evidencing import signing_registry

RULES = 14


def results(
    province: Province, authority: Authority | None = None, timeout: float = PATIENCE_S
) -> list[RuleResult]:
    """timeout: for each message that must arrive; short where one never does."""
    with signing_registry(province) as registry:
        check = Check(province, registry, authority=authority, timeout=timeout)
        return list(check.run())


def replace_in_config(province: Province, *pairs: tuple[str, str]) -> None:
    config = broker_files(province).config
    text = config.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)


def test_all_rules_hold_and_without_the_passphrase_one_is_skipped(
    desalink: Run, kaltim: Province, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
):
    ended = desalink("-C", kaltim.directory, "broker", "check")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert lines[0] == ["rule", "result", "detail"]
    assert [line[1] for line in lines[1:]] == ["holds"] * RULES
    monkeypatch.delenv("DESALINK_PASSPHRASE")
    ended = desalink("-C", kaltim.directory, "broker", "check")
    assert ended.code == 0
    *held, skipped = [line.split("\t") for line in ended.out.splitlines()[1:]]
    assert [line[1] for line in held] == ["holds"] * (RULES - 1)
    assert skipped == [
        "a revoked certificate is refused after a reload",
        "skipped",
        "not tried: it needs the passphrase of the CA's key",
    ]


def test_without_a_broker_it_says_how_to_start_one(desalink: Run, kaltim: Province):
    ended = desalink("-C", kaltim.directory, "broker", "check")
    assert ended.code == 1
    assert ended.err.startswith(
        f"desalink: The broker on 127.0.0.1, port {kaltim.broker.port}, accepts no client ("
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


AS_GENERATED = "the ACL is the generated one"
OWN = "a slot can't write its own ack or command, trust or release"
ANOTHERS = "a slot can't write another's ack or command, trust or release"
SERVICES = "ingest and operator can't do each other's work"
READS = "a slot receives nothing of other slots"


@pytest.mark.parametrize(
    ("line", "instead", "broken"),
    [
        # An added line at the end, where `line` is empty.
        (
            "",
            "pattern write desa/1/6409/+/report",
            {"a slot can't publish as another slot", SERVICES},
        ),
        ("", "pattern write desa/1/+/%u/state", {"a slot can't publish under a made-up regency"}),
        ("", "pattern read desa/1/+/+/birth", {READS}),
        ("", "pattern read desa/1/+/+/ack", {READS}),
        ("", "pattern write desa/1/+/%u/ack", {OWN}),
        ("", "pattern write desa/1/trust", {OWN, ANOTHERS, SERVICES}),
        ("user check-ingest", "user check-ingest\ntopic write desa/1/+/+/command", {SERVICES}),
        ("user check-operator", "user check-operator\ntopic write desa/1/+/+/reply", {SERVICES}),
        ("user ingest", "user ingest\ntopic write desa/#", set()),
        ("pattern write desa/1/6411/%u/reply", "", {"a slot's own messages reach the ingest"}),
        (
            "pattern read desa/1/release/#",
            "",
            {"ack, command and release reach their slot, replies the operator"},
        ),
    ],
)
def test_a_wrong_acl_is_found(kaltim: Province, line: str, instead: str, broken: set[str]):
    acl = broker_files(kaltim).acl
    text = acl.read_text()
    assert f"{line}\n" in text
    acl.write_text(text.replace(f"{line}\n", f"{instead}\n") if line else f"{text}{instead}\n")
    with running_broker(kaltim):
        found = {result.rule for result in results(kaltim, timeout=2) if result.held is False}
    # An overlapping rule may well break others, too; these must be among them.
    assert {AS_GENERATED, *broken} <= found
    assert len(found) < RULES - 4


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (
            ("use_username_as_clientid true",),
            ("use_username_as_clientid false",),
            "nobody takes another's session by its client id",
        ),
        (("\ncrlfile ",), ("\n#crlfile ",), "a revoked certificate is refused after a reload"),
        (
            (
                "require_certificate true",
                "use_identity_as_username true",
                "use_username_as_clientid true",
                "allow_anonymous false",
            ),
            (
                "require_certificate false",
                "use_identity_as_username false",
                "use_username_as_clientid false",
                "allow_anonymous true",
            ),
            "a client without a certificate is refused",
        ),
    ],
)
def test_a_wrong_configuration_is_found(
    kaltim: Province,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    old: Sequence[str],
    new: Sequence[str],
    rule: str,
):
    monkeypatch.setattr("host_tools.broker.revocation.RELOAD_TIMEOUT_S", 1.0)
    replace_in_config(kaltim, *zip(old, new, strict=True))
    with running_broker(kaltim):
        tried = results(kaltim, authority, timeout=0.5)
    assert rule in {result.rule for result in tried if result.held is False}


def test_a_foreign_ca_that_the_broker_trusts_is_found(kaltim: Province, tmp_path_factory):
    # Same name as the province's own: only the signatures differ.
    foreign = Authority.generate("Desalink Kalimantan Timur 2000")
    trusted = tmp_path_factory.mktemp("ca") / "both.pem"
    trusted.write_bytes(kaltim.ca_certificate.read_bytes() + foreign.certificate_pem)
    # With the one CA's list, certificates of the other would be refused anyway.
    replace_in_config(
        kaltim,
        (f"cafile {kaltim.ca_certificate}", f"cafile {trusted}"),
        ("\ncrlfile ", "\n#crlfile "),
    )
    with running_broker(kaltim), pytest.MonkeyPatch.context() as patched:
        patched.setattr(Authority, "generate", lambda name: foreign)
        found = {result.rule for result in results(kaltim) if result.held is False}
    assert found == {"a certificate of another CA is refused"}


def test_a_broken_rule_ends_the_command_with_code_1(desalink: Run, kaltim: Province):
    acl = broker_files(kaltim).acl
    acl.write_text(acl.read_text() + "pattern read desa/1/+/+/report\n")
    with running_broker(kaltim):
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


def test_a_broker_that_trusts_another_ca_only_refuses_everybody(kaltim: Province):
    foreign = Authority.generate("Another CA")
    other = kaltim.broker_directory / "other.pem"
    other.write_bytes(foreign.certificate_pem)
    replace_in_config(
        kaltim,
        (f"cafile {kaltim.ca_certificate}", f"cafile {other}"),
        ("\ncrlfile ", "\n#crlfile "),
    )
    with running_broker(kaltim), pytest.raises(BrokerError, match="accepts no client"):
        results(kaltim)
