"""What fits the heap of a board: refused before the boat leaves."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from host_tools.devices.boards import Board, all_boards, load_board
from host_tools.devices.heap import HeapError, check_heap, need_kib
from tests.bench.agent_ram import SECTIONS
from tests.support import ROOT

SNMP = {"host": "192.168.1.1"}
WHERE = "sites.toml, slot 6403112001-1 (Bohe Silian)"


def with_heap(kib: int) -> Board:
    return replace(load_board("esp32-generic"), budgets={"heap_bytes": kib * 1024})


def test_the_table_has_the_agent_and_each_of_its_sources_both_ways():
    table = tomllib.loads((ROOT / "boards" / "_esp32" / "heap.toml").read_text())
    assert set(table) == {"mpy", "romfs"}
    for kind, rows in table.items():
        assert set(rows) == {"board", "base", "portal", "budget", "all", *SECTIONS}
        assert min(rows.values()) == rows.pop("board")
        assert min(rows.values()) == rows["base"]
        assert all(table["romfs"][part] < table["mpy"][part] for part in rows), kind


def test_the_agent_without_sources_fits_every_board_as_published():
    for board in all_boards():
        check_heap(board, {}, romfs=False, where=WHERE)


def test_with_romfs_a_board_without_psram_has_room_for_any_configuration():
    config = {
        "link": {"portal": "example.org/"},
        "budget": {"month_mb": 100},
        "usage": dict.fromkeys(SECTIONS, {}),
    }
    for board in all_boards():
        check_heap(board, config, romfs=True, where=WHERE)


def test_parts_add_up_and_several_sources_count_as_all_of_them():
    board = load_board("esp32-generic")
    table = tomllib.loads((ROOT / "boards" / "_esp32" / "heap.toml").read_text())["mpy"]
    own = table["board"]
    assert need_kib(board, {"usage": {"interface": "wlan0"}}, romfs=False) == own + table["base"]
    assert need_kib(board, {"usage": {"snmp": SNMP}}, romfs=False) == own + table["snmp"]
    two = {"usage": {"snmp": SNMP, "starlink": {}}, "budget": {"month_mb": 100}}
    expected = own + table["all"] + table["budget"] - table["base"]
    assert need_kib(board, two, romfs=False) == expected


@pytest.mark.parametrize(
    ("romfs", "advice"), [(False, "Use firmware with ROMFS"), (True, "fewer")]
)
def test_a_configuration_that_does_not_fit_is_refused_with_what_where_and_what_to_do(
    romfs, advice
):
    config = {"usage": {"snmp": SNMP}, "link": {"portal": "example.org/"}}
    need = need_kib(with_heap(0), config, romfs)
    check_heap(with_heap(need), config, romfs, WHERE)
    with pytest.raises(HeapError) as refused:
        check_heap(with_heap(need - 1), config, romfs, WHERE)
    sentence = str(refused.value)
    assert sentence.startswith(
        f"{WHERE}: the agent with portal, snmp needs {need} KiB of memory on esp32-generic, "
        f"which has about {need - 1} KiB. "
    )
    assert advice in sentence and ("ROMFS" in sentence) != romfs


def test_a_board_with_psram_has_room_for_all():
    config = {"usage": dict.fromkeys(SECTIONS, {}), "board": {"psram": True}}
    check_heap(with_heap(1), config, romfs=False, where=WHERE)
