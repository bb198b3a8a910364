"""The office's key, which signs what is changed in the registry, and the ingest's for receipts."""

from __future__ import annotations

import getpass
import time
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.files import write_private
from host_tools.keys.private_keys import encrypted_pem, plain_pem
from host_tools.keys.root import load_root_key
from host_tools.keys.signing import public_bytes
from host_tools.people.office_log import BEGINNING, OfficeEntry, entry_hash, sign_entry
from host_tools.people.trust import INGEST, OFFICE
from host_tools.province.records import RoleKey
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from host_tools.wire.envelope import hash8

_LIFE_S = 20 * 365 * 86400


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
        author = by or getpass.getuser()
        return sign_entry(self._key, OfficeEntry(number, prev, at, kind, body, author))


def make_office_keys(province: Province, registry: Registry, passphrase: str) -> None:
    """Make the keys of office and ingest, and have the registry sign its changes from now on.

    Within the caller's transaction, before a trust document that names them.

    Raises:
        PassphraseError: the passphrase is too short.
        OSError: a file can't be written.
    """
    office, ingest = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    write_private(province.office_key, encrypted_pem(office, passphrase))
    write_private(province.receipt_key, plain_pem(ingest))
    now = int(time.time())
    for key, role, name in ((office, OFFICE, "office"), (ingest, INGEST, "ingest")):
        public = public_bytes(key)
        registry.add_role_key(RoleKey(hash8(public), public, role, name, now, now + _LIFE_S))
    registry.pen = OfficePen(office)


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
