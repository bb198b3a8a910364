"""From the journal to the province: what to send next, and what an ack says of it.

The promise is docs/wire.md, "Delivery". In short: PUBACK is not "stored"; only an ack is. Newest
first. A report is sent again only when an ack shows that it was lost on the way.
"""

import asyncio

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net.errors import CERTIFICATE
from agent.net.tasks import reap, within
from agent.link.probes import classify
from agent.wire import cbor, cose
from agent.wire import ids

_UNSTORED_MAX = const(64)  # reports sent and not yet acknowledged: then wait for the province
_PUBLISHING_MAX = const(4)  # PUBLISH packets in flight: fills a satellite's round trip
_ACK_MS = const(10000)  # so long a run's first report waits for the province's word
_RESEND_S = const(6 * 3600)  # without any ack for so long, what was sent counts as lost
_RESEND_MAX_S = const(24 * 3600)
_BACKOFF_MS = const(2000)
_STEADY_MS = const(60000)  # a connection that lasted so long ends the backoff


class Delivery:
    """Keeps one connection to the province and drains the journal through it.

    base: the slot's topics up to their last word; birth: the part of a birth that does not change.
    Set `wake` (an Event) when something was appended to the journal. `connected`; `probe` is the
    PROBE_ number of the province's broker, None until the first attempt has ended."""

    def __init__(self, base, journal, clock, signer, client, birth, backoff_max_s):
        self._base = base
        self._journal = journal
        self._clock = clock
        self._signer = signer
        self._client = client
        self._birth = birth
        self._backoff_max_ms = backoff_max_s * 1000
        self._sent = []  # (stream, seq, conn) in the order of sending, not known to be stored
        self._heard = 0  # up of the last ack
        self._resend_s = _RESEND_S
        self._conn = 0
        self._task = None  # greets, then delivers
        self._publishing = []  # tasks that await their PUBACK
        self._told = False  # by an ack that answers a birth of this run
        self.reporter = None  # under whose lock reports are made again
        self.wake = asyncio.Event()
        self.connected = False
        self.probe = None
        self.attempts = 0  # to connect, those that have ended
        self.stage = ""  # how far the last failed connection came
        self.hold = False  # while nothing may be sent
        self.hurry_ms = 0  # wait at most so long before the next attempt; 0: as the backoff says
        client.on_message = self._on_message

    async def run(self):
        """Connect, deliver, reconnect with exponential backoff and full jitter; never returns."""
        attempt = 0
        while True:
            while self.hold:
                await interpreter.sleep_ms(1000)
            began = interpreter.ticks_ms()
            try:
                await self._session()
            except OSError as e:
                self.probe = _failure(e)
                self.stage = getattr(e, "stage", "")
                self.attempts += 1
                interpreter.log("broker:", e)
            # Below 0 after days: more than half of the ticks' period.
            if 0 <= interpreter.ticks_diff(interpreter.ticks_ms(), began) <= _STEADY_MS:
                attempt += 1
            else:
                attempt = 0
            limit = min(self._backoff_max_ms, _BACKOFF_MS << min(attempt, 16))
            left = interpreter.random_below(limit)
            while left > 0:
                if 0 < self.hurry_ms < left:
                    left = interpreter.random_below(self.hurry_ms)
                await interpreter.sleep_ms(min(left, 1000))
                left -= 1000

    @property
    def answered(self):
        """Whether the broker has answered the last `ping`."""
        return not self._client.pinging

    def ping(self):
        """Ask the broker for a sign of life."""
        self._client.ping()

    async def stop(self, timeout_ms):
        """Wait until everything in the journal was handed to the broker, at most `timeout_ms`.
        Then say goodbye in order, so that the broker need not send the will."""
        deadline = interpreter.ticks_add(interpreter.ticks_ms(), timeout_ms)
        while self.connected and interpreter.ticks_diff(deadline, interpreter.ticks_ms()) > 0:
            if self._next()[1] is None and not self._publishing:
                break
            await interpreter.sleep_ms(20)
        if self.connected:
            try:
                await within(1000, self._client.publish(self._base + "state", b"offline", 1, True))
                await self._client.disconnect(1000)
            except OSError:
                pass

    async def _session(self):
        client = self._client
        await client.connect()
        self._conn += 1
        # A publish whose PUBACK never comes goes on waiting over the connection's end, so
        # nothing is published in this task, which is the one that reconnects.
        self._task = asyncio.create_task(self._greet())
        try:
            await client.wait_closed()
            raise client.error
        finally:
            self.connected = False
            await reap(self._task, *self._publishing)
            self._publishing = []
            if client.connected:
                await client.disconnect()

    async def _greet(self):
        client = self._client
        try:
            # Also into a session that the broker kept: that is what brings the retained ack.
            await client.subscribe([(self._base + "ack", 0)])
            birth = self._birth
            birth[1] = self._journal.stream
            birth[2] = self._journal.boot
            birth[3] = self._conn
            birth[4] = self._clock.up()
            birth[5] = self._clock.now()
            birth[10] = self._journal.next_seq
            topic = self._base + "birth"
            message = await cose.sign1_async(self._signer, cbor.dumps(birth), topic.encode())
            await client.publish(topic, message, 1, True)
            await client.publish(self._base + "state", b"online", 1, True)
        except OSError as e:
            interpreter.log("broker:", e)
            await client.close()
            return
        self.connected = True
        self.probe = ids.PROBE_OK
        self._heard = self._clock.up()
        interpreter.log("broker: connected")
        self._task = asyncio.create_task(self._deliver())

    async def _deliver(self):
        """Hand reports to the broker, several at a time, and wait until there are more."""
        left = _ACK_MS
        while left > 0 and not self._told:
            # What it has under these seqs, or still under way, may not be what is here: better to
            # know before more is sent.
            await interpreter.sleep_ms(100)
            left -= 100
        self._told = True
        while True:
            self.wake.clear()
            if self.reporter and self._journal.again:
                await self._make_again()
            while len(self._publishing) < _PUBLISHING_MAX and self._client.connected:
                if self.hold:
                    break
                held, seq = self._next()
                if seq is None:
                    break
                try:
                    message = held.read(seq)
                except (OSError, MemoryError) as e:
                    interpreter.log("journal:", e)
                    await interpreter.sleep_ms(5000)
                    continue
                if message is None:
                    continue  # the medium lost it: the journal tells so by a drop event
                if held is self._journal:
                    held.sending(seq)
                self._sent.append((held.stream, seq, self._conn))
                self._publishing.append(asyncio.create_task(self._publish(message)))
            await self.wake.wait()

    async def _make_again(self):
        from agent.journal.reissue import make_again

        try:
            await make_again(self.reporter)
        except (OSError, MemoryError) as e:
            interpreter.log("journal:", e)
            await interpreter.sleep_ms(5000)
        self.wake.set()  # there may be more

    async def _publish(self, message):
        try:
            await self._client.publish(self._base + "report", message, 1)
        except OSError:
            pass  # the session sees the same end; an ack will tell what arrived
        finally:
            self._publishing.remove(asyncio.current_task())
            self.wake.set()

    def _next(self):
        """The newest report that is neither stored nor under way: (stream, seq or None)."""
        journal = self._journal
        if len(self._sent) < _UNSTORED_MAX:
            for held in (journal, journal.previous):
                if held:
                    under_way = []
                    for stream, seq, _ in self._sent:
                        if stream == held.stream:
                            under_way.append(seq)
                    seq = held.newest_unstored(skip=under_way)
                    if seq is not None:
                        return held, seq
            return journal, None
        # The window is full. The newest goes out all the same: if the rest was lost on the way,
        # only an ack of something that was sent later can tell.
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
        long_ago = self._clock.up() - self._heard > self._resend_s
        if self.connected and self._sent and long_ago:
            # The broker took them and nobody ever said that they are stored.
            self._sent = []
            self._heard = self._clock.up()
            self._resend_s = min(2 * self._resend_s, _RESEND_MAX_S)
            self.wake.set()

    def _on_message(self, topic, payload, retain):
        if topic != self._base + "ack":
            return
        journal = self._journal
        try:
            stream, seq, ranges, unix, answers = _read_ack(cbor.loads(payload))
        except ValueError as e:
            interpreter.log("ack: refused:", e)
            return
        answers = answers == [journal.boot, self._conn]
        live = answers or not retain  # a retained one may be older than what is known
        if live:
            self._clock.set(unix, ids.CLOCK_ACK)
        self._told = self._told or answers
        journal.whole = False
        if stream == journal.stream and not journal.knows(seq, ranges):
            # The province holds reports that were never sent from here.
            interpreter.log("journal: its tail was lost: a new stream begins")
            journal.new_stream()
            self._told = True  # of it, the province has nothing
        journal.mark_stored(seq, ranges, stream, not live)
        journal.whole = True
        self._heard = self._clock.up()
        self._resend_s = _RESEND_S
        self._sent = still_under_way(
            self._sent, self._is_stored, self._conn if answers else 0, live
        )
        self.wake.set()

    def _is_stored(self, stream, seq):
        """Stored, or of a stream that is not kept any more."""
        for held in (self._journal, self._journal.previous):
            if held and held.stream == stream:
                return held.is_stored(seq)
        return True


def still_under_way(sent, is_stored, answered_conn, live):
    """What of `sent` [(stream, seq, conn), in order of sending] may still arrive, after an ack.

    Messages keep their order through the broker: what was sent before something that is stored,
    and is not stored itself, was lost. So was what was sent on a connection before
    `answered_conn`, if the ack answers the birth of that connection (else 0)."""
    kept = []
    for report in sent:
        if is_stored(report[0], report[1]):
            if live:
                kept = []
        elif report[2] >= answered_conn:
            kept.append(report)
    return kept


def _read_ack(ack):
    """(stream, seq, ranges, time, answered) of a decoded ack; ValueError if it is none."""
    if isinstance(ack, dict):
        stream, seq, ranges, unix = ack.get(1), ack.get(2), ack.get(3, []), ack.get(4)
        good = isinstance(stream, bytes) and len(stream) == 4 and _uint(seq) and _uint(unix)
        if good and isinstance(ranges, list) and len(ranges) <= 16:
            last = seq
            for r in ranges:
                if not (isinstance(r, list) and len(r) == 2 and _uint(r[0]) and _uint(r[1])):
                    break
                if not last < r[0] <= r[1]:
                    break
                last = r[1]
            else:
                return stream, seq, ranges, unix, ack.get(5)
    raise ValueError("malformed")


def _uint(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _failure(error):
    """The PROBE_ number for what ended or prevented a connection."""
    stage = getattr(error, "stage", "")
    if stage == "name":
        return ids.PROBE_NO_NAME
    result = classify(error.errno)
    if stage == "tls" and error.errno == CERTIFICATE:
        return ids.PROBE_CERTIFICATE
    return result
