"""From a configuration to an agent that can run, to the proof that enrols a device, or to what
provisioning tries. What comes first, and is unloaded before the rest is made, is in `prepare`.
"""

from agent import VERSION
from agent.device import heap, interpreter
from agent.wire import ids


if interpreter.FROM_SOURCE:

    def _import_from_source(names):
        """To compile a module takes many times of what stays of it, and later so much is not free.
        So what takes most comes first."""
        for name in names.split():
            __import__("agent." + name)


def _prepare():
    return heap.seldom("agent.prepare")


def enrol(path):
    """Make the device's key if there is none; its proof of possession, in base64."""
    return _prepare().enrol(path)


def network(path, unix=0):
    """See agent/province/selftest.py. Called over the serial line, where nothing else runs."""
    import asyncio

    from agent.province import selftest

    settings, board = _prepare().load(path)
    return asyncio.run(selftest.network(settings, board, unix))


# The laptop's Unix time, which provisioning sets before it asks for the first report.
laptop_time = 0


def first_report(path):
    """See agent/province/selftest.py."""
    import asyncio

    from agent.province import selftest

    a = build(path)
    report = selftest.first_report(a.journal, a.link, a.sampler, a.reporter, a.clock, laptop_time)
    return asyncio.run(report)


def build(path):
    """The Supervisor of the agent that the configuration asks for."""
    try:
        return _build(path)
    except ImportError as e:
        text = "this device's agent lacks a part (%s)" % e
    except ValueError as e:
        text = e
    _prepare().fail("%s: %s" % (path, text))


def _build(path):
    if interpreter.FROM_SOURCE:
        _import_from_source("net.mqtt journal.journal link.ladder")
    prepare = _prepare()
    settings, board = prepare.load(path)
    context, digest, used = prepare.secured(path, settings, board)
    if interpreter.FROM_SOURCE:
        _import_from_source(
            "journal.recovery wire.cose measure.sampler supervise province.delivery"
            " province.session"
        )
    turns = None
    if settings["usage"]:
        turns = take_turns(settings["usage"])
    # All imports before the rest is made. Nothing may keep what is unloaded.
    from agent.net.mqtt import Client
    from agent.province.delivery import Delivery
    from agent.province.session import Session
    from agent.province.birth import BirthMessage
    from agent.province.certificate import CertificateTopic

    signer = prepare.signer_of(settings["state_dir"])
    journal = prepare.opened(settings)
    from agent.supervise import ALIVE, Supervisor

    detail, floor = prepare.booted(board, journal, ALIVE)
    del prepare
    counted = settings["budget.month_mb"] is not None or settings["throughput.url"]
    if counted:
        from agent.measure import budget
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
    topics = "desa/1/%s/%s/" % (slot[:4], slot)
    clock = Clock(board)
    link = Link(settings, clock)
    reporter = Reporter(journal, clock, signer, topics + "report", link.busy)
    client = Client(
        settings["broker.host"],
        settings["broker.port"],
        slot,
        tls=context,
        server_hostname=settings["broker.server_name"] or settings["broker.host"],
        keepalive_s=settings["broker.keepalive_s"],
        will=(topics + "state", b"offline", 1, True),
        resolvers=settings["broker.resolvers"],
    )
    session = Session(topics, clock, client, settings["broker.backoff_max_s"])
    steps = [settings["cadence." + name] for name in ("round_s", "sample_s", "report_samples")]
    steps[2] = settings["cadence.quiet_samples"] or steps[2]  # the most that a report takes
    fields = {6: board.board, 7: VERSION, 8: board.interpreter(), 9: board.reset_cause()}
    fields[11] = steps
    fields[12] = digest
    delivery = Delivery(session, journal, clock, reporter)
    certificate = CertificateTopic(session, delivery, clock, settings, used, fields)
    birth = BirthMessage(session, journal, clock, signer, fields)
    link.broker.delivery = session
    session.memory_short = getattr(board, "memory_short", None)
    sampler = Sampler(steps[1], board, clock, journal, link, reporter)
    more = None
    sampler.sources = _sources(settings, board, clock, sampler, turns, link.busy)
    if counted:
        more = budget.make(settings, clock, link, reporter, sampler, session, client)
    agent = Supervisor(
        board, clock, journal, more or link, reporter, sampler, session, delivery, settings
    )
    if more:
        agent.more = (more.run,)
    clock.raise_floor(floor)
    reporter.event(ids.BOOTED, 0, detail)
    clock.on_set = agent.clock_set
    heap.built(
        board, agent, clock, journal, link, reporter, sampler, session, birth, certificate,
        delivery, client, signer, link.broker, link.outages, link.quality, link.names,
        link.upstream, link.upstream.statistic, *sampler.sources,
    )  # fmt: skip
    settings.clear()  # the collector looks for pointers in what is left of the stack, too
    return agent


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
