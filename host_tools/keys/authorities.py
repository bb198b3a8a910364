"""Which CAs and which root key count: a document that only the root key of before can sign.

Each device keeps the newest one that it has accepted (docs/wire.md, "The certificate"). The file
`ca/authorities.cbor` holds all of them, so that a device which missed some can follow.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tools.common.errors import KeyFileError
from host_tools.common.files import write_file
from host_tools.common.i18n import _
from host_tools.keys.signing import sign1, verify1
from host_tools.wire.payload import decode
from host_tools.wire.reasons import Refused

AAD = b"desa/1/authorities"

# A device takes 4,096 bytes in one message, and the certificate itself is in it too.
MAX_DOCUMENTS = 3000


@dataclass(frozen=True)
class Authorities:
    """A document's content. Numbers only grow; `issued` is Unix time."""

    number: int
    certificates: tuple[bytes, ...]
    """Of the CAs (DER), the newest first."""
    root: bytes
    """Public root key, 32 bytes."""
    issued: int


def sign_authorities(root: Ed25519PrivateKey, content: Authorities) -> bytes:
    """The signed document."""
    table = {
        1: content.number,
        2: list(content.certificates),
        3: content.root,
        4: content.issued,
    }
    return sign1(root, cbor2.dumps(table, canonical=True), AAD)


def read_authorities(document: bytes) -> Authorities:
    """What a document says, for those who made it: the signature is not verified."""
    table = cbor2.loads(cbor2.loads(document).value[2])
    return Authorities(table[1], tuple(table[2]), table[3], table[4])


def load_documents(path: Path) -> list[bytes]:
    """All documents of a province, the oldest first; none before the first change.

    Raises:
        KeyFileError: the file is damaged.
    """
    try:
        documents = cbor2.loads(path.read_bytes())
        for document in documents:
            read_authorities(document)
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise KeyFileError(
            _("{path} is damaged; put it back from the backup.").format(path=path)
        ) from None
    return list(documents)


def newest_authorities(path: Path) -> Authorities | None:
    """The newest document's content, or None. Raises as `load_documents`."""
    documents = load_documents(path)
    return read_authorities(documents[-1]) if documents else None


def for_devices(documents: Sequence[bytes]) -> list[bytes]:
    """The newest documents, as many as fit into a message to a device."""
    chosen: list[bytes] = []
    for document in reversed(documents):
        if sum(map(len, chosen)) + len(document) > MAX_DOCUMENTS:
            break
        chosen.insert(0, document)
    return chosen


def succeeds(documents: Sequence[bytes], old: bytes, new: bytes) -> bool:
    """Whether a root key is another one or has, by signed documents, taken its place."""
    for document in documents:
        try:
            verified = decode(verify1(document, old, AAD)).get(3)
        except Refused:
            continue
        if isinstance(verified, bytes):
            old = verified
    return old == new


def trusted_pem(certificates: Sequence[bytes], root: bytes, number: int = 0) -> bytes:
    """The file of what devices trust: the CAs, and the root key with its document's number."""
    pem = b"".join(
        x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)
        for der in certificates
    )
    return pem + root_block(root, number)


def root_block(root: bytes, number: int = 0) -> bytes:
    """The root key as a block of PEM, which programs that want certificates pass over."""
    text = base64.b64encode(number.to_bytes(4, "big") + root)
    return b"-----BEGIN ROOT KEY-----\n" + text + b"\n-----END ROOT KEY-----\n"


def hold_root(path: Path, root: bytes) -> None:
    """Add the root key to a CA file that has none: those of earlier versions.

    Raises:
        OSError: the file can't be read or written.
    """
    pem = path.read_bytes()
    if b"BEGIN ROOT KEY" not in pem:
        write_file(path, pem + root_block(root))
