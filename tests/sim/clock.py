"""The simulated clock of day.py, for both interpreters; importing it puts it in the agent's place.

Small, and apart from day.py: what is left of this on the heap is code, not the code that made it.
"""

import gc
import sys

try:
    from agent import base as interpreter  # as released
except ImportError:
    from agent.device import interpreter

_MINUTE_MS = interpreter.const(60000)
_GRACE_MS = interpreter.const(60000)  # of real time, for a broker that owes an answer

commands = {}  # line from whoever started this: what to do

jumped_ms = 0  # by how much the simulated clock is ahead of the real one
_real_ms = interpreter.ticks_ms
_real_us = interpreter.ticks_us
_all_bits = interpreter.ticks_add(0, -1)  # of a tick; on a 32-bit port they wrap every 18 minutes
_behind_ms = _behind_us = 0  # ticks: how far the real clock is behind, counted down from 0
_ends = None  # ticks of this minute's end
_minute = 0
_client = None
_bytes = 0, 0  # of MQTT, in and out
_owing = False
_since = _real_ms()  # when they changed


def ticks_ms():
    return interpreter.ticks_diff(_real_ms(), _behind_ms) & _all_bits


def ticks_us():
    return interpreter.ticks_diff(_real_us(), _behind_us) & _all_bits


def say(what, value):
    sys.stdout.write(f"{what} {value}\n")
    if not interpreter.MICROPYTHON:
        sys.stdout.flush()


def heap():
    gc.collect()
    say("heap", gc.mem_alloc())


def started(stop):
    """The agent is complete and about to run; `stop` asks it to end."""
    # Only now: nothing is imported earlier than it would be.
    try:
        from agent import core as mqtt  # as released
    except ImportError:
        from agent.net import mqtt

    commands["stop\n"] = stop
    connect = mqtt.Client.connect

    def connecting(client):
        global _client
        _client = client
        return connect(client)

    mqtt.Client.connect = connecting


def look():
    """Note what the agent and the broker have said to each other since the last call."""
    global _owing, _since, _bytes
    if _client:
        now = _client.bytes_in, _client.bytes_out
        if now != _bytes:
            _owing = _bytes[1] != now[1]  # else the broker has just answered
            _since = _real_ms()
            _bytes = now


def owed(streams):
    """Whether to wait for the broker in real time. `streams`: whether a stream is waited for."""
    if not (_client and streams) or interpreter.ticks_diff(_real_ms(), _since) > _GRACE_MS:
        return False
    return _owing or not _client.connected or _client.in_flight > 0


def _advance(ms):
    global jumped_ms, _behind_ms, _behind_us
    jumped_ms += ms
    _behind_ms = interpreter.ticks_add(_behind_ms, -ms)
    _behind_us = interpreter.ticks_add(_behind_us, -1000 * ms)


def jump(ms):
    """Nothing happens for so long: let time pass, up to the end of the minute at most."""
    global _minute, _ends
    now = ticks_ms()
    if _ends is None:
        _ends = interpreter.ticks_add(now, _MINUTE_MS)
    left = interpreter.ticks_diff(_ends, now)
    if ms < left:
        _advance(ms)
        return
    _advance(max(left, 0))
    _ends = interpreter.ticks_add(_ends, _MINUTE_MS)
    _minute += 1
    say("minute", _minute)
    while True:
        line = sys.stdin.readline()
        if line == "\n":
            return
        commands.get(line, sys.exit)()  # the end of the input as well: nobody is there any more


commands["heap\n"] = heap
interpreter.ticks_ms = ticks_ms
interpreter.ticks_us = ticks_us

if interpreter.MICROPYTHON:
    from asyncio import core

    _wait = core.IOQueue.wait_io_event
    _polled = ticks_ms()

    def _wait_io_event(queue, ms):
        # With a TLS stream in it this poller sleeps a real millisecond at least, so don't ask it
        # often; ms is below 0 when there is no timer.
        global _polled
        look()
        if ms < 0 or owed(queue.map):
            _wait(queue, 10 if ms < 0 else min(ms, 10))
            return
        if interpreter.ticks_diff(ticks_ms(), _polled) > 1000:
            _polled = ticks_ms()
            _wait(queue, 0)
            ms = interpreter.ticks_diff(core._task_queue.peek().ph_key, _polled)
        if ms > 0:
            jump(ms)

    core.IOQueue.wait_io_event = _wait_io_event
    core.ticks = ticks_ms
