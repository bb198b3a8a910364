"""How long a signature takes on real MicroPython."""

import json

from tests import support


def run(quick: bool = False) -> dict[str, float]:
    """Sign messages of 400 bytes.

    Returns:
        sign_ms: median of one signature; plain_ms: of one by textbook double-and-add; pause_ms:
        how long another task waits at most while the agent signs.
    """
    script = support.ROOT / "tests" / "bench" / "signing_device.py"
    result = support.run_micropython(script, 15 if quick else 60, heapsize="1m", check=True)
    return json.loads(result.stdout)


if __name__ == "__main__":
    print(run())
