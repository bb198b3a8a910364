"""For MicroPython: times signatures; prints one line of JSON. Argument: how many of each."""

import asyncio
import json
import os
import sys

from agent.device import interpreter
from agent.wire import ed25519
from tests.bench import plain_ed25519


def median_ms(times, function, *args):
    took = []
    for _ in range(times):
        began = interpreter.ticks_us()
        function(*args)
        took.append(interpreter.ticks_diff(interpreter.ticks_us(), began))
    return sorted(took)[times // 2] / 1000


async def longest_pause_ms(times, signer, message):
    """For how long another task waits at most while the agent signs."""
    pauses = []

    async def watch():
        before = interpreter.ticks_us()
        while True:
            await interpreter.sleep_ms(0)
            now = interpreter.ticks_us()
            pauses.append(interpreter.ticks_diff(now, before))
            before = now

    watcher = asyncio.create_task(watch())
    found = []
    for _ in range(times):
        pauses.clear()
        await signer.sign_async(message)
        found.append(max(pauses))
    watcher.cancel()
    return sorted(found)[times // 2] / 1000  # the median: the machine has other work as well


times = int(sys.argv[1])
seed = os.urandom(32)
message = os.urandom(400)
signer = ed25519.Signer(seed)
plain = plain_ed25519.expand(seed)
if plain_ed25519.sign(plain, message) != signer.sign(message):
    raise AssertionError("the two do not agree")
print(
    json.dumps(
        {
            "sign_ms": median_ms(times, signer.sign, message),
            "plain_ms": median_ms(max(times // 5, 3), plain_ed25519.sign, plain, message),
            "pause_ms": asyncio.run(longest_pause_ms(times, signer, message)),
        }
    )
)
