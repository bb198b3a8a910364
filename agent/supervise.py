"""The agent as it runs: rounds of reachability, samples, delivery, and the keeping of time.

The data's way: sources -> sampler -> reporter -> journal -> delivery -> MQTT. `start.py` puts the
parts together.
"""

import asyncio
import binascii
import struct

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net.tasks import reap
from agent.wire import ids

ALIVE = ">4sIII"  # stream, boot, up, Unix time (0: not known); then CRC32
_STOP_MS = const(3000)


class App:
    """One agent of one slot. `run()` ends after `stop()`; a kill at any instant is as safe."""

    def __init__(self, board, clock, journal, link, reporter, sampler, delivery, cadence, servers):
        """cadence: [seconds of a round, of a sample, samples of a report]; servers: of SNTP, None
        if the platform's clock is to be believed."""
        self._board = board
        self._clock = clock
        self._journal = journal
        self._link = link
        self._reporter = reporter
        self._sampler = sampler
        self._delivery = delivery
        self._round_ms = cadence[0] * 1000
        self._report_samples = cadence[2]
        self._servers = servers
        self.more = ()  # coroutine functions to be run beside the agent's own
        self._stopping = asyncio.Event()
        self.running = False

    async def run(self):
        """Measure and report until stop(); then a last report, and the journal is closed."""
        self.running = True
        self._board.on_terminate(self.stop)
        tasks = []
        for part in (
            self._rounds,
            self._samples,
            self._keep_time,
            self._delivery.run,
            self._board.keep_network,
        ) + self.more:
            tasks.append(asyncio.create_task(self._guard(part)))
        try:
            await self._stopping.wait()
        finally:
            await reap(*tasks[:3])
            self._reporter.event(ids.STOPPED)
            await self._close_report()
            await self._delivery.stop(_STOP_MS)
            await reap(*tasks[3:])
            self._save_alive()
            self._journal.close()
            self.running = False

    def stop(self):
        """Ask run() to end. May be called from a signal handler of the event loop."""
        self._stopping.set()

    async def _guard(self, task):
        """An error that nobody foresaw ends one task's turn, not the agent."""
        while True:
            try:
                await task()
                return
            except Exception as e:
                interpreter.log("error:", type(e).__name__, e)
                await interpreter.sleep_ms(5000)

    async def _rounds(self):
        next_ms = self._clock.up_ms()
        while True:
            events = await self._link.round()
            self._sampler.observe()
            for kind, at, detail in events:
                self._reporter.event(kind, at, detail)
            if events:
                await self._close_report()  # the province hears of it at once, if there is a way
            self._board.feed_watchdog()
            next_ms += self._round_ms
            late = self._clock.up_ms() - next_ms
            if late >= 0:
                next_ms += late - late % self._round_ms
            await interpreter.sleep_ms(max(0, next_ms - self._clock.up_ms()))

    async def _samples(self):
        while True:
            full = await self._sampler.next()
            self._save_alive()
            if full or len(self._reporter.rows) >= self._report_samples:
                await self._close_report()

    async def _close_report(self):
        try:
            if await self._reporter.close() is not None:
                self._delivery.wake.set()
        except OSError as e:
            interpreter.log("journal:", e)

    async def _keep_time(self):
        """SNTP at start and every few hours; the platform's own clock every minute."""
        clock = self._clock
        wait = 0  # minutes
        minutes = 0
        while True:
            if self._servers is None:
                clock.set(self._board.unix_time(), ids.CLOCK_SYSTEM)
            else:
                clock.follow_system()
            if self._servers and wait <= 0 and clock.source != ids.CLOCK_SYSTEM:
                from agent.device import sntp

                wait = 1
                for server in self._servers:
                    try:
                        if clock.set(await sntp.query(server, 3000), ids.CLOCK_NTP):
                            wait = 4 * 60
                            break
                    except OSError:
                        pass
            await interpreter.sleep_ms(60000)
            self._delivery.expire()
            wait -= 1
            minutes += 1
            if minutes % 60 == 0:
                self._journal.persist()

    def _save_alive(self):
        journal = self._journal
        body = struct.pack(
            ALIVE, journal.stream, journal.boot, self._clock.up(), self._clock.now() or 0
        )
        try:
            self._board.alive_save(body + struct.pack(">I", binascii.crc32(body)))
        except OSError as e:
            interpreter.log("alive:", e)

    def clock_set(self, source, step):
        self._reporter.event(ids.CLOCK_SET, None, {1: source, 2: step})
