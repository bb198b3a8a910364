"""Columns back to values."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire import ids
from host_tools.wire import Refused, decode_columns, parse_report
from tests.world.devices import Device


def decoded(columns: dict, n: int) -> dict:
    table = Device().payload({}) | {8: columns, 11: n}
    return decode_columns(parse_report(cbor2.dumps(table)))


def test_the_example_of_the_page():
    assert decoded({ids.RTT_MEAN: [452, 3, None, -1]}, 5) == {
        "rtt_mean": [452, 455, None, 454, 454]
    }


@pytest.mark.parametrize(
    ("metric", "column", "values"),
    [
        (ids.BYTES_DOWN, [10, None, 3], [10240, None, 3072, 0, 0]),
        (ids.RTT_MIN, [None, None, 7], [None, None, 7, 7, 7]),
        (ids.RTT_MIN, [7, None], [7, None, 7, 7, 7]),
        (ids.STATE, [1, 4, 0, -4], [1, 5, 5, 1, 1]),
        (ids.TEMPERATURE, [-3, -2], [-3, -5, -5, -5, -5]),
        (ids.CLIENTS, [None], [None] * 5),
        (ids.CLIENTS, 4, [4] * 5),
        (ids.BYTES_UP, 2, [2048, 0, 0, 0, 0]),
    ],
)
def test_what_is_missing_at_the_end(metric, column, values):
    assert list(decoded({metric: column}, 5).values()) == [values]


@pytest.mark.parametrize("column", [[-1], -1, [5, None, -3]], ids=str)
def test_a_count_is_not_negative(column):
    for metric in (ids.BYTES_DOWN, ids.BYTES_UP):
        with pytest.raises(Refused, match="a count is negative"):
            decoded({metric: column}, 5)


def test_a_metric_from_a_newer_version_is_left_in_the_signed_bytes():
    assert decoded({900: [1], ids.LOSS: [0]}, 2) == {"loss": [0, 0]}


VALUES = st.lists(st.none() | st.integers(-(2**40), 2**40), min_size=1, max_size=60)


@given(VALUES, st.sampled_from([ids.RTT_MEAN, ids.BYTES_DOWN]))
def test_what_a_device_encodes_is_read_back(values, metric):
    if metric == ids.BYTES_DOWN:  # whole units only: the rest is the agent's to carry on
        values = [None if value is None else abs(value) * 1024 for value in values]
    payload = Device().payload({metric: values})
    assert list(decode_columns(parse_report(cbor2.dumps(payload))).values()) == [values]


@given(st.dictionaries(st.integers(0, 30), VALUES, max_size=4), st.integers(0, 60))
def test_no_column_becomes_longer_or_shorter_than_n(columns, n):
    columns = {metric: column[:n] for metric, column in columns.items() if n}
    for metric in {ids.BYTES_DOWN, ids.BYTES_UP} & set(columns):
        columns[metric] = [None if value is None else abs(value) for value in columns[metric]]
    assert {len(values) for values in decoded(columns, n).values()} <= {n}
