"""The passphrase of a kit: its own, told to the technician by another way than the kit's."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from pathlib import Path

from host_tools.common import passphrase as province_passphrase
from host_tools.common.errors import PassphraseError
from host_tools.common.i18n import _
from host_tools.keys.private_keys import check_passphrase

VARIABLE = "DESALINK_KIT_PASSPHRASE"

# Easy to tell over a radio: no letters that sound or look alike.
_LETTERS = "abcdefghjkmnpqrstuwxyz23456789"
_GROUPS = 5


def suggestion() -> str:
    """A random passphrase of 25 characters (about 122 bits), in groups."""
    groups = ["".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(_GROUPS)]
    return "-".join(groups)


def given(file: Path | None = None) -> str | None:
    """The passphrase from a file's first line or the environment; None: it has to be asked for.

    Raises:
        PassphraseError: the file is not text, or has no first line.
        OSError: the file can't be read.
    """
    if file is not None:
        return province_passphrase.given(file)
    return os.environ.get(VARIABLE) or None


def _prompt(text: str) -> str:
    if not sys.stdin.isatty():
        raise PassphraseError(
            _(
                "The kit's passphrase is needed and there is no terminal to ask on; set "
                "{variable} or give --kit-passphrase-file."
            ).format(variable=VARIABLE)
        )
    try:
        return getpass.getpass(text)
    except EOFError:
        raise KeyboardInterrupt from None


def existing(file: Path | None = None) -> str:
    """The passphrase of a kit that exists already.

    Raises:
        PassphraseError: there is none and nobody to ask.
    """
    return given(file) or _prompt(_("Passphrase of the kit: "))


def new(file: Path | None = None) -> str:
    """The passphrase for a new kit; whoever types it types it twice.

    Raises:
        PassphraseError: too short, not the same twice, or nobody to ask.
    """
    passphrase = given(file)
    if passphrase is not None:
        return check_passphrase(passphrase)
    passphrase = check_passphrase(
        _prompt(f"Choose a passphrase for the kit, for example {suggestion()}: ")
    )
    if _prompt("The same passphrase again: ") != passphrase:
        raise PassphraseError("The two passphrases are not the same; nothing was made, try again.")
    return passphrase
