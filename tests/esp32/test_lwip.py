"""The made-up sockets answer as the ESP32's, measured on modsocket.c over lwIP."""

import pytest

from tests.esp32.conftest import Run

_EAGAIN, _ECONNRESET, _ETIMEDOUT, _EHOSTUNREACH = "E11", "E104", "E116", "E118"
_EINPROGRESS, _EALREADY, _EISCONN, _ENOTCONN, _ENFILE = "E119", "E120", "E127", "E128", "E23"
_PORTS = {"open": 53, "closed": 9, "filtered": 81}
_TABLE = {
    "connect": (_EINPROGRESS, _EINPROGRESS, _EINPROGRESS),
    "poll out": (4, 4, 0),
    "poll all": (4, 21, 0),
    "connect again": (_EISCONN, _ENOTCONN, _EALREADY),
    "send nothing": (_EAGAIN, _EAGAIN, _EAGAIN),
    "recv": (_EAGAIN, _ECONNRESET, _EAGAIN),
    "send": (1, _ECONNRESET, _EAGAIN),
    "send again": (1, _ENOTCONN, _EAGAIN),
    "blocking connect": (None, _ECONNRESET, _ETIMEDOUT),
}


@pytest.mark.parametrize(("i", "port"), list(enumerate(_PORTS)))
def test_a_tcp_socket_answers_as_measured(run: Run, i: int, port: str):
    assert run("table", port=_PORTS[port]) == {row: _TABLE[row][i] for row in _TABLE}


def test_everything_else_answers_as_measured(run: Run):
    assert run("others") == {
        "new poll": 20,
        "raw ping": [28, 0x45, 0],
        "raw ping rejected": [56, 0x45, 3],
        "dgram ping": _EAGAIN,
        "udp send": 1,
        "udp send nothing": _EAGAIN,
        "udp closed port": _EAGAIN,
        "warnings": 1,
        "11th socket": _ENFILE,
        "connect while down": _EHOSTUNREACH,
        "send while down": _EHOSTUNREACH,
        "ping while down": _EHOSTUNREACH,
    }
