"""Where a passphrase comes from: a file, the environment or a terminal; never an argument."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from host_tools.common.errors import PassphraseError
from host_tools.common.i18n import _

MINIMUM_PASSPHRASE = 8
VARIABLE = "DESALINK_PASSPHRASE"
KIT_VARIABLE = "DESALINK_KIT_PASSPHRASE"


def check_passphrase(passphrase: str) -> str:
    """Return the passphrase if it is long enough.

    Raises:
        PassphraseError: it has fewer than 8 characters.
    """
    if len(passphrase) < MINIMUM_PASSPHRASE:
        raise PassphraseError(
            _(
                "The passphrase has {count} characters and needs at least {least}; choose a "
                "longer one, for example four unrelated words."
            ).format(count=len(passphrase), least=MINIMUM_PASSPHRASE)
        )
    return passphrase


@dataclass(frozen=True)
class PassphraseSource:
    """How the passphrase of one kind of secret is given.

    Attributes:
        variable: of the environment.
        question, choice: asks for the one that exists, or for a new one.
        nobody: says what to do where there is no terminal to ask on.
    """

    variable: str
    question: Callable[[], str]
    choice: Callable[[], str]
    nobody: Callable[[], str]

    def given(self, file: Path | None = None) -> str | None:
        """The passphrase from a file or the environment, or None if it has to be asked for.

        The first line of the file counts, without its line end. A file that others can read is
        reported on stderr, and used.

        Raises:
            PassphraseError: the file is not text, or has no first line.
        """
        if file is None:
            return os.environ.get(self.variable) or None
        return _first_line(file)

    def existing(self, file: Path | None = None) -> str:
        """The passphrase of what exists already.

        Raises:
            PassphraseError: there is none, and no terminal to ask on.
        """
        return self.given(file) or self._ask(self.question())

    def new(self, file: Path | None = None) -> str:
        """A new passphrase; a person types it twice.

        Raises:
            PassphraseError: too short, not the same twice, or no terminal to ask on.
        """
        passphrase = self.given(file)
        if passphrase is not None:
            return check_passphrase(passphrase)
        passphrase = check_passphrase(self._ask(self.choice()))
        if self._ask(_("The same passphrase again: ")) != passphrase:
            raise PassphraseError(
                _("The two passphrases are not the same; nothing was made, try again.")
            )
        return passphrase

    def _ask(self, text: str) -> str:
        if not sys.stdin.isatty():
            raise PassphraseError(self.nobody())
        try:
            return getpass.getpass(text)
        except EOFError:
            raise KeyboardInterrupt from None


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise PassphraseError(
            _(
                "The passphrase file {file} is not UTF-8 text; write the passphrase into its "
                "first line."
            ).format(file=file)
        ) from None
    status = file.stat()
    if os.name != "nt" and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        sentence = _("Others may read the passphrase file {file}; run 'chmod 600 {file}'.")
        print(sentence.format(file=file), file=sys.stderr)
    if not lines or not lines[0]:
        raise PassphraseError(
            _(
                "The passphrase file {file} is empty; write the passphrase into its first line."
            ).format(file=file)
        )
    return lines[0]


PROVINCE = PassphraseSource(
    VARIABLE,
    lambda: _("Passphrase of the province's keys: "),
    lambda: _("Choose a passphrase for the province's keys: "),
    lambda: _(
        "The passphrase of the province's keys is needed and there is no terminal to ask on; set "
        "{variable} or give --passphrase-file."
    ).format(variable=VARIABLE),
)
SUCCESSOR = PassphraseSource(
    "DESALINK_NEW_PASSPHRASE",
    PROVINCE.question,
    lambda: _("Choose the new passphrase of the province's keys: "),
    lambda: _(
        "The new passphrase of the province's keys is needed and there is no terminal to ask on; "
        "set DESALINK_NEW_PASSPHRASE or give --new-passphrase-file."
    ),
)
given, existing, new = PROVINCE.given, PROVINCE.existing, PROVINCE.new


def successor(file: Path | None = None) -> str:
    """The passphrase that replaces the present one, which the environment holds.

    Raises:
        PassphraseError: too short, not the same twice, or no terminal to ask on.
    """
    return SUCCESSOR.new(file)


def scrubbed_environment() -> dict[str, str]:
    """The environment for child processes: they need no passphrases."""
    return {
        name: value for name, value in os.environ.items() if name not in (VARIABLE, KIT_VARIABLE)
    }
