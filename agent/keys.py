"""The device's own key: made here, kept here, never leaves.

The file holds the 32-byte seed (RFC 8032) and its CRC32, so that a torn write is noticed.
"""

import asyncio
import binascii
import os
import struct

from agent import compat
from agent.wire import cbor, cose
from agent.wire.ed25519 import Signer


class KeyFileError(Exception):
    """The key file can't be used; says what to do."""


def _name(state_dir):
    return state_dir + "/device.key"


def load(state_dir):
    """The Signer of the key in `state_dir`, None if none was made yet. Raises KeyFileError."""
    path = _name(state_dir)
    try:
        with open(path, "rb") as f:
            data = f.read(64)
    except OSError as e:
        if e.errno == 2:
            return None
        raise KeyFileError("%s: can't be read (%s): check its owner and mode" % (path, e))
    if len(data) != 36 or struct.pack(">I", binascii.crc32(data[:32])) != data[32:]:
        raise KeyFileError("%s: is damaged: enrol the device anew" % path)
    return Signer(data[:32])


def make(port, state_dir):
    """Make a key, durably, and return its Signer. If interrupted: either none or this one."""
    seed = os.urandom(32)
    path = _name(state_dir)
    port.write_secret(path + ".new", seed + struct.pack(">I", binascii.crc32(seed)))
    with open(path + ".new", "r+b") as f:
        compat.sync(f)
    os.rename(path + ".new", path)
    return Signer(seed)


def proof(signer, slot, unique_id, board, version, unix, firmware):
    """Proof of possession for enrolment: a COSE_Sign1, see docs/wire.md "Enrolment"."""
    payload = {1: slot, 2: signer.public, 3: unique_id, 4: board, 5: version, 6: unix, 7: firmware}
    payload = cbor.dumps(payload)
    topic = "desa/1/%s/%s/enrol" % (slot[:4], slot)
    return asyncio.run(cose.sign1_async(signer, payload, topic.encode()))
