"""The agent as it runs: rounds of reachability, samples, delivery, and the keeping of time.

The data's way: sources -> sampler -> reporter -> journal -> delivery -> session -> MQTT.
`start.py` puts the parts together.
"""

import asyncio
import binascii
import struct

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net.tasks import reap
from agent.wire import ids

# Stream, boot, up, Unix time (0: not known), time that has certainly passed; then CRC32.
ALIVE = ">4sIIII"
# A task that ran for so long has recovered. Where reports fail, every sample fails, each minute.
_STEADY_S = const(300)


class Supervisor:
    """One agent of one slot. `run()` ends after `stop()`; a kill at any instant is as safe."""

    def __init__(
        self, board, clock, journal, link, reporter, sampler, session, delivery, settings
    ):
        """settings: of them, "cadence.*", "clock.*" and "broker.resolvers"."""
        self._board = board
        self.clock = clock
        self.journal = journal
        self.link = link
        self.reporter = reporter
        self.sampler = sampler
        self.session = session
        self.delivery = delivery
        self._round_ms = settings["cadence.round_s"] * 1000
        self._report_samples = settings["cadence.report_samples"]
        self._quiet_samples = settings["cadence.quiet_samples"]
        # Of SNTP; None: the platform's clock is to be believed.
        self.servers = None if settings["clock.source"] == "system" else settings["clock.ntp"]
        self._resolvers = settings["broker.resolvers"]
        self.more = ()  # coroutine functions to be run beside the agent's own
        self._stopping = asyncio.Event()
        self._error = None
        self.running = False

    async def run(self):
        """Measure and report until stop(); then a last report, and the journal is closed.

        Returns None, or a sentence: a part fails again and again, only a new start can help."""
        self.running = True
        self._board.on_terminate(self.stop)
        tasks = []
        for part in (
            self._rounds,
            self._samples,
            self._keep_time,
            self.session.run,
            self._board.keep_network,
        ) + self.more:
            tasks.append(asyncio.create_task(self._guard(part)))
        try:
            await self._stopping.wait()
        finally:
            await reap(*tasks[:3])
            try:
                self.reporter.event(ids.STOPPED)
                await self._close_report()
            except Exception as e:  # as a lack of memory: the journal must be closed all the same
                interpreter.log("report:", type(e).__name__, e)
            await self.delivery.drain(3000)
            await self.session.leave()
            await reap(*tasks[3:])
            self.save_alive()
            self.journal.close()
            self.running = False
        return self._error

    def stop(self):
        """Ask run() to end. May be called from a signal handler of the event loop."""
        self._stopping.set()

    async def _guard(self, task):
        """An error that nobody foresaw ends one task's turn, not the agent, unless it comes again
        and again."""
        failures = 0
        while failures < 12:  # then only a new start may help
            began = self.clock.up()
            try:
                await task()
                return
            except Exception as e:
                error = e
            failures = 1 if self.clock.up() - began >= _STEADY_S else failures + 1
            try:
                interpreter.log("error:", type(error).__name__, error)
            except MemoryError as e:
                # There is no memory even for that. If an interrupt has left the heap locked, there
                # will be none: then __main__.py ends the agent.
                if e.args and "locked" in e.args[0]:
                    raise
            except Exception:
                pass
            await interpreter.sleep_ms(5000)
        self._error = "%s, %d times in a row: restart it" % (type(error).__name__, failures)
        self.stop()

    async def _rounds(self):
        wait_ms = self.clock.up_ms()
        while True:
            events = await self.link.round()
            self.sampler.observe()
            for kind, at, detail in events:
                self.reporter.event(kind, at, detail)
            if events or self._quiet_samples and self.reporter.has_events:
                await self._close_report()  # the province shall know at once
            if self.clock.up() - self.session.beat < 300:
                self._board.feed_watchdog()
            wait_ms += self._round_ms
            late = self.clock.up_ms() - wait_ms
            if late >= 0:
                wait_ms += late - late % self._round_ms
            await interpreter.sleep_ms(max(0, wait_ms - self.clock.up_ms()))

    async def _samples(self):
        while True:
            full = await self.sampler.next()
            self.save_alive()
            if full or len(self.reporter.rows) >= self._samples_a_report():
                await self._close_report()

    def _samples_a_report(self):
        """How many samples the next report takes: more while all is well, if so configured."""
        if not self._quiet_samples:
            return self._report_samples
        if self.sampler.changed:
            return 1
        return self._quiet_samples if self.sampler.well else self._report_samples

    async def _close_report(self):
        try:
            if await self.reporter.close() is not None:
                self.delivery.wake.set()
        except OSError as e:
            interpreter.log("journal:", e)

    async def _keep_time(self):
        """SNTP at start and every few hours; the platform's own clock every minute."""
        clock = self.clock
        wait = 0  # minutes
        count = 0
        while True:
            if self.servers is None:
                clock.set(self._board.unix_time(), ids.CLOCK_SYSTEM)
            else:
                clock.follow_system()
            if self.servers and wait <= 0 and clock.source != ids.CLOCK_SYSTEM:
                from agent.net import sntp

                certain = await sntp.synchronise(clock, self.servers, self._resolvers)
                wait = 4 * 60 if certain else 1
            await interpreter.sleep_ms(60000)
            self.delivery.expire()
            wait -= 1
            count += 1
            if count % 60 == 0:
                self.journal.persist()

    def save_alive(self):
        """Write down that the agent is alive now: the next start reports it."""
        journal = self.journal
        body = struct.pack(
            ALIVE,
            journal.stream,
            journal.boot,
            self.clock.up(),
            self.clock.now() or 0,
            self.clock.certain(),
        )
        try:
            self._board.alive_save(body + struct.pack(">I", binascii.crc32(body)))
        except OSError as e:
            interpreter.log("alive:", e)

    def clock_set(self, source, step):
        self.reporter.event(ids.CLOCK_SET, None, {1: source, 2: step})
