"""The device's own key: made on the device (enrolment.py), kept here, never leaves.

The file holds the 32-byte seed (RFC 8032) and its CRC32, so that a torn write is noticed.
"""

import binascii
import struct

from agent.wire.ed25519 import Signer


class DeviceKeyError(Exception):
    """The key file can't be used; says what to do."""


def name_of(state_dir):
    return state_dir + "/device.key"


def load(state_dir):
    """The Signer of the key in `state_dir`, None if none was made yet. Raises DeviceKeyError."""
    path = name_of(state_dir)
    try:
        with open(path, "rb") as f:
            data = f.read(64)
    except OSError as e:
        if e.errno == 2:
            return None
        raise DeviceKeyError("%s: can't be read (%s)" % (path, e))
    if len(data) != 36 or struct.pack(">I", binascii.crc32(data[:32])) != data[32:]:
        raise DeviceKeyError("%s: is damaged: enrol the device anew" % path)
    return Signer(data[:32])
