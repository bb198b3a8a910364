"""Private keys in PKCS#8 files, plain or under a passphrase (RFC 5208, RFC 8018 PBES2).

`cryptography` encrypts with PBKDF2 and 2048 rounds, which a stolen laptop's graphics card tries
millions of times a second. The province's root deserves scrypt (RFC 7914 section 7), which the
same library and `openssl pkey` both read; only the writing is done here.
"""

from __future__ import annotations

import base64
import os

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from host_tools.common.passphrase import check_passphrase

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey

# 16 MiB of memory (OpenSSL's reader refuses more than 32), made up for by five lanes: about 0.2 s.
_SCRYPT_N = 1 << 14
_SCRYPT_R = 8
_SCRYPT_P = 5

_OID_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_OID_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_OID_AES_256_CBC = bytes.fromhex("060960864801650304012a")


def _tlv(tag: int, body: bytes) -> bytes:
    """One DER element (X.690 section 8.1)."""
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + len(body).to_bytes(size, "big") + body


def _sequence(*parts: bytes) -> bytes:
    return _tlv(0x30, b"".join(parts))


def _octets(value: bytes) -> bytes:
    return _tlv(0x04, value)


def _integer(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def encrypted_pem(key: PrivateKey, passphrase: str) -> bytes:
    """The key as `ENCRYPTED PRIVATE KEY`: PBES2 with scrypt and AES-256-CBC.

    Raises:
        PassphraseError: the passphrase is too short.
    """
    check_passphrase(passphrase)
    plain = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    salt, iv = os.urandom(16), os.urandom(16)
    secret = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(
        passphrase.encode()
    )
    padder = PKCS7(128).padder()
    padded = padder.update(plain) + padder.finalize()
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padded) + encryptor.finalize()
    derivation = _sequence(
        _OID_SCRYPT,
        _sequence(
            _octets(salt),
            _integer(_SCRYPT_N),
            _integer(_SCRYPT_R),
            _integer(_SCRYPT_P),
            _integer(32),
        ),
    )
    scheme = _sequence(_OID_AES_256_CBC, _octets(iv))
    der = _sequence(_sequence(_OID_PBES2, _sequence(derivation, scheme)), _octets(sealed))
    body = base64.encodebytes(der).replace(b"\n", b"")
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return b"\n".join(
        [
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
            *lines,
            b"-----END ENCRYPTED PRIVATE KEY-----",
            b"",
        ]
    )


def plain_pem(key: PrivateKey) -> bytes:
    """The key as an unencrypted PKCS#8 PEM, for a service or device that starts unattended."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
