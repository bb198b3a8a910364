"""Sources on the machine itself: programs, openNDS, Wi-Fi access points, and different clients."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.day import Day
from agent.sources.source import Source
from agent.sources.wifi import Stations
from tests.agent.sources.source_lab import LONG_MS, WAYS, Device

every_way = pytest.mark.parametrize("interpreter", WAYS)

NOON = 1_800_000_000 - (1_800_000_000 + 8 * 3600) % 86400 + 12 * 3600  # some day, 12:00 WITA


def mac(n: int) -> str:
    return f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"


def program(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


# --- openNDS


def clients(states: list[str]) -> str:
    """What `ndsctl json` prints, with the comma too many of some versions."""
    rows = ",\n".join(
        f'"{mac(n)}":{{\n"gatewayname":"Desa","ip":"10.0.0.{n}","mac":"{mac(n)}",\n'
        f'"clientif":"wlan0","state":"{state}",\n"downloaded":"33",\n}}'
        for n, state in enumerate(states)
    )
    return f'{{\n"client_list_length":"{len(states)}",\n"clients":{{\n{rows}\n}}\n}}\n'


STATES = ["Authenticated"] * 3 + ["Preauthenticated"] * 2


@every_way
def test_only_clients_that_were_let_in_count(interpreter: str, tmp_path: Path):
    (tmp_path / "out").write_text(clients(STATES))
    script = f'[ "$*" = json ] && cat {tmp_path}/out'
    with Device(
        interpreter, "opennds", opennds__command=program(tmp_path, "ndsctl", script)
    ) as device:
        assert device.sample() == {"clients": 3, "clients_peak": 3}
        (tmp_path / "out").write_text(clients([]))
        assert device.sample() == {"clients": 0, "clients_peak": 3}


@contextmanager
def control_socket(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """openNDS's control socket: one command a connection, closed after the answer."""
    asked: list[bytes] = []
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def loop() -> None:
            while True:
                sock, _ = server.accept()
                with sock, suppress(OSError):  # a device may be stopped in between
                    if over.is_set():
                        return
                    asked.append(sock.recv(100))
                    sock.sendall(answer)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield asked
        finally:
            over.set()
            with socket.socket(socket.AF_UNIX) as end:
                end.connect(str(path))
            thread.join()


@every_way
def test_the_control_socket_is_asked_as_ndsctl_does(interpreter: str, tmp_path: Path):
    path = tmp_path / "ndsctl.sock"
    with control_socket(path, clients(STATES * 40).encode()) as asked:
        with Device(interpreter, "opennds", opennds__socket=str(path)) as device:
            assert device.sample()["clients"] == 120
    assert asked[0] == b"json\r\n\r\n"


@every_way
def test_a_portal_that_is_not_there_gives_null(interpreter: str, tmp_path: Path):
    with Device(interpreter, "opennds", opennds__socket=str(tmp_path / "none")) as device:
        assert device.sample() == {}
        assert "usage.opennds: no such file" in device.end()


@every_way
@pytest.mark.parametrize("answer", [b"", b"{}", b"Error", b'{"client_list_length":"1",'])
def test_an_answer_without_clients_gives_null(interpreter: str, tmp_path: Path, answer: bytes):
    path = tmp_path / "s"
    with control_socket(path, answer):
        with Device(interpreter, "opennds", opennds__socket=str(path)) as device:
            assert device.sample() == {}


# --- programs


@every_way
@pytest.mark.parametrize(
    "script,reason",
    [
        ("exit 3", "failed with status 3"),
        ("exec sleep 60", "no answer in time|does not end in time"),
        ("while :; do echo '        '; done", "prints too much"),
        ("kill -9 $$", "failed with status 137"),
    ],
)
def test_a_program_that_misbehaves_gives_null(
    interpreter: str, tmp_path: Path, script: str, reason: str
):
    path = program(tmp_path, "ndsctl", script)
    deadline_ms = 500 if "sleep" in script else LONG_MS
    with Device(interpreter, "opennds", deadline_ms, opennds__command=path) as device:
        assert device.sample() == {}
        assert re.search(reason, device.end())


@every_way
def test_a_program_that_is_missing_gives_null(interpreter: str):
    with Device(interpreter, "opennds", opennds__command="/no/it's here") as device:
        assert device.sample() == {}
        assert "failed with status 127" in device.end()


# --- Wi-Fi

IW = f"""Station {mac(1)} (on wlan0)
\tinactive time:\t304 ms
\trx bytes:\t18816
\tsignal:  \t-54 [-57, -58] dBm
\tsignal avg:\t-53 dBm
\tauthorized:\tyes
\tauthenticated:\tyes
Station {mac(2)} (on wlan0)
\tsignal:  \t-70 dBm
\tauthorized:\tno
Station {mac(3)} (on wlan0)
\tsignal:  \t-80 dBm
\tauthorized:\tyes
"""
ALL_STA = f"""{mac(1)}
flags=[AUTH][ASSOC][AUTHORIZED]
aid=1
signal=-60
rx_bytes=1
{mac(2)}
flags=[AUTH][ASSOC]
signal=-61
"""


@every_way
def test_iw_tells_stations_and_their_signal(interpreter: str, tmp_path: Path):
    (tmp_path / "out").write_text(IW)
    script = f'[ "$1 $3 $4" = "dev station dump" ] && [ "$2" = wlan0 ] && cat {tmp_path}/out || :'
    path = program(tmp_path, "iw", script)
    options = {"wifi__interfaces": ["wlan0", "wlan1"], "wifi__command": path}
    with Device(interpreter, "wifi", **options) as device:
        assert device.sample() == {
            "clients": 2,
            "clients_peak": 2,
            "associated": 2,
            "client_signal": -68,
        }


@every_way
def test_hostapd_tells_the_same(interpreter: str, tmp_path: Path):
    (tmp_path / "out").write_text(ALL_STA)
    path = program(tmp_path, "hostapd_cli", f"cat {tmp_path}/out")
    options = {"wifi__interfaces": ["wlan0"], "wifi__command": path}
    with Device(interpreter, "wifi", **options) as device:
        row = device.sample()
    assert (row["associated"], row["client_signal"]) == (1, -61)


@every_way
def test_an_access_point_that_fails_makes_the_count_null(interpreter: str, tmp_path: Path):
    path = program(tmp_path, "iw", '[ "$2" = wlan0 ]')
    options = {"wifi__interfaces": ["wlan0", "wlan1"], "wifi__command": path}
    with Device(interpreter, "wifi", **options) as device:
        assert device.sample() == {}


@given(st.lists(st.integers(1, 200)))
def test_stations_are_counted_however_the_text_is_cut(cuts: list[int]):
    stations = Stations(lambda address: None)
    text = IW.encode()
    for cut in [*cuts, len(text)]:
        stations.feed(text[:cut])
        text = text[cut:]
    stations.finish()
    assert (stations.count, stations.signals) == (2, [-54, -70, -80])


@given(st.lists(st.binary(max_size=80) | st.sampled_from(IW.encode().splitlines(True))))
def test_no_text_breaks_the_counting(pieces: list[bytes]):
    stations = Stations(lambda address: None)
    for piece in pieces:
        stations.feed(piece)
    assert stations.count >= 0


# --- different clients of a day


class Clock:
    def __init__(self, unix: int | None):
        self.unix = unix

    def now(self) -> int | None:
        return self.unix


def see(day: Day, address: bytes) -> None:
    Source("usage.test", unique=day).seen(address)


def test_a_client_counts_once_a_day():
    clock = Clock(NOON)
    day = Day(clock, 1000)
    for _ in range(3):
        for n in range(200):
            see(day, mac(n).encode())
    see(day, mac(7).upper().replace(":", "-").encode())  # another way to write it
    see(day, bytes.fromhex(mac(8).replace(":", "")))
    assert day.count() == 200


def test_the_day_turns_at_midnight_wita():
    clock = Clock(NOON + 12 * 3600 - 1)
    day = Day(clock, 10)
    see(day, mac(1).encode())
    assert day.count() == 1
    clock.unix += 1
    assert day.count() == 0
    see(day, mac(1).encode())
    assert day.count() == 1


def test_nothing_is_left_of_yesterday():
    clock = Clock(NOON)
    day = Day(clock, 10)
    see(day, mac(1).encode())
    before = dict(vars(day))
    clock.unix += 86400
    see(day, mac(1).encode())
    after = vars(day)
    assert before["_key"] != after["_key"] and before["_seen"] != after["_seen"]


def test_without_the_time_nothing_is_noted():
    clock = Clock(None)
    day = Day(clock, 10)
    see(day, mac(1).encode())
    assert day.count() is None
    clock.unix = NOON
    assert day.count() == 0


def test_a_full_table_stays_full():
    day = Day(Clock(NOON), 5)
    for n in range(20):
        see(day, mac(n).encode())
    assert day.count() == 5


@pytest.mark.parametrize("text", [b"", b"x", b"zz:zz:zz:zz:zz:zz", b"1" * 17, bytes(7), b"a" * 99])
def test_what_is_no_address_is_passed_over(text: bytes):
    day = Day(Clock(NOON), 5)
    see(day, text)
    assert day.count() == (1 if text == b"1" * 17 else 0)


ARP = "IP address  HW type  Flags  HW address  Mask  Device\n"


@every_way
def test_neighbours_are_counted_over_the_day(interpreter: str, tmp_path: Path):
    def write(*numbers: int) -> None:
        rows = [f"10.0.0.{n} 0x1 0x{'0' if n == 9 else '2'} {mac(n)} * br-lan" for n in numbers]
        (tmp_path / "arp").write_text(ARP + "\n".join([*rows, f"1.2.3.4 0x1 0x2 {mac(77)} * wan"]))

    write(1, 2, 9)
    options = {"arp": str(tmp_path / "arp"), "lan_interface": "br-lan", "unique__most": 100}
    with Device(interpreter, "unique", **options) as device:
        assert device.sample() == {}
        assert device.sample(now=NOON) == {"clients_day": 2}
        write(2, 3)
        assert device.sample(now=NOON + 60) == {"clients_day": 3}
        assert device.sample(now=NOON + 86400) == {"clients_day": 2}


@every_way
def test_leases_of_yesterday_are_nobody_of_today(interpreter: str, tmp_path: Path):
    def write(now: int, *ages: int) -> None:
        rows = [f"{now - age + 43200} {mac(n)} 10.0.0.{n} siti *" for n, age in enumerate(ages)]
        (tmp_path / "leases").write_text(
            "\n".join([*rows, "duid 00:01", f"1 {mac(50)} 1.1.1.1 x *"])
        )

    options = {"leases": str(tmp_path / "leases"), "unique__most": 100}
    with Device(interpreter, "unique", **options) as device:
        early = NOON - 11 * 3600  # 01:00
        write(early, 0, 30 * 60, 2 * 3600, 11 * 3600)
        assert device.sample(now=early) == {"clients_day": 2}


@every_way
def test_several_sources_share_the_day(interpreter: str, tmp_path: Path):
    (tmp_path / "out").write_text(clients(STATES))
    path = program(tmp_path, "ndsctl", f"cat {tmp_path}/out")
    (tmp_path / "arp").write_text(ARP + f"10.0.0.1 0x1 0x2 {mac(1).upper()} * br-lan\n")
    options = {"opennds__command": path, "arp": str(tmp_path / "arp"), "unique__most": 100}
    with Device(interpreter, ["opennds", "unique"], **options) as device:
        assert device.sample(now=NOON)["clients_day"] == 3
