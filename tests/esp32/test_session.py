"""The session with the broker on an ESP32's sockets."""

import pytest

from tests.esp32.conftest import Run

_ECONNRESET = 104


@pytest.mark.parametrize("rtt_us", [23_400, 600_000])
def test_a_revoked_device_makes_a_few_dozen_handshakes_a_day(run: Run, rtt_us: int):
    """On lwIP a reset overtakes the broker's alert, so that nothing says "revoked"."""
    attempts, stage, error = run("revoked", hours=24, rtt_us=rtt_us)
    assert (stage, error) == ("tls", _ECONNRESET)
    assert 30 < attempts < 90
