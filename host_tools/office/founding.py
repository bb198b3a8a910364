"""Founding a province: all of its directory, or nothing."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.broker.config import write_config
from host_tools.broker.services import IDENTITIES
from host_tools.common.errors import ProvinceError, VillageError
from host_tools.common.files import make_directory, sync_directory, write_file, write_private
from host_tools.common.i18n import _
from host_tools.common.locks import hold, is_held
from host_tools.common.passphrase import check_passphrase
from host_tools.keys.authorities import hold_root
from host_tools.keys.ca import Authority
from host_tools.keys.root import create_root_key, load_root_key
from host_tools.keys.signing import public_bytes
from host_tools.people.office_pen import make_office_keys
from host_tools.people.technicians import make_trust, publish_trust
from host_tools.province.registry import Registry
from host_tools.province.settings import (
    FILE,
    BrokerSettings,
    Province,
    check_host,
    check_port,
    render,
)
from host_tools.province.villages import province_name, villages_of_province

if TYPE_CHECKING:
    from host_tools.province.registry import Village


# "Desalink NAME 2026" must fit into the 64 characters of a certificate's common name.
MAX_NAME = 50


def refuse_existing(directory: Path) -> None:
    """Refuse a directory that already holds something.

    Raises:
        ProvinceError: a province, or anything else, is there.
    """
    if (directory / FILE).exists():
        raise ProvinceError(
            _("{directory} is a province already; it was left as it is.").format(
                directory=directory
            )
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ProvinceError(
            _("{directory} exists and is not empty; choose a new directory.").format(
                directory=directory
            )
        )


def check_name(name: str) -> None:
    """Check a name for a province; it becomes part of the CA's name.

    Raises:
        ProvinceError: too long, or not one line of printable characters.
    """
    if not 1 <= len(name.strip()) <= MAX_NAME or not name.isprintable():
        raise ProvinceError(
            _(
                "{name!r} can't be the name of a province; give one line of 1 to {max_name} "
                "characters with --name."
            ).format(name=name, max_name=MAX_NAME)
        )


def _check_bind(bind: str) -> str:
    if bind in ("", "localhost"):
        return bind
    try:
        return str(ip_address(bind))
    except ValueError:
        raise ProvinceError(
            _(
                "'{bind}' is not an address of this machine; give --bind an IP address such as "
                "192.168.1.5, or leave it out to listen on all."
            ).format(bind=bind)
        ) from None


@contextlib.contextmanager
def _building_place(directory: Path, tell: Callable[[str], None]) -> Iterator[Path]:
    """A directory beside the final one, cleared away if building ends early.

    A crash leaves it behind; the next init recognises it by its lock, which no process holds.
    """
    prefix = f".{directory.name}.init-"
    for remains in directory.parent.glob(prefix + "*"):
        with contextlib.suppress(OSError):
            if is_held(remains / "lock"):
                raise ProvinceError(
                    _("Another 'desalink init' is making {directory}; wait for it to end.").format(
                        directory=directory
                    )
                )
        tell(
            _(
                "Removing {remains}, the remains of an init that was interrupted (never in use)."
            ).format(remains=remains)
        )
        shutil.rmtree(remains)
    place = directory.parent / (prefix + secrets.token_hex(4))
    place.mkdir(mode=0o700)
    try:
        with hold(place / "lock"):
            yield place
    finally:
        if place.exists():
            shutil.rmtree(place, ignore_errors=True)


def found_province(
    directory: Path,
    code: str,
    passphrase: str,
    *,
    name: str | None = None,
    hosts: Sequence[str] = ("localhost",),
    port: int = 8883,
    bind: str = "",
    only_villages: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> tuple[Province, int]:
    """Make a province directory: settings, keys, CA, certificates, registry, broker configuration.

    Args:
        code: 2-digit Kemendagri code.
        passphrase: for root key and CA key, at least 8 characters.
        hosts: names and addresses of the broker, the devices' one first.
        only_villages: 10-digit codes, for a province to play with; None takes all desa.
        tell: receives sentences about what is going on.

    Returns:
        The province and how many villages it has.

    Raises:
        ProvinceError: it exists already, or code, host or port are not valid.
        PassphraseError: too short.
        VillageError: one of `only_villages` does not exist.
        OSError: something can't be written; then nothing is left behind.
    """

    directory = directory.resolve()
    check_passphrase(passphrase)
    settings = BrokerSettings(
        tuple(check_host(host) for host in hosts), check_port(port), _check_bind(bind)
    )
    if name is not None:
        check_name(name)
    official = province_name(code)
    villages = villages_of_province(code)
    if only_villages is not None:
        missing = set(only_villages) - {village.code for village in villages}
        if missing:
            raise VillageError(
                _("Province {code} has no village {names}.").format(
                    code=code, names=", ".join(sorted(missing))
                )
            )
        villages = [village for village in villages if village.code in only_villages]
    refuse_existing(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    created = datetime.now(UTC).replace(microsecond=0)
    final = Province(directory, code, name or official, created, settings)
    with _building_place(directory, tell) as place:
        _fill(replace(final, directory=place), final, villages, passphrase)
        (place / "lock").unlink()
        # Onto an empty directory or no directory: rename refuses anything else.
        try:
            os.rename(place, directory)
        except OSError:
            refuse_existing(directory)
            raise

    sync_directory(directory.parent)
    # Holds absolute paths, so it is written where it will be used; `broker run` writes it anew.
    write_config(final)
    return final, len(villages)


def _fill(
    building: Province, final: Province, villages: Sequence[Village], passphrase: str
) -> None:

    for directory in ("keys", "ca", "broker", "services"):
        make_directory(building.directory / directory)
    root = create_root_key(building.root_key, building.root_public, passphrase)
    authority = Authority.generate(f"Desalink {final.name} {final.created:%Y}")
    authority.save(building.ca_key, building.ca_certificate, passphrase)
    hold_root(building.ca_certificate, public_bytes(root))
    write_file(building.crl, authority.crl_pem([]))
    server = authority.issue_server(final.broker.server_names)
    write_private(building.server_key, server.key_pem)
    write_file(building.server_certificate, server.certificate_pem)
    with Registry.create(building.directory, villages) as registry:
        for common in IDENTITIES:
            issued = authority.issue_client(common)
            registry.record_certificate(issued.serial, common, issued.not_after)
            client = building.service(common)
            write_private(client.key, issued.key_pem)
            write_file(client.certificate, issued.certificate_pem)
        with registry.transaction():
            make_office_keys(building, registry, passphrase)
            make_trust(building, registry, load_root_key(building.root_key, passphrase))
        publish_trust(building, registry)
    # Last: a directory without it is no province, whatever else is in it.
    write_file(building.directory / FILE, render(final).encode())
