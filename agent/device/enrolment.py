"""The device's key is made, and proves to the province that the device has it."""

import asyncio
import binascii
import os
import struct

from agent.device import interpreter
from agent.device.key import load, name_of
from agent.wire import cbor, cose
from agent.wire.ed25519 import Signer


def enrol(settings, board, version):
    """The proof of possession, in base64, of the device's key, which is made if there is none.

    Raises OSError and DeviceKeyError."""
    folder = settings["state_dir"]
    signer = load(folder) or make(board, folder)
    message = proof(
        signer,
        settings["slot"],
        board.unique_id(),
        board.board,
        version,
        board.unix_time(),
        board.firmware_hash(),
    )
    return str(binascii.b2a_base64(message), "ascii").strip()


def make(board, state_dir):
    """Make a key, durably, and return its Signer. If interrupted: either none or this one."""
    seed = os.urandom(32)
    path = name_of(state_dir)
    board.write_secret(path + ".new", seed + struct.pack(">I", binascii.crc32(seed)))
    with open(path + ".new", "r+b") as f:
        interpreter.sync(f)
    os.rename(path + ".new", path)
    return Signer(seed)


def proof(signer, slot, unique_id, board, version, unix, firmware):
    """Proof of possession for enrolment: a COSE_Sign1, see docs/wire.md "Enrolment"."""
    payload = {1: slot, 2: signer.public, 3: unique_id, 4: board, 5: version, 6: unix, 7: firmware}
    payload = cbor.dumps(payload)
    topic = "desa/1/%s/%s/enrol" % (slot[:4], slot)
    return asyncio.run(cose.sign1_async(signer, payload, topic.encode()))
