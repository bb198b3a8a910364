"""Runs a simulation: villages in several processes, their messages in one order, into a store."""

from __future__ import annotations

import heapq
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from multiprocessing.connection import Connection
from typing import Protocol

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.simulate.delivery import Arrival, arrivals
from host_tools.simulate.truth import Truth
from host_tools.simulate.world import ChosenVillage, SimulationSettings, World

_BATCH = 500  # messages between processes
_MOST = 5000  # messages in one transaction

Progress = Callable[[int, int], None]


class Store(Protocol):
    """Where messages go."""

    def store(self, at: int, arrivals: Sequence[Arrival]) -> None:
        """Take what arrives at one moment, Unix time."""


def run(
    settings: SimulationSettings,
    places: Sequence[ChosenVillage],
    store: Store,
    *,
    workers: int | None = None,
    progress: Progress = lambda at, messages: None,
) -> list[str]:
    """Simulate the whole time, and store all that arrives.

    Args:
        workers: processes beside this one; one per core if None, 0: all in this one.
        progress: called after each batch with the simulated time and how many messages arrived.

    Returns:
        The villages' lines for the file of the truth, in the order of the villages.

    Raises:
        StoreError: from the store.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    workers = min(workers, len(places))
    truths: dict[int, str] = {}
    if workers:
        with _Workers(settings, places, workers, truths) as streams:
            _drain(streams, store, progress)
    else:
        _drain([_work(settings, places, range(len(places)), truths)], store, progress)
    return [truths[index] for index in range(len(places))]


def _drain(streams: Sequence[Iterator[Arrival]], store: Store, progress: Progress) -> None:
    total = 0
    for at, group in groupby(heapq.merge(*streams), key=lambda arrival: arrival.at):
        batch = list(group)
        for first in range(0, len(batch), _MOST):
            store.store(at, batch[first : first + _MOST])
        total += len(batch)
        progress(at, total)


def _work(
    settings: SimulationSettings,
    places: Sequence[ChosenVillage],
    indices: Sequence[int],
    truths: dict[int, str],
) -> Iterator[Arrival]:
    """The messages of some villages in order; at the end their truth."""
    world = World(settings, places)
    villages = [world.village(index) for index in indices]
    found = [Truth(village) for village in villages]
    yield from heapq.merge(*map(arrivals, villages, found))
    truths.update((index, truth.line()) for index, truth in zip(indices, found, strict=True))


def _serve(
    settings: SimulationSettings,
    places: Sequence[ChosenVillage],
    indices: Sequence[int],
    pipe: Connection,
) -> None:
    truths: dict[int, str] = {}
    batch: list[Arrival] = []
    try:
        for arrival in _work(settings, places, indices, truths):
            batch.append(arrival)
            if len(batch) == _BATCH:
                pipe.send(batch)
                batch = []
        pipe.send(batch)
        pipe.send(truths)
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the process that reads has ended, and says why


class _Workers:
    """Processes that simulate villages; each gives its messages as an iterator."""

    def __init__(
        self,
        settings: SimulationSettings,
        places: Sequence[ChosenVillage],
        count: int,
        truths: dict[int, str],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._truths = truths
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(count):
            ours, theirs = context.Pipe(duplex=False)
            indices = range(number, len(places), count)
            process = context.Process(
                target=_serve, args=(settings, places, indices, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> list[Iterator[Arrival]]:
        return [self._messages(pipe) for pipe in self._pipes]

    def _messages(self, pipe: Connection) -> Iterator[Arrival]:
        try:
            while isinstance(batch := pipe.recv(), list):
                yield from batch
        except EOFError:
            raise DesalinkError(
                _(
                    "A process of the simulation has ended early, perhaps for want of memory; "
                    "delete the directory, and simulate fewer villages or use a larger machine."
                )
            ) from None
        self._truths.update(batch)

    def __exit__(self, *_error: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()
            process.join()
