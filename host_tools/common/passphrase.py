"""Where the passphrase of the province's keys comes from: never from an argument."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path

from host_tools.common.errors import PassphraseError
from host_tools.common.i18n import _
from host_tools.keys.private_keys import check_passphrase

VARIABLE = "DESALINK_PASSPHRASE"
_SECRET = (VARIABLE, "DESALINK_KIT_PASSPHRASE")


def given(file: Path | None = None) -> str | None:
    """The passphrase from a file or the environment, or None if it has to be asked for.

    The first line of the file counts, without its line end. A file that others can read is told
    on stderr, and used.

    Raises:
        PassphraseError: the file is not text, or has no first line.
        OSError: the file can't be read.
    """
    if file is None:
        return os.environ.get(VARIABLE) or None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise PassphraseError(
            f"The passphrase file {file} is not UTF-8 text; write the passphrase into its first "
            "line."
        ) from None
    status = file.stat()
    if os.name != "nt" and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        sentence = _("Others may read the passphrase file {file}; run 'chmod 600 {file}'.")
        print(sentence.format(file=file), file=sys.stderr)
    if not lines or not lines[0]:
        raise PassphraseError(
            f"The passphrase file {file} is empty; write the passphrase into its first line."
        )
    return lines[0]


def _prompt(text: str) -> str:
    if not sys.stdin.isatty():
        raise PassphraseError(
            "The passphrase of the province's keys is needed and there is no terminal to ask on; "
            f"set {VARIABLE} or give --passphrase-file."
        )
    try:
        return getpass.getpass(text)
    except EOFError:
        raise KeyboardInterrupt from None


def existing(file: Path | None = None) -> str:
    """The passphrase of keys that exist already.

    Raises:
        PassphraseError: there is none and nobody to ask.
    """
    return given(file) or _prompt("Passphrase of the province's keys: ")


def new(file: Path | None = None) -> str:
    """The passphrase for new keys; whoever types it types it twice.

    Raises:
        PassphraseError: too short, not the same twice, or nobody to ask.
    """
    passphrase = given(file)
    if passphrase is not None:
        return check_passphrase(passphrase)
    passphrase = check_passphrase(_prompt("Choose a passphrase for the province's keys: "))
    if _prompt("The same passphrase again: ") != passphrase:
        raise PassphraseError("The two passphrases are not the same; nothing was made, try again.")
    return passphrase


def scrubbed_environment() -> dict[str, str]:
    """The environment for child processes: they have no business with passphrases."""
    return {name: value for name, value in os.environ.items() if name not in _SECRET}
