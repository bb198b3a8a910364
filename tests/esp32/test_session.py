"""The session with the broker on an ESP32's sockets."""

import pytest

from agent.wire import ids
from tests.esp32.conftest import Run

_ECONNRESET = 104


@pytest.mark.parametrize("rtt_us", [23_400, 600_000])
def test_a_revoked_device_makes_a_few_dozen_handshakes_in_half_a_day(run: Run, rtt_us: int):
    """On lwIP a reset overtakes the broker's alert, so that nothing says "revoked"."""
    attempts, stage, error = run("revoked", hours=12, rtt_us=rtt_us)
    assert (stage, error) == ("tls", _ECONNRESET)
    assert 18 < attempts < 78


def test_a_broker_that_does_not_run_is_called_refused(run: Run):
    stage, result, sentence = run("refused")
    assert (stage, result) == ("connect", ids.PROBE_REFUSED)
    assert sentence.endswith("connection refused")


@pytest.mark.parametrize(
    ("code", "result", "words"),
    [
        (-104, ids.PROBE_REFUSED, "connection reset"),
        (-116, ids.PROBE_TIMEOUT, "no answer in time"),
        (-118, ids.PROBE_UNREACHABLE, "host unreachable"),
        (-0x7780, ids.PROBE_ERROR, "-30592"),
    ],
)
def test_a_sockets_error_within_tls_says_the_same(run: Run, code: int, result: int, words: str):
    assert run("within_tls", code=code) == [result, words]
