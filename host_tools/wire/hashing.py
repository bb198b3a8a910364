"""The short hash of the wire (docs/wire.md)."""

from hashlib import sha256


def hash8(message: bytes) -> bytes:
    """First 8 bytes of SHA-256, as in `prev` and in key ids."""
    return sha256(message).digest()[:8]
