"""A router asked by SNMP: the real snmpd, and scripted agents that misbehave."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.device import interpreter
from agent.sources import snmp
from tests.agent.sources.snmp_agent import (
    COUNTER32,
    COUNTER64,
    END,
    GAUGE,
    GETBULK,
    GETNEXT,
    INTEGER,
    OCTETS,
    RESPONSE,
    TICKS,
    Agent,
    message,
    number,
    response,
    split,
    tlv,
)
from tests.agent.sources.source_lab import LONG_MS, WAYS, Device, defaults, snmpd, udp

IFX, IF = "1.3.6.1.2.1.31.1.1.1", "1.3.6.1.2.1.2.2.1"
SYS, HOST = "1.3.6.1.2.1.1.3.0", "1.3.6.1.2.1.25.1.1.0"
M = "1.3.6.1.4.1.14988.1.1"
W32 = 1 << 32

every_way = pytest.mark.parametrize("interpreter", WAYS)


def router(down: int = 0, up: int = 0, uptime: int = 1000000, wide: bool = True) -> Agent:
    """A router with two interfaces, of which "wan" (index 7) is the uplink."""
    agent = Agent()
    agent.set(SYS, TICKS, uptime)
    agent.set(HOST, TICKS, uptime)
    for index, title in ((3, b"lan"), (7, b"wan")):
        agent.set(f"{IFX}.1.{index}", OCTETS, title)
        agent.set(f"{IFX}.18.{index}", OCTETS, b"alias " + title)
        agent.set(f"{IF}.2.{index}", OCTETS, b"descr " + title)
        agent.set(f"{IFX}.19.{index}", TICKS, 0)
        agent.set(f"{IF}.8.{index}", INTEGER, 1)
    octets(agent, down, up, wide)
    return agent


def octets(agent: Agent, down: int, up: int, wide: bool = True, index: int = 7) -> None:
    agent.set(f"{IF}.10.{index}", COUNTER32, down % W32)
    agent.set(f"{IF}.16.{index}", COUNTER32, up % W32)
    if wide:
        agent.set(f"{IFX}.6.{index}", COUNTER64, down)
        agent.set(f"{IFX}.10.{index}", COUNTER64, up)


def uptime(agent: Agent, host: int | None, sys: int) -> None:
    agent.set(SYS, TICKS, sys)
    if host is None:
        agent.table.pop(tuple(map(int, HOST.split("."))), None)
    else:
        agent.set(HOST, TICKS, host)


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Iterator:
    """ask(agent, **config): a device that asks a scripted agent."""
    with contextlib.ExitStack() as stack:

        def start(agent: object, **config: object) -> Device:
            port = stack.enter_context(udp(agent))  # type: ignore[arg-type]
            config = {"snmp__interface": "wan"} | config
            device = Device(
                request.param,
                "snmp",
                snmp__host="127.0.0.1",
                snmp__port=port,
                **config,
            )
            return stack.enter_context(device)

        yield start


# --- the real one


@every_way
def test_the_real_snmpd_tells_bytes_state_and_uptime(interpreter: str, tmp_path: Path):
    lines = ["rocommunity public 127.0.0.1", f"override {M}.6.1.0 integer 7"]
    with snmpd(tmp_path, lines) as port:
        options = {"snmp__host": "127.0.0.1", "snmp__port": port, "snmp__profile": "mikrotik"}
        with Device(interpreter, "snmp", snmp__interface="lo", **options) as device:
            first, second = device.sample(), device.sample()
    assert first.keys() == {"uplink_port", "router_uptime", "leases"}
    assert second.keys() == first.keys() | {"bytes_down", "bytes_up"}
    assert (second["uplink_port"], second["leases"]) == (1, 7)
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(second["router_uptime"] - uptime_s) < 60


USERS = [
    'createUser plain SHA-256 "auth-secret"',
    'createUser private SHA-256 "auth-secret" AES "priv-secret"',
    'createUser old SHA "auth-secret" AES "priv-secret"',
    "rouser plain authNoPriv",
    "rouser private authPriv",
    "rouser old authPriv",
]


@pytest.mark.parametrize(
    "interpreter,user,auth,priv",
    [
        ("cpython", "plain", "sha256", None),
        ("micropython", "plain", "sha256", None),
        ("micropython", "private", "sha256", "priv-secret"),
        ("micropython", "old", "sha1", "priv-secret"),
        ("in turn", "private", "sha256", "priv-secret"),
    ],
)
def test_version_3_authenticates_and_encrypts(
    interpreter: str, user: str, auth: str, priv: str | None, tmp_path: Path
):
    with snmpd(tmp_path, USERS) as port:
        options = {"snmp__host": "127.0.0.1", "snmp__port": port, "snmp__interface": "lo"}
        options |= {"snmp__user": user, "snmp__auth": auth, "snmp__priv_password": priv}
        with Device(interpreter, "snmp", snmp__auth_password="auth-secret", **options) as device:
            assert "router_uptime" in device.sample()
            assert "bytes_down" in device.sample()


@every_way
@pytest.mark.parametrize(
    "user,password,reason",
    [("plain", "wrong-secret", "password is wrong"), ("nobody", "auth-secret", "no such user")],
)
def test_version_3_says_why_it_was_refused(
    interpreter: str, user: str, password: str, reason: str, tmp_path: Path
):
    with snmpd(tmp_path, USERS) as port:
        options = {"snmp__host": "127.0.0.1", "snmp__port": port, "snmp__user": user}
        with Device(interpreter, "snmp", snmp__auth_password=password, **options) as device:
            assert device.sample() == {}
            said = device.end()
    assert reason in said
    assert password not in said


@every_way
def test_version_3_survives_a_restart_of_the_router(interpreter: str, tmp_path: Path):
    with snmpd(tmp_path, USERS) as port:
        options = {"snmp__host": "127.0.0.1", "snmp__port": port, "snmp__user": "plain"}
        device = Device(interpreter, "snmp", snmp__auth_password="auth-secret", **options)
        assert "router_uptime" in device.sample()
    # It has booted once more and counts its time anew: our idea of both is wrong, and it says so.
    with snmpd(tmp_path, USERS, fixed=port), device:
        assert "router_uptime" in device.sample()


def test_version_3_survives_a_router_that_does_not_count_its_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = defaults("snmp") | {"usage.snmp.host": "127.0.0.1", "usage.snmp.user": "plain"}
    config["usage.snmp.auth_password"] = "auth-secret"

    def look() -> dict[int, int]:
        router._at = None
        row: dict[int, int] = {}
        asyncio.run(router.sample(row))
        return row

    with snmpd(tmp_path, USERS) as port:
        router = snmp.make(config | {"usage.snmp.port": port}, None, lambda metric: None)
        router.deadline_ms = LONG_MS
        assert look()
        # For us it has run for a quarter of an hour now, for itself for a second: its words look
        # like old ones that somebody plays back.
        ticks = interpreter.ticks_ms
        monkeypatch.setattr(interpreter, "ticks_ms", lambda: ticks() + 900_000)
        assert look() == {}
        assert look()


def test_privacy_without_aes_is_refused_with_what_to_do():
    options = {"snmp__user": "u", "snmp__auth_password": "auth-secret"}
    config = {"snmp__host": "127.0.0.1", "snmp__priv_password": "priv-secret"}
    with Device("cpython", "snmp", **options, **config) as device:
        assert device.error is not None
        assert device.error.startswith("usage.snmp.priv_password: this interpreter has no AES")


# --- bytes: nothing lost, nothing invented


def test_bytes_are_what_passed_between_samples(ask):
    agent = router(down=1 << 40, up=5000)
    device = ask(agent)
    assert "bytes_down" not in device.sample()
    octets(agent, (1 << 40) + 123456789, 5400)
    row = device.sample()
    assert (row["bytes_down"], row["bytes_up"]) == (123456789, 400)
    assert device.sample()["bytes_down"] == 0
    assert device.resets == []


def test_32_bits_wrap_without_loss(ask):
    agent = router(down=W32 - 1000, up=W32 - 1, wide=False)
    device = ask(agent)
    device.sample()
    octets(agent, 500, 0, wide=False)
    row = device.sample()
    assert (row["bytes_down"], row["bytes_up"]) == (1500, 1)
    assert device.resets == []


def test_a_restart_of_the_router_counts_from_zero(ask):
    agent = router(down=W32 - 1000, up=70000, wide=False)
    device = ask(agent)
    device.sample()
    uptime(agent, 3000, 3000)
    octets(agent, 500, 90000, wide=False)  # up is beyond where it was: still from zero
    row = device.sample()
    assert (row["bytes_down"], row["bytes_up"]) == (500, 90000)
    assert device.resets == ["bytes_down", "bytes_up"]
    assert row["router_uptime"] == 30
    octets(agent, 700, 90001, wide=False)
    assert device.sample()["bytes_down"] == 200


def test_a_restart_is_not_forgotten_while_the_interface_is_missing(ask):
    agent = router(W32 - 1_000_000, 0, wide=False)
    device = ask(agent)
    device.sample()
    uptime(agent, 3000, 3000)
    octets(agent, 4000, 0, wide=False)
    agent.set(f"{IFX}.1.7", OCTETS, b"")  # it has no name yet
    assert "bytes_down" not in device.sample()
    uptime(agent, 6000, 6000)
    agent.set(f"{IFX}.1.7", OCTETS, b"wan")
    assert device.sample()["bytes_down"] == 4000


def test_a_restart_of_the_snmp_agent_alone_invents_nothing(ask):
    agent = router(down=1 << 36, up=1 << 36)
    device = ask(agent)
    device.sample()
    uptime(agent, 1000100, 500)
    octets(agent, (1 << 36) + 10, (1 << 36) + 10)
    row = device.sample()
    assert (row["bytes_down"], row["bytes_up"]) == (10, 10)
    assert device.resets == []


def test_where_it_can_be_either_restart_the_lesser_is_taken(ask):
    agent = router(down=1000, up=1 << 36)
    uptime(agent, None, 1000000)
    device = ask(agent)
    device.sample()
    uptime(agent, None, 2000)
    octets(agent, 1500, 40)
    row = device.sample()
    # down: 1500 since a restart of the router, or 500 if it was its SNMP agent; up fell: 40.
    assert (row["bytes_down"], row["bytes_up"]) == (500, 40)


def test_an_uptime_that_wraps_after_497_days_is_no_restart(ask):
    agent = router(down=1000, uptime=W32 - 50)
    device = ask(agent)
    device.sample()
    uptime(agent, 20, 20)
    octets(agent, 1700, 0)
    assert device.sample()["bytes_down"] == 700
    assert device.resets == []


def test_a_discontinuity_of_the_counters_is_believed(ask):
    agent = router(down=1000)
    device = ask(agent)
    device.sample()
    agent.set(f"{IFX}.19.7", TICKS, 999999)
    octets(agent, 4000, 0)
    assert device.sample()["bytes_down"] == 4000
    assert "bytes_down" in device.resets


def test_a_cleared_counter_counts_from_zero(ask):
    agent = router(down=1 << 40)
    device = ask(agent)
    device.sample()
    octets(agent, 77, 0)
    assert device.sample()["bytes_down"] == 77
    assert device.resets == ["bytes_down"]


def test_a_reading_that_no_line_can_carry_is_null(ask):
    agent = router(down=1000)
    device = ask(agent)
    device.sample()
    octets(agent, 1 << 62, 0)
    assert "bytes_down" not in device.sample()
    octets(agent, (1 << 62) + 5, 0)
    assert device.sample()["bytes_down"] == 5


def test_64_bit_counters_that_come_and_go_never_mix_with_32_bits(ask):
    agent = router(down=(5 << 32) + 100)
    device = ask(agent)
    device.sample()
    del agent.table[tuple(map(int, f"{IFX}.6.7".split(".")))]
    assert "bytes_down" not in device.sample()  # 100 now, of another counter
    octets(agent, (5 << 32) + 300, 0)
    assert "bytes_down" not in device.sample()
    octets(agent, (5 << 32) + 310, 0)
    assert device.sample()["bytes_down"] == 10


def test_what_passed_while_it_did_not_answer_is_told_afterwards(ask):
    agent = router(down=1000)
    device = ask(agent)
    device.sample()
    agent.community = b"changed"
    octets(agent, 2000, 0)
    assert device.sample(deadline_ms=300) == {}
    agent.community = b"public"
    octets(agent, 3000, 0)
    assert device.sample()["bytes_down"] == 2000


def test_bytes_between_samples_add_up(ask):
    agent = router(down=0)
    device = ask(agent)
    device.sample()
    octets(agent, 100, 0)
    device.observe()
    uptime(agent, 100, 100)  # restarts between two looks: only what came after the last is unknown
    octets(agent, 30, 0)
    device.observe()
    octets(agent, 35, 0)
    assert device.sample()["bytes_down"] == 135


# --- the interface


@pytest.mark.parametrize("title", ["wan", "alias wan", "descr wan", "7"])
def test_an_interface_is_found_by_name_alias_description_or_number(ask, title):
    device = ask(router(down=5), snmp__interface=title)
    device.sample()
    assert device.sample()["bytes_down"] == 0


def test_an_interface_that_gets_another_number_is_found_again(ask):
    agent = router(down=1000)
    device = ask(agent)
    device.sample()
    for column in (1, 18):
        agent.set(f"{IFX}.{column}.7", OCTETS, b"ppp9")
    agent.set(f"{IFX}.1.12", OCTETS, b"wan")
    agent.set(f"{IF}.8.12", INTEGER, 1)
    octets(agent, 400, 3, index=12)
    assert "bytes_down" not in device.sample()
    octets(agent, 450, 3, index=12)
    row = device.sample()
    assert (row["bytes_down"], row["bytes_up"]) == (450, 3)
    assert device.resets == ["bytes_down", "bytes_up"]


def test_an_interface_that_is_not_there_costs_only_its_columns(ask):
    device = ask(router(), snmp__interface="lte1", snmp__profile="mikrotik")
    assert device.sample() == {"router_uptime": 10000}
    assert "has no interface lte1" in device.end()


def test_port_states_are_told_and_nonsense_is_null(ask):
    agent = router()
    device = ask(agent)
    agent.set(f"{IF}.8.7", INTEGER, 2)
    assert device.sample()["uplink_port"] == 2
    agent.set(f"{IF}.8.7", INTEGER, 99)
    assert "uplink_port" not in device.sample()
    agent.set(f"{IF}.8.7", OCTETS, b"up")
    assert "uplink_port" not in device.sample()


# --- makes


def test_mikrotik_tells_users_wifi_leases_power_and_radio(ask):
    agent = router()
    for row, count in ((1, 3), (2, 4)):
        agent.set(f"{M}.1.3.1.6.{row}", COUNTER32, count)
    for row in range(40):
        agent.set(f"{M}.5.1.1.12.{row}", COUNTER64, row)
    agent.set(f"{M}.6.1.0", GAUGE, 12)
    agent.set(f"{M}.3.8.0", INTEGER, 241)
    agent.set(f"{M}.3.10.0", INTEGER, 456)
    for column, reading in ((2, -71), (4, -102), (7, 0)):
        agent.set(f"{M}.16.1.1.{column}.5", INTEGER, reading)
    row = ask(agent, snmp__profile="mikrotik-hotspot").sample()
    del row["router_uptime"], row["uplink_port"]
    assert row == {
        "clients": 40,
        "clients_peak": 40,
        "associated": 7,
        "leases": 12,
        "router_voltage": 2410,
        "router_temperature": 45,
        "signal": -71,
        "lte_rsrp": -102,
        "lte_sinr": 0,
    }


def test_what_a_router_lacks_is_null_and_never_zero(ask):
    agent = router()
    agent.set(f"{M}.1.4.0", GAUGE, 0)  # no radio, or nobody there: it does not tell
    agent.set(f"{M}.3.8.0", INTEGER, 0)
    agent.set(f"{M}.16.1.1.2.5", INTEGER, 0)
    row = ask(agent, snmp__profile="mikrotik").sample()
    assert row.keys() == {"router_uptime", "uplink_port"}


def test_without_a_hotspot_whoever_is_associated_is_a_client(ask):
    agent = router()
    agent.set(f"{M}.1.3.1.6.1", COUNTER32, 5)
    row = ask(agent, snmp__profile="mikrotik").sample()
    assert (row["clients"], row["associated"]) == (5, 5)


def test_a_hotspot_that_is_known_to_run_has_nobody(ask):
    assert ask(router(), snmp__profile="mikrotik-hotspot").sample()["clients"] == 0


@every_way
def test_an_unknown_profile_is_refused_by_name(interpreter):
    with Device(interpreter, "snmp", snmp__host="127.0.0.1", snmp__profile="acme") as device:
        assert device.error.startswith("usage.snmp.profile: expected one of generic, mikrotik")


# --- agents that are slow, small, or lie


def test_a_router_with_small_answers_is_asked_for_less(ask):
    agent = router()
    agent.limit = 3
    for row in range(9):
        agent.set(f"{M}.5.1.1.12.{row}", COUNTER64, row)
    row = ask(agent, snmp__profile="mikrotik-hotspot").sample()
    assert (row["clients"], row["uplink_port"]) == (9, 1)


@pytest.mark.parametrize(("size", "requests"), [(512, 1), (513, 2), (1200, 2)])
def test_an_answer_that_was_cut_is_asked_for_again_in_smaller_parts(ask, size, requests):
    agent = router()
    agent.set(f"{M}.5.1.1.12.1", OCTETS, b"")
    row = tuple(map(int, f"{M}.5.1.1.12.1".split(".")))
    walks = []

    def enlarge(request: bytes, answer: bytes) -> list[bytes]:
        if agent.asked[-1] != (GETBULK, [row[:-1]]):
            return [answer]
        walks.append(answer)
        (_, _), (_, _), (_, pdu) = split(split(answer)[0][1])
        number_ = int.from_bytes(split(pdu)[0][1], "big", signed=True)
        for pad in range(size) if len(walks) == 1 else ():
            binds = [(row, (OCTETS, bytes(pad))), (row, (END, None))]
            larger = message(b"public", response(number_, binds))
            if len(larger) == size:
                return [larger]
        return [answer]

    agent.spoil = enlarge
    device = ask(agent, snmp__profile="mikrotik-hotspot", snmp__interface=None)
    assert device.sample()["clients"] == 1
    assert len(walks) == requests


def test_an_object_that_makes_the_router_fail_costs_only_itself(ask):
    agent = router()
    agent.set(f"{M}.6.1.0", GAUGE, 3)
    agent.set(f"{M}.3.8.0", INTEGER, 120)
    agent.poison.add(tuple(map(int, f"{M}.3.8.0".split("."))))
    row = ask(agent, snmp__profile="mikrotik").sample()
    assert row["leases"] == 3 and "router_voltage" not in row


def test_a_router_without_getbulk_is_walked_step_by_step(ask):
    agent = router()
    agent.refuse.add(GETBULK)
    for row in range(5):
        agent.set(f"{M}.5.1.1.12.{row}", COUNTER64, row)
    assert ask(agent, snmp__profile="mikrotik-hotspot").sample()["clients"] == 5
    assert GETNEXT in {kind for kind, _ in agent.asked}


def test_a_lost_answer_is_asked_for_again(ask):
    agent = router()
    lost = []

    def lose(request: bytes, answer: bytes) -> list[bytes]:
        lost.append(answer)
        return [] if len(lost) == 1 else [answer]

    agent.spoil = lose
    assert ask(agent).sample()["uplink_port"] == 1


def test_an_answer_to_another_request_is_not_taken(ask):
    agent = router()

    def echo(request: bytes, answer: bytes) -> list[bytes]:
        wrong = message(b"public", response(12345, [((1, 3, 6), (INTEGER, 1))]))
        return [
            wrong,
            message(b"other", split(split(answer)[0][1])[2][1]),
            b"\x30\x82\xff",
            answer,
        ]

    agent.spoil = echo
    assert ask(agent).sample()["uplink_port"] == 1


@pytest.mark.parametrize("size", [2, 3, 4])
def test_lengths_may_have_more_bytes_than_they_need(ask, size):
    # RFC 3417, section 8: (1) the definite form, but not the shortest.
    def longer(data: bytes) -> bytes:
        out = b""
        for tag, body in split(data):
            if tag in (0x30, RESPONSE):
                body = longer(body)
            out += bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body
        return out

    agent = router()
    agent.spoil = lambda request, answer: [longer(answer)]
    assert ask(agent).sample()["uplink_port"] == 1


def test_an_answer_with_other_names_is_refused(ask):
    agent = router()

    def other(request: bytes, answer: bytes) -> list[bytes]:
        (_, _), (_, _), (_, pdu) = split(split(answer)[0][1])
        request_id = int.from_bytes(split(pdu)[0][1], "big", signed=True)
        return [message(b"public", response(request_id, [((1, 3, 6, 1), (INTEGER, 1))]))]

    agent.spoil = other
    device = ask(agent)
    assert device.sample() == {}
    assert "not asked" in device.end()


def test_a_table_that_turns_in_circles_ends(ask):
    agent = router()
    column = f"{M}.5.1.1.12"

    def circle(request: bytes, answer: bytes) -> list[bytes]:
        (_, _), (_, _), (_, pdu) = split(split(answer)[0][1])
        kind = split(split(request)[0][1])[2][0]
        if kind != GETBULK:
            return [answer]
        request_id = int.from_bytes(split(pdu)[0][1], "big", signed=True)
        names = [tuple(map(int, f"{column}.{i}".split("."))) for i in (1, 2, 1)]
        return [message(b"public", response(request_id, [(n, (COUNTER64, 1)) for n in names]))]

    agent.spoil = circle
    device = ask(agent, snmp__profile="mikrotik-hotspot", snmp__interface=None)
    row = device.sample()
    assert "clients" not in row and "router_uptime" in row
    assert "not in order" in device.end()


def test_a_table_without_end_is_cut(ask):
    agent = router()
    for row in range(600):
        agent.set(f"{M}.5.1.1.12.{row}", COUNTER64, row)
    device = ask(agent, snmp__profile="mikrotik-hotspot", snmp__interface=None)
    assert device.sample()["clients"] == 512


def test_garbage_and_silence_leave_null_and_a_reason(ask):
    agent = router()
    agent.spoil = lambda request, answer: [tlv(0x30, number(1))]
    device = ask(agent)
    assert device.sample() == {}
    assert "can't be read" in device.end()


def test_an_integer_of_any_size_stays_in_its_column(ask):
    agent = router()
    agent.set(f"{M}.6.1.0", GAUGE, (1 << 64) - 1)
    agent.set(f"{M}.16.1.1.7.1", INTEGER, -(1 << 60))
    row = ask(agent, snmp__profile="mikrotik").sample()
    assert row.keys() == {"router_uptime", "uplink_port"}


@every_way
def test_nobody_listening_is_said_in_words(interpreter):
    with Device(interpreter, "snmp", snmp__host="127.0.0.1", snmp__port=1) as device:
        assert device.sample() == {}
        assert "usage.snmp: connection refused" in device.end()
