"""Sizes and lengths of time are written in one way everywhere."""

import pytest

from host_tools.common.i18n import speaking
from host_tools.common.sizes import size
from host_tools.common.times import span


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        *((None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB")),
        *((999_949, "999.9 kB"), (999_950, "1.0 MB"), (999_950_000, "1.0 GB")),
        *((10**12, "1.0 TB"), (2 * 10**15, "2,000.0 TB")),
    ],
)
def test_a_size_has_one_decimal_and_never_a_thousand_of_a_unit(count: int | None, shown: str):
    assert size(count) == shown


def test_a_size_is_written_as_the_language_writes_numbers():
    with speaking("id"):
        assert (size(12_345_678), size(2 * 10**15)) == ("12,3 MB", "2.000,0 TB")


def test_a_length_of_time_has_its_two_greatest_units():
    assert [span(s) for s in (None, 5, 200, 7500, 90000)] == [
        *("-", "5 s", "3 min 20 s", "2 h 05 min", "1 d 1 h"),
    ]
