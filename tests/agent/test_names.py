"""How many names (qstr) an agent makes MicroPython learn.

It keeps them in pools, each twice as large as the one before, and never forgets one. The first
pools hold 620 together, then 1,260. One name more takes the next pool at once: 4.5 KB for the one
behind 620 on 32 bits, 8 KB for the one behind 1,260, which a small heap does not have.
"""

from pathlib import Path
from typing import Any

from tests import support
from tests.agent.sources.equipment import Village
from tests.agent.sources.test_source_agent import compiled_in
from tests.bench.heap import answering
from tests.sim.run import Site, life


def names(folder: Path, more: dict[str, Any], **options: Any) -> int:
    """Of an agent that has reported; the simulation's own twenty are among them."""
    port = support.free_port()
    site = Site(folder / "site", "127.0.0.1", port, more)
    province = site.province()
    modules = [("tests.sim.names", 0), ("tests.sim.streams", 0)]
    with life(site, province, port, modules=modules, **options) as (_, device):
        while device.next_minute() < 6:
            site.village.minute(device.minute)
            province.minute(device.now)
        return device.names()


TOO_MANY = (
    "The agent has {} names and the pools hold {}. Give new things names that the agent has"
    " already, write a constant where it is used or as _NAME = const(...), make one function of"
    " two, or put a module that every agent keeps into CORE (host_tools/devices/code/files.py)."
)


def test_a_released_agent_alone_fits_the_first_pools(tmp_path: Path):
    found = names(tmp_path, {}, heapsize="1m", rom=compiled_in())
    assert found <= 620, TOO_MANY.format(found, 620)


def test_a_released_agent_with_snmp_portal_and_budget_is_far_from_the_end_of_the_next(
    tmp_path: Path,
):
    with Village(tmp_path).running() as village, answering() as page:
        more = {"usage.snmp": village.usage["snmp"], "link.portal": page, "budget.month_mb": 100}
        found = names(tmp_path, more, heapsize="1m", rom=compiled_in())
    assert found <= 700, TOO_MANY.format(found, 700)


def test_an_agent_from_source_fits_the_next_pool(tmp_path: Path):
    found = names(tmp_path, {}, heapsize="1m")
    assert found <= 1260, TOO_MANY.format(found, 1260)
