"""The villages' surroundings as one process: `python -m host_tools.demo.world`.

Apart from the demo itself, so that drawing a table does not delay packets. The first line of its
input describes each slot (JSON, `Site.surroundings`) and is answered by one line with the ports of
each. After it a line is `cut SLOT` or `mend SLOT`, answered by `ok`. When its input ends, the demo
is gone, and so is the world.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from host_tools.demo.provider import Uplink
from host_tools.demo.village import DemoVillage

_TICK_S = 0.5


def _say(text: str) -> None:
    print(text, flush=True)


async def _live(villages: dict[str, DemoVillage], uplinks: dict[str, Uplink]) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        for slot, village in villages.items():
            village.live(time.time(), _TICK_S, not uplinks[slot].cut)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    description: dict[str, Any] = json.loads(await lines.readline())
    villages: dict[str, DemoVillage] = {}
    uplinks: dict[str, Uplink] = {}
    ports = {}
    for slot, given in description.items():
        villages[slot] = DemoVillage(Path(given["folder"]), given["busy"], given["capacity"])
        villages[slot].build(time.time())
        uplinks[slot] = Uplink(given["delay"], given["jitter"], tuple(given["broker"]))
        ports[slot] = await uplinks[slot].open()
    _say(json.dumps(ports))
    living = loop.create_task(_live(villages, uplinks))
    while line := (await lines.readline()).decode().split():
        uplinks[line[1]].set_cut(line[0] == "cut")
        _say("ok")
    living.cancel()


if __name__ == "__main__":
    # A Ctrl-C in the terminal is for the demo, which closes our input in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_main())
