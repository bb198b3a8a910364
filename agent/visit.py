"""What a device says to a person who comes to look, and the measuring of its site.

Loaded over the serial line or SSH while the agent does not run. Nothing secret is in an answer.
"""

import asyncio
import binascii

from agent import VERSION, prepare
from agent.device.clock import Clock
from agent.link.ladder import Link
from agent.measure.sampler import merge
from agent.net.tasks import within
from agent.province import selftest

_SOURCE_MS = 8000


class _NoSession:
    """Stands for the session, which a visit does not have."""

    probe = None
    attempts = 0
    stage = ""
    hurry_ms = 0


class Visit:
    """One visit; `close` ends it. Every answer is fit for JSON."""

    def __init__(self, path):
        """path: of the configuration. An error ends the process with a sentence, as at start."""
        settings, board = prepare.load(path)
        self._settings = settings
        self._board = board
        _, _, self._certificate = prepare.secured(path, settings, board)
        self._journal = prepare.opened(settings)
        clock = Clock(board)
        self._link = Link(settings, clock)
        self._link.broker.delivery = _NoSession()
        self._near = board.sources(clock, _ignore)
        self._sources = [
            module.make(settings, clock, _ignore)
            for module in settings["nearby"] + settings["usage"]
        ]

    def about(self):
        """What the device is and holds. `report`: its newest one, signed, in base64."""
        board = self._board
        journal = self._journal
        report = journal.read(journal.newest) if journal.newest else None
        return {
            "slot": self._settings["slot"],
            "board": board.board,
            "unique_id": board.unique_id(),
            "agent": VERSION,
            "interpreter": board.interpreter(),
            "boot": journal.boot,
            "reset_cause": board.reset_cause(),
            "clock": board.unix_time(),
            "clock_synchronised": board.clock_synchronised(),
            "certificate_end": self._certificate[2],
            "storage_free": board.storage_free(),
            "voltage": board.voltage(),
            "temperature": board.temperature(),
            "stream": str(binascii.hexlify(journal.stream), "ascii"),
            "oldest": journal.oldest,
            "newest": journal.newest,
            "stored": journal.stored,
            "waiting": journal.unstored_count,
            "fill": journal.fill,
            "report": str(binascii.b2a_base64(report), "ascii").strip() if report else None,
        }

    def network(self, unix):
        """See selftest.network."""
        return asyncio.run(selftest.network(self._settings, self._board, unix))

    def round(self, put):
        """Climb the ladder once: [cause, evidence, figures]. The cause is None if nothing could be
        asked. put: whether the figures hold this round's statistics, which then begin anew."""
        return asyncio.run(self._round(put))

    async def _round(self, put):
        cause, evidence = await self._link.climb()
        row = {}
        if put:
            self._link.put(row)
        for source in self._near:
            await source.sample(row)
        return [cause, evidence, row]

    def figures(self):
        """[figures since the last call, [name of a source of usage, whether it answers] ...]"""
        return asyncio.run(self._figures())

    async def _figures(self):
        row = {}
        self._link.put(row)
        for source in self._near:
            await source.sample(row)
        answers = []
        for source in self._sources:
            part = {}
            try:
                await within(_SOURCE_MS, source.sample(part))
            except Exception:
                pass  # it has not answered
            merge(part, row)
            answers.append([getattr(source, "name", type(source).__name__), bool(part)])
        return [row, answers]

    def close(self):
        self._journal.close()


def _ignore(metric):
    """A counter that began anew means nothing here."""
