"""The first half of a start: settings, board, key, journal, TLS, and how the last run ended.

Apart from `start`, so that it is gone from memory when the second half needs most of it. What is
needed once only lies in modules that are unloaded here, one after the other.
"""

import binascii
import hashlib
import struct
import sys

from agent import RELEASED, VERSION
from agent.device import heap, interpreter


def fail(sentence):
    print("agent: %s" % sentence, file=sys.stderr)
    sys.exit(2)


def load(path):
    """The settings and the board."""
    from agent import config

    try:
        settings = config.load(path)
    except config.ConfigError as e:
        fail(e)
    heap.unload("agent.config")
    if interpreter.FROM_SOURCE:
        heap.unload("agent.device.expected")
    name = settings["port"]
    try:
        return settings, _module(name).Board(settings["state_dir"], settings["board"])
    except ImportError as e:
        fail("%s: port: %s is no module of a board (%s)" % (path, name, e))
    except ValueError as e:
        fail("%s: board: %s" % (path, e))


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


def enrol(path):
    """See start.py."""
    from agent.device import key

    settings, board = load(path)
    try:
        return heap.seldom("agent.device.enrolment").enrol(settings, board, VERSION)
    except (OSError, key.DeviceKeyError) as e:
        fail(e)


def signer_of(folder):
    from agent.device import key

    try:
        signer = key.load(folder)
    except key.DeviceKeyError as e:
        fail(e)
    if signer is None:
        fail("%s: no device key: enrol this device (--enrol)" % folder)
    heap.unload("agent.device.key")
    return signer


def secured(path, settings, board):
    """(TLS context, first bytes of the configuration's SHA-256, certificate in use).

    Comes as early as can be: the context takes 3 KB at once."""
    if board.lock() is False:
        fail("%s: another agent uses this state_dir: stop that one" % settings["state_dir"])
    renewal = heap.seldom("agent.province.renewal")
    ca = settings["broker.ca"]
    try:
        used = renewal.present(settings["broker.cert"], settings["state_dir"], ca)
        context = renewal.tls.tls_context(ca, used[0], settings["broker.key"])
        with open(path, "rb") as f:
            return context, hashlib.sha256(f.read()).digest()[:8], used
    except OSError as e:
        fail(e)


def opened(settings):
    """The journal."""
    from agent.journal.journal import Journal

    journal = Journal(
        settings["state_dir"] + "/journal",
        settings["journal.capacity"],
        settings["journal.segment"],
    )
    try:
        journal.open()
    except OSError as e:
        fail(e)
    heap.unload("agent.journal.recovery")
    heap.unload("agent.journal.new_stream")
    return journal


def booted(board, journal, form):
    """(detail of the first event, time that has certainly passed): why this start, and when the
    run before was last alive. form: of the record (supervise.py)."""
    detail = {1: board.reset_cause(), 4: journal.clean}
    floor = RELEASED
    saved = board.alive_load()
    size = len(saved) - 4 if saved else 0
    # Before 0.2 a record had no floor of its own.
    if size in (struct.calcsize(form), struct.calcsize(form) - 4):
        if struct.pack(">I", binascii.crc32(saved[:size])) == saved[size:]:
            stream, boot, up, unix = struct.unpack(form[:-1], saved[:16])
            detail[2] = [boot, up]
            if stream != journal.stream and not journal.newest:
                journal.before = stream  # nothing of it is left here
            if unix:
                detail[3] = unix
            floor = max(floor, struct.unpack(">I", saved[size - 4 : size])[0])
    if hasattr(board, "storage_lost") and board.storage_lost():
        detail[5] = True
    return detail, floor
