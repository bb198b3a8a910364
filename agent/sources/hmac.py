"""HMAC (RFC 2104) over whatever hash of 64-byte blocks the interpreter has."""

import hashlib


def hmac(key, data, digest=hashlib.sha256):
    """HMAC of `data`; `key` has at most 64 bytes."""
    key = key + bytes(64 - len(key))
    inner = digest(bytes([b ^ 0x36 for b in key]))
    inner.update(data)
    outer = digest(bytes([b ^ 0x5C for b in key]))
    outer.update(inner.digest())
    return outer.digest()
