"""From the journal to the province: what to send next, and what an ack changes.

The promise is docs/wire.md, "Delivery". In short: PUBACK is not "stored"; only an ack is. Newest
first. A report is sent again only when an ack shows that it was lost on the way.
"""

import asyncio

from agent.device import interpreter
from agent.device.interpreter import const
from agent.journal.stream import JournalError
from agent.province.acks import read_ack, still_under_way
from agent.wire import cbor, ids

_ACK_MS = const(10000)  # so long a run's first report waits for an ack
_RESEND_S = const(6 * 3600)  # without any ack for so long, what was sent counts as lost


class Delivery:
    """Drains the journal through a session. Set `wake` (an Event) after an append.

    proved: number of the session's last connection over which a report went that was stored."""

    def __init__(self, session, journal, clock, reporter):
        """reporter: under its lock reports are issued again in a new stream (reissue.py)."""
        self._session = session
        self._journal = journal
        self._clock = clock
        self._reporter = reporter
        self._sent = []  # (stream, seq, conn) in the order of sending, not known to be stored
        self._heard = 0  # up of the last ack
        self._resend_s = _RESEND_S
        self._publishing = 0  # PUBLISH packets that wait for their PUBACK
        self.proved = 0
        self.answered = False  # by an ack to a birth of this run
        self.wake = asyncio.Event()
        session.topics[session.base + "ack"] = self._on_ack
        session.work.append(self._deliver)

    async def drain(self, timeout_ms):
        """Wait until everything in the journal was handed to the broker, at most `timeout_ms`."""
        began = interpreter.ticks_ms()
        while interpreter.since(began) < timeout_ms:
            if not self._session.connected or not self._publishing and self._next()[1] is None:
                return
            await interpreter.sleep_ms(20)

    async def _deliver(self):
        """Hand reports to the broker, several at a time, and wait until there are more.

        Any other exception than the journal's ends the connection; the next one goes on."""
        self._heard = self._clock.up()
        self._publishing = 0
        left = _ACK_MS
        while left > 0 and not self.answered:
            # What the province has under these seqs may not be what is here: wait for its ack.
            await interpreter.sleep_ms(100)
            left -= 100
        self.answered = True
        while True:
            self.wake.clear()
            try:
                await self._hand_over()
            except JournalError as e:
                interpreter.log("journal:", e)
                await interpreter.sleep_ms(5000)  # the storage did not answer
                self.wake.set()
            await self.wake.wait()

    async def _hand_over(self):
        if self._journal.reissue:
            from agent.journal.reissue import reissue

            await reissue(self._reporter)
            self.wake.set()  # there may be more
        # Four packets in flight fill a satellite's round trip.
        while self._publishing < 4 and not self._session.hold:
            seq, message = self.take_next()
            if seq is None:
                break
            if message:
                self._session.start(self._publish, message)
                self._publishing += 1

    async def _publish(self, message):
        try:
            await self._session.client.publish(self._session.base + "report", message, 1)
        finally:
            self._publishing -= 1
            self.wake.set()

    def take_next(self):
        """(seq, bytes) of the next report to send, noted as sent. Bytes are None if the medium
        has lost it (the journal adds a drop event), seq is None if there is nothing to send."""
        held, seq = self._next()
        if seq is None:
            return None, None
        message = held.read(seq)
        if message:
            if held is self._journal:
                held.sending(seq)
            self._sent.append((held.stream, seq, self._session.number))
        return seq, message

    def _next(self):
        """The newest report that is neither stored nor under way: (stream, seq or None)."""
        journal = self._journal
        if len(self._sent) < 64:  # else wait for the province's acks
            for held in (journal, journal.previous):
                if held:
                    found = []
                    for stream, seq, _ in self._sent:
                        if stream == held.stream:
                            found.append(seq)
                    seq = held.newest_unstored(skip=found)
                    if seq is not None:
                        return held, seq
            return journal, None
        # The window is full. The newest goes out all the same: if the rest was lost on the way,
        # only an ack of something that was sent later can show it.
        seq = journal.newest
        if not seq or journal.is_stored(seq):
            return journal, None
        for stream, sent, _ in self._sent:
            if sent == seq and stream == journal.stream:
                return journal, None
        del self._sent[0]
        return journal, seq

    def expire(self):
        """Count as lost what was sent long ago and never acknowledged; call it every minute."""
        if not self._session.connected or not self._sent:
            return
        if self._clock.up() - self._heard > self._resend_s:
            # The broker took them, and no ack ever came.
            self._sent = []
            self._heard = self._clock.up()
            self._resend_s = min(2 * self._resend_s, 86400)
            self.wake.set()

    def _on_ack(self, payload, retain):
        journal = self._journal
        try:
            stream, seq, ranges, unix, answers = read_ack(cbor.loads(payload))
        except ValueError as e:
            interpreter.log("ack: refused:", e)
            return
        answers = answers == [journal.boot, self._session.number]
        live = answers or not retain  # a retained one may be older than what is known
        if live:
            self._clock.set(unix, ids.CLOCK_ACK)
        self.answered = self.answered or answers
        journal.whole = False
        if stream == journal.stream and not journal.knows(seq, ranges):
            # The province holds reports that were never sent from here.
            interpreter.log("journal: its tail was lost: a new stream begins")
            journal.new_stream()
            self.answered = True  # the province has nothing of it
        journal.mark_stored(seq, ranges, stream, not live)
        journal.whole = True
        self._heard = self._clock.up()
        self._resend_s = _RESEND_S
        if live:
            for stream, seq, number in self._sent:
                if self.is_stored(stream, seq):
                    self.proved = max(self.proved, number)
        self._sent = still_under_way(
            self._sent, self.is_stored, self._session.number if answers else 0, live
        )
        self.wake.set()

    def is_stored(self, stream, seq):
        """Stored, or of a stream that is not kept any more."""
        for held in (self._journal, self._journal.previous):
            if held and held.stream == stream:
                return held.is_stored(seq)
        return True
