"""Opens the office's key, so that a registry signs what is changed in it."""

from __future__ import annotations

import time
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.keys.root import load_root_key
from host_tools.people.office_log import BEGINNING, OfficeEntry, entry_hash, sign_entry
from host_tools.province.registry import Registry
from host_tools.province.settings import Province


class OfficePen:
    """Signs entries with the office's key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def __call__(self, before: bytes | None, kind: str, body: dict[str, Any], by: str) -> bytes:
        number, prev, at = 0, BEGINNING, int(time.time())
        if before is not None:
            table = cbor2.loads(cbor2.loads(before).value[2])
            # The log's times never go back, whatever the clock does.
            number, prev, at = table[1] + 1, entry_hash(before), max(at, table[3])
        return sign_entry(self._key, OfficeEntry(number, prev, at, kind, body, by))


def has_log(registry: Registry) -> bool:
    """Whether the province keeps an office log: one from before has not begun it yet."""
    return registry.newest_office_entry() is not None


def open_office(province: Province, registry: Registry, passphrase: str) -> None:
    """Have a registry sign its changes, if the province keeps an office log.

    Raises:
        PassphraseError, KeyFileError, OSError: the office's key can't be opened.
    """
    if registry.pen is None and has_log(registry):
        registry.pen = OfficePen(load_root_key(province.office_key, passphrase))
