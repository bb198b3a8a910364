"""Private keys in files, encrypted or plain.

With a passphrase a key is an OpenSSH private key file: bcrypt slows down guessing, and a checksum
finds every wrong passphrase. `ssh-keygen -p` reads the same files.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from host_tools.common.errors import KeyFileError, PassphraseError
from host_tools.common.files import write_private
from host_tools.common.i18n import _
from host_tools.common.passphrase import check_passphrase

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey

# Of bcrypt. One guess costs 0.4 s of a laptop's core, as for a kit's passphrase.
ROUNDS = 48

# The older format. It has no checksum: one wrong passphrase in 250 looks like damage.
_OLD = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_NEW = b"-----BEGIN OPENSSH PRIVATE KEY-----"


def encrypted_pem(key: PrivateKey, passphrase: str) -> bytes:
    """The key as an OpenSSH private key file.

    Raises:
        PassphraseError: the passphrase is too short.
    """
    return _sealed(key, check_passphrase(passphrase))


def _sealed(key: PrivateKey, passphrase: str) -> bytes:
    form = serialization.PrivateFormat.OpenSSH
    encryption = form.encryption_builder().kdf_rounds(ROUNDS).build(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


def load_encrypted(path: Path, passphrase: str) -> PrivateKey:
    """Open a private key file of the province; convert it if it has the old format.

    Raises:
        PassphraseError: it is not this key's passphrase.
        KeyFileError: the file is missing or holds no key.
    """
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        raise KeyFileError(
            _("The key {path} is missing; put it back from the province's backup.").format(
                path=path
            )
        ) from None
    old, new = pem.startswith(_OLD), pem.startswith(_NEW)
    load = serialization.load_ssh_private_key if new else serialization.load_pem_private_key
    try:
        key = load(pem, passphrase.encode())
    except TypeError:
        raise KeyFileError(
            _(
                "{path} is not encrypted, as a province's key must be; put it back from the "
                "backup."
            ).format(path=path)
        ) from None
    except ValueError:
        if old or new:
            raise PassphraseError(
                _(
                    "That is not the passphrase of {path}, or the file is damaged; try again, or "
                    "put the file back from the province's backup."
                ).format(path=path)
            ) from None
        raise KeyFileError(
            _("{path} is not a private key; put it back from the province's backup.").format(
                path=path
            )
        ) from None
    # A link may point to another medium; the key must stay there.
    if old and not path.is_symlink():
        with contextlib.suppress(OSError):  # a read-only medium
            write_private(path, _sealed(key, passphrase))  # type: ignore[arg-type]
    return key  # type: ignore[return-value]  # the caller checks the kind


def plain_pem(key: PrivateKey) -> bytes:
    """The key as an unencrypted PKCS#8 PEM, for a service or device that starts unattended."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
