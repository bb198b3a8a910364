"""Opening the office's keys, for verbs that change what figures or devices depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.cli import Application
from host_tools.common import passphrase

if TYPE_CHECKING:
    from host_tools.keys.ca import Authority
    from host_tools.province.registry import Registry


def sign_changes(app: Application, registry: Registry, passphrase_file: Path | None) -> None:
    """Have a registry sign its changes: asks for the passphrase, where there is an office log.

    Raises:
        PassphraseError, KeyFileError: the office's key can't be opened.
    """
    from host_tools.people.office_pen import has_log, open_office

    if has_log(registry):
        open_office(app.province, registry, passphrase.existing(passphrase_file))


def open_authority(app: Application, secret: str, registry: Registry | None = None) -> Authority:
    """The CA with its key; with a registry, the office's key for its changes as well."""
    from host_tools.keys.ca import Authority
    from host_tools.people.office_pen import open_office

    province = app.province
    authority = Authority.load(province.ca_key, province.ca_certificate, secret)
    if registry is not None:
        open_office(province, registry, secret)
    return authority


@contextmanager
def office_at_work(app: Application) -> Iterator[Registry]:
    """The registry, while no other command of the office works on the province."""
    from host_tools.office.locking import hold_office

    with hold_office(app.province.directory), app.registry() as registry:
        yield registry
