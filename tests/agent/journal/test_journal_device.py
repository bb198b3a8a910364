"""The journal on a device: power cuts of flash under LittleFS, FAT, heap and wear.

All of it runs on MicroPython; the scripts beside this file print figures, which are judged here.
"""

from pathlib import Path

import pytest

from tests.support import run_micropython

HERE = Path(__file__).parent


def figures(line: str) -> dict[str, int]:
    return {name: int(value) for name, value in (pair.split("=") for pair in line.split())}


def on_device(script: str, *args: object, heapsize: str | None = None) -> dict[str, int]:
    result = run_micropython(HERE / script, *args, heapsize=heapsize, timeout=240, check=True)
    *more, last = result.stdout.splitlines()
    assert not more, result.stdout
    return figures(last)


# ---- flash ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "blocks", "torn", "second"),
    [
        (512, 64, 0, 0),
        pytest.param(512, 64, 1, 7, marks=pytest.mark.slow),
        pytest.param(4096, 24, 1, 23, marks=pytest.mark.slow),
    ],
    ids=["small blocks", "torn writes and a second cut", "blocks of an ESP32"],
)
def test_a_power_cut_at_any_flash_write_costs_nothing(
    block: int, blocks: int, torn: int, second: int
) -> None:
    seen = on_device("journal_powercut.py", block, blocks, torn, second, heapsize="2m")
    assert seen["failures"] == 0
    assert seen["cuts"] > 350
    assert seen["second_cuts"] > 100 or not second


def test_a_chip_smaller_than_the_capacity_works_as_a_ring() -> None:
    seen = on_device("journal_device.py", "full")
    assert seen["kept"] > 150
    assert (seen["whole"], seen["gap"]) == (1, 0)


def test_the_journal_lives_on_fat_too() -> None:
    seen = on_device("journal_device.py", "fat")
    assert seen == {"boot": 4, "next": 901, "clean": 1, "whole": 1}


# ---- heap and wear -------------------------------------------------------------------------


def test_the_heap_does_not_grow_over_ten_thousand_reports() -> None:
    seen = on_device("journal_device.py", "memory", heapsize="160k")
    assert seen["dropped"] > 9000
    assert seen["grown"] < 2048  # a leak of the least piece would be 288 KB


def test_a_full_journal_of_a_megabyte_takes_little_heap() -> None:
    seen = on_device("journal_device.py", "index", heapsize="4m")
    assert seen["segments"] >= 60
    assert seen["sent"] > 2900
    assert seen["grown"] < 4096


def test_a_report_costs_little_more_than_one_erase() -> None:
    seen = on_device("journal_device.py", "wear")
    assert seen["writes"] < 1200  # per 1,000 reports
    assert seen["erases"] < 1500
