"""What the fuzzers share: their options, and dice that are the same in every run."""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from typing import NamedTuple


class Fuzzing(NamedTuple):
    """goes_on: whether there is time left. seed: with it the same inputs come again."""

    seed: int
    dice: random.Random
    goes_on: Callable[[], bool]


def begin(description: str) -> Fuzzing:
    """Read --seconds and --seed, and print the seed: 1, or any with DESALINK_TEST_RANDOM=1."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        chosen = "DESALINK_TEST_RANDOM" in os.environ
        seed = random.SystemRandom().randrange(1 << 32) if chosen else 1
    print(f"seed {seed}", flush=True)
    end = time.monotonic() + options.seconds
    return Fuzzing(seed, random.Random(seed), lambda: time.monotonic() < end)
