"""From a configuration to an agent that can run, to the proof that enrols a device, or to what
provisioning tries.

What is needed once and at start only is here, in `config`, `key`, `tls` and `recovery`: modules
that are unloaded, one after the other, before the agent runs.
"""

import binascii
import hashlib
import struct
import sys

from agent import RELEASED, VERSION
from agent.device import heap
from agent.wire import ids


def fail(sentence):
    print("agent: %s" % sentence, file=sys.stderr)
    sys.exit(2)


def enrol(path):
    """Make the device's key if there is none; its proof of possession, in base64."""
    from agent.device import key

    settings, board = load(path)
    try:
        return heap.seldom("agent.device.enrolment").enrol(settings, board)
    except (OSError, key.KeyFileError) as e:
        fail(e)


def network(path, unix=0):
    """See agent/province/selftest.py. Called over the serial line, where nothing else runs."""
    import asyncio

    from agent.province import selftest

    settings, board = load(path)
    return asyncio.run(selftest.network(settings, board, unix))


# The laptop's Unix time, which provisioning sets before it asks for the first report.
laptop_time = 0


def first_report(path):
    """See agent/province/selftest.py."""
    import asyncio

    from agent.province import selftest
    from agent.wire import ids

    a = build(path)
    if laptop_time:
        # Without it a report that was made offline would have no place in time for ever.
        a.clock.set(laptop_time, ids.CLOCK_LAPTOP, False)
    report = selftest.first_report(a.journal, a.link, a.sampler, a.reporter, a.clock)
    return asyncio.run(report)


def load(path):
    """The settings and the board."""
    from agent import config

    try:
        settings = config.load(path)
    except config.ConfigError as e:
        fail(e)
    heap.unload("agent.config")
    name = settings["port"]
    try:
        return settings, _module(name).Board(settings["state_dir"], settings["board"])
    except ImportError as e:
        fail("%s: port: expected a module of this board, got %s (%s)" % (path, name, e))
    except ValueError as e:
        fail("%s: board: %s" % (path, e))


def build(path):
    """The Supervisor of the agent that the configuration asks for."""
    try:
        return _build(path)
    except ImportError as e:
        fail(
            "%s: this device's agent lacks a part (%s): use a kit whose settings have it"
            % (path, e)
        )


def _build(path):
    settings, board = load(path)
    if board.lock() is False:
        fail(
            "%s: another agent uses it: stop that one, or give each slot a state_dir of its own"
            % settings["state_dir"]
        )
    turns = None
    if settings["usage"]:
        turns = take_turns(settings["usage"])
    # All imports before the rest is made, and what takes most to compile first: that is many times
    # of what stays of it, and later so much is not free. Nothing may keep what is unloaded.
    from agent.net.mqtt import Client
    from agent.province.delivery import Delivery
    from agent.province.session import Session
    from agent.province.birth import Birth

    signer = _signer(settings["state_dir"])
    try:
        journal = _journal(settings)
        context = heap.seldom("agent.net.tls").tls_context(
            settings["broker.ca"], settings["broker.cert"], settings["broker.key"]
        )
        with open(path, "rb") as f:
            digest = hashlib.sha256(f.read()).digest()[:8]
    except OSError as e:
        fail(e)
    counted = settings["budget.month_mb"] is not None or settings["throughput.url"]
    if counted:
        from agent.measure import budget
    from agent.supervise import Supervisor
    from agent.measure.report import Reporter
    from agent.measure.sampler import Sampler
    from agent.link.ladder import Link
    from agent.device.clock import Clock

    if not turns:
        for module in settings["usage"]:
            for line in getattr(module, "NEEDS", "").split("\n"):
                key, _, name = line.partition(" ")
                if settings.get(key):
                    __import__("agent.sources." + name)
    slot = settings["slot"]
    base = "desa/1/%s/%s/" % (slot[:4], slot)
    clock = Clock(board)
    link = Link(settings, clock)
    reporter = Reporter(journal, clock, signer, base + "report", link.busy)
    client = Client(
        settings["broker.host"],
        settings["broker.port"],
        slot,
        tls=context,
        server_hostname=settings["broker.server_name"] or settings["broker.host"],
        keepalive_s=settings["broker.keepalive_s"],
        will=(base + "state", b"offline", 1, True),
        resolvers=settings["broker.resolvers"],
    )
    session = Session(base, clock, client, settings["broker.backoff_max_s"])
    cadence = [settings["cadence." + name] for name in ("round_s", "sample_s", "report_samples")]
    fields = {6: board.board, 7: VERSION, 8: board.interpreter(), 9: board.reset_cause()}
    fields[11] = cadence
    fields[12] = digest
    birth = Birth(session, journal, clock, signer, fields)
    delivery = Delivery(session, journal, clock, reporter)
    link.broker.delivery = session
    sampler = Sampler(cadence[1], board, clock, journal, link, reporter)
    books = None
    try:
        sampler.sources = _sources(settings, board, clock, sampler, turns, link.busy)
        if counted:
            books = budget.make(settings, clock, link, reporter, sampler, session, client)
    except ValueError as e:
        fail("%s: %s" % (path, e))
    agent = Supervisor(
        board, clock, journal, books or link, reporter, sampler, session, delivery, settings
    )
    if books:
        agent.more = (books.run,)
    _report_start(board, clock, journal, reporter)
    clock.on_set = agent.clock_set
    heap.built(
        agent, clock, journal, link, reporter, sampler, session, birth, delivery, client, signer,
        link.broker, link.outages, link.quality, link.names, link.upstream,
    )  # fmt: skip
    settings.clear()  # the collector looks for pointers in what is left of the stack, too
    return agent


def _journal(settings):
    from agent.journal.journal import Journal

    journal = Journal(
        settings["state_dir"] + "/journal",
        settings["journal.capacity"],
        settings["journal.segment"],
    )
    journal.open()
    heap.unload("agent.journal.recovery")
    heap.unload("agent.journal.new_stream")
    return journal


def _module(name):
    """The board's module. Older configurations say "boards.a.port" for "boards.a.board", or for
    "boards._a.board" where boards share it."""
    if name[-5:] == ".port":
        name = name[:-4] + "board"
        try:
            return __import__(name, None, None, ("Board",))
        except ImportError:
            name = name.replace(".", "._", 1)
    return __import__(name, None, None, ("Board",))


def _signer(folder):
    from agent.device import key

    try:
        signer = key.load(folder)
    except key.KeyFileError as e:
        fail(e)
    if signer is None:
        fail("%s: no device key yet: enrol this device first (--enrol)" % folder)
    heap.unload("agent.device.key")
    return signer


def take_turns(modules):
    """The module agent.sources.turns if the sources are to take turns; then `modules` holds names
    only, and the modules are unloaded. Else None.

    With one source nothing is gained. A source file would be compiled each time that it is loaded:
    a full heap has no room for that."""
    if len(modules) < 2 or getattr(modules[0], "__file__", "")[-4:] != ".mpy":
        return None
    from agent.sources import turns

    modules[:] = [module.__name__ for module in modules]
    turns.unload_sources()
    return turns


def _sources(settings, board, clock, sampler, turns, busy):
    """The sources of samples that the configuration asks for, in the order in which they write.
    Raises ValueError."""
    on_reset = sampler.counter_reset
    sources = list(board.sources(clock, on_reset))
    modules = settings["nearby"] + ([] if turns else settings["usage"])
    sources += [module.make(settings, clock, on_reset) for module in modules]
    if turns:
        sources.append(turns.Turns(settings, clock, sampler, busy))
    for module in modules:
        module.KEYS = module.make = None  # not needed again
    return sources


def _report_start(board, clock, journal, reporter):
    """The first event: why this start, and when the run before was last alive."""
    from agent.supervise import ALIVE

    detail = {1: board.reset_cause(), 4: journal.clean}
    floor = RELEASED
    saved = board.alive_load()
    size = len(saved) - 4 if saved else 0
    # Before 0.2 a record had no floor of its own.
    if size in (struct.calcsize(ALIVE), struct.calcsize(ALIVE) - 4):
        if struct.pack(">I", binascii.crc32(saved[:size])) == saved[size:]:
            stream, boot, up, unix = struct.unpack(ALIVE[:-1], saved[:16])
            detail[2] = [boot, up]
            if stream != journal.stream and not journal.newest:
                journal.before = stream  # nothing of it is left here
            if unix:
                detail[3] = unix
            floor = max(floor, struct.unpack(">I", saved[size - 4 : size])[0])
    clock.raise_floor(floor)
    if hasattr(board, "storage_lost") and board.storage_lost():
        detail[5] = True
    reporter.event(ids.BOOTED, 0, detail)
