"""From a configuration to an agent that can run, or to the proof that enrols a device.

Everything that is needed once and at start only is here, in `config`, `keys`, `tls` and
`recovery`: modules that are let go of, one after the other, before the agent runs.
"""

import binascii
import hashlib
import struct
import sys

from agent.device import interpreter
from agent.device.interpreter import const

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_BOOTED = const(3)


def fail(sentence):
    print("agent: %s" % sentence, file=sys.stderr)
    sys.exit(2)


def enrol(path):
    """Make the device's key if there is none; its proof of possession, in base64."""
    from agent.device import key

    settings, port = _load(path)
    try:
        return interpreter.rare("agent.device.enrolment").enrol(settings, port)
    except (OSError, key.KeyFileError) as e:
        fail(e)


def build(path):
    """The App that the configuration asks for."""
    settings, port = _load(path)
    turns = None
    if settings["usage"]:
        from agent.sources import source

        turns = source.take_turns(settings["usage"])
    # All imports before the rest is made, and what takes most to compile first: that is many times
    # of what stays of it, and later so much is not free. What is unloaded, nobody may hold here.
    from agent.net.mqtt import Client
    from agent.province.delivery import Delivery

    signer = _signer(settings["state_dir"])
    try:
        journal = _journal(settings)
        context = interpreter.rare("agent.net.tls").tls_context(
            settings["broker.ca"], settings["broker.cert"], settings["broker.key"]
        )
        birth = _birth(path, settings, port)
    except OSError as e:
        fail(e)
    counted = settings["budget.month_mb"] is not None or settings["throughput.url"]
    if counted:
        from agent.measure import budget
    from agent.supervise import App
    from agent.measure.report import Reporter
    from agent.measure.sampler import Sampler
    from agent.link.ladder import Link
    from agent.device.clock import Clock

    if settings["usage.interface"]:
        from agent.sources import linux  # noqa: F401
    if settings["usage.leases"] or settings["usage.arp"]:
        from agent.sources import clients  # noqa: F401
    if settings.get("usage.unique.most"):
        from agent.sources import day  # noqa: F401
    if settings.get("usage.snmp.user") and not turns:
        from agent.sources import snmpv3  # noqa: F401
    slot = settings["slot"]
    base = "desa/1/%s/%s/" % (slot[:4], slot)
    clock = Clock(port)
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
    delivery = Delivery(
        base, journal, clock, signer, client, birth, settings["broker.backoff_max_s"]
    )
    link.broker.delivery = delivery
    delivery.reporter = reporter
    sampler = Sampler(settings["cadence.sample_s"], port, clock, journal, link, reporter)
    try:
        sampler.sources = _sources(settings, port, clock, sampler, turns, link.busy)
    except ValueError as e:
        fail("%s: %s" % (path, e))
    books = None
    if counted:
        try:
            books = budget.make(settings, clock, link, reporter, sampler, delivery, client)
        except ValueError as e:
            fail("%s: %s" % (path, e))
    servers = None if settings["clock.source"] == "system" else settings["clock.ntp"]
    app = App(port, clock, journal, books or link, reporter, sampler, delivery, birth[11], servers)
    if books:
        app.more = (books.run,)
    _tell_of_start(port, clock, journal, reporter)
    clock.on_set = app.clock_set
    if interpreter.MICROPYTHON:
        # One of each is enough: together these constructors take 2 KB.
        parts = app, clock, journal, link, reporter, sampler, delivery, client, signer
        parts += link.broker, link.outages, link.quality, link.names, link.upstream
        for part in parts:
            type(part).__init__ = None
    settings.clear()  # the collector looks for pointers in what is left of the stack, too
    return app


def _journal(settings):
    from agent.journal.journal import Journal

    journal = Journal(
        settings["state_dir"] + "/journal",
        settings["journal.capacity"],
        settings["journal.segment"],
    )
    journal.open()
    interpreter.unload("agent.journal.recovery")
    interpreter.unload("agent.journal.new_stream")
    return journal


def _load(path):
    """The settings and the board's port."""
    from agent import config

    try:
        settings = config.load(path)
    except config.ConfigError as e:
        fail(e)
    interpreter.unload("agent.config")
    name = settings["port"]
    try:
        module = __import__(name, None, None, ("Port",))
        return settings, module.Port(settings["state_dir"], settings["board"])
    except ImportError as e:
        fail("%s: port: expected a module of this board, got %s (%s)" % (path, name, e))
    except ValueError as e:
        fail("%s: board: %s" % (path, e))


def _signer(folder):
    from agent.device import key

    try:
        signer = key.load(folder)
    except key.KeyFileError as e:
        fail(e)
    if signer is None:
        fail("%s: no device key yet: enrol this device first (--enrol)" % folder)
    interpreter.unload("agent.device.key")
    return signer


def _sources(settings, port, clock, sampler, turns, busy):
    """The sources of samples that the configuration asks for, in the order in which they write.
    Raises ValueError."""
    on_reset = sampler.counter_reset
    sources = list(port.sources(clock, on_reset))
    if settings["usage.interface"]:
        from agent.sources.linux import Interface

        sources.append(
            Interface(
                settings["usage.proc_net_dev"],
                settings["link.sys_class_net"],
                settings["usage.interface"],
                on_reset,
            )
        )
    leases = settings["usage.leases"]
    arp = settings["usage.arp"]
    if leases or arp:
        from agent.sources.clients import Clients

        sources.append(Clients(clock, leases, arp, settings["usage.lan_interface"]))
    if turns:
        sources.append(turns.Turns(settings, clock, sampler, busy))
        return sources
    for module in settings["usage"]:
        sources.append(module.make(settings, clock, on_reset))
    for module in settings["usage"]:
        del module.KEYS, module.make  # not needed again
    return sources


def _birth(path, settings, port):
    """The part of a birth (docs/wire.md) that stays the same while the agent runs."""
    from agent import VERSION

    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).digest()[:8]
    cadence = [settings["cadence." + name] for name in ("round_s", "sample_s", "report_samples")]
    return {
        6: port.board,
        7: VERSION,
        8: port.interpreter(),
        9: port.reset_cause(),
        11: cadence,
        12: digest,
    }


def _tell_of_start(port, clock, journal, reporter):
    """The first event: why this start, and when the run before was last alive."""
    from agent.supervise import ALIVE

    detail = {1: port.reset_cause(), 4: journal.clean}
    saved = port.alive_load()
    size = struct.calcsize(ALIVE)
    if saved and len(saved) == size + 4:
        if struct.pack(">I", binascii.crc32(saved[:size])) == saved[size:]:
            stream, boot, up, unix = struct.unpack(ALIVE, saved[:size])
            detail[2] = [boot, up]
            if stream != journal.stream and not journal.newest:
                journal.before = stream  # where its files went, nobody knows
            if unix:
                detail[3] = unix
                clock.raise_floor(unix)
    if hasattr(port, "storage_lost") and port.storage_lost():
        detail[5] = True
    reporter.event(_BOOTED, 0, detail)
