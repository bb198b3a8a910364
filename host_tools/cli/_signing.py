"""Opening the office's key for verbs that change what figures depend on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.cli import Application
from host_tools.common import passphrase

if TYPE_CHECKING:
    from host_tools.province.registry import Registry


def sign_changes(app: Application, registry: Registry, passphrase_file: Path | None) -> None:
    """Have a registry sign its changes: asks for the passphrase, where there is an office log.

    Raises:
        PassphraseError, KeyFileError: the office's key can't be opened.
    """
    from host_tools.people.office_pen import has_log, open_office

    if has_log(registry):
        open_office(app.province, registry, passphrase.existing(passphrase_file))
