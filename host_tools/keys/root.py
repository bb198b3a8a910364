"""The province's root key (Ed25519, RFC 8032): it signs permissions, and is used offline."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from host_tools.common.errors import KeyFileError
from host_tools.common.files import write_file, write_private
from host_tools.common.i18n import _
from host_tools.keys.private_keys import encrypted_pem, load_encrypted


def create_root_key(private: Path, public: Path, passphrase: str) -> Ed25519PublicKey:
    """Make the root key; write it encrypted, and its public half.

    Raises:
        PassphraseError: the passphrase is too short.
    """
    key = Ed25519PrivateKey.generate()
    write_private(private, encrypted_pem(key, passphrase))
    write_file(public, public_pem(key))
    return key.public_key()


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def load_root_key(private: Path, passphrase: str) -> Ed25519PrivateKey:
    """Open the root key.

    Raises:
        PassphraseError, KeyFileError, OSError: as `load_encrypted`.
    """
    key = load_encrypted(private, passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(
            _("{path} is not an Ed25519 key; put it back from the province's backup.").format(
                path=private
            )
        )
    return key
