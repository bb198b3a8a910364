"""A province is a directory: province.toml, its keys and CA, its registry, database and broker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from host_tools.common.errors import ProvinceError
from host_tools.common.files import Inside
from host_tools.common.i18n import _
from host_tools.common.tables import TableError, checked, text, whole

FILE = "province.toml"
FORMAT = 1
# Files that are being exchanged for others (rekeying.py).
EXCHANGE = ".exchange"

# Certificates for these slots exist only to try the broker's rules (`desalink broker check`). No
# village has this code, and the ingest drops whatever comes from such a slot.
CHECK_VILLAGE = "0000000000"
# Device-like identities with which `desalink broker check` tries the rules.
CHECK_SLOTS = (f"{CHECK_VILLAGE}-1", f"{CHECK_VILLAGE}-2")


# Without a setting, so many whole months of reports stay in the database.
HOT_MONTHS = 2

# Always in the broker's certificate, so that the ingest beside it needs no name service.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


_TEXT = Meta(description="a text in quotes")
_LINE = text(r"[^\n]*", "one line of text in quotes")


@dataclass(frozen=True)
class BrokerSettings:
    """Where devices find the broker, and how it listens."""

    hosts: Annotated[tuple[str, ...], Meta(min_length=1, description="a list of texts")]
    port: Annotated[int, Meta(description="a whole number")]
    bind: Annotated[str, _LINE] = ""
    log: Annotated[str, _LINE] = "stderr"

    @property
    def host(self) -> str:
        """The name that devices are given."""
        return self.hosts[0]

    @property
    def local_host(self) -> str:
        """The name for programs beside the broker, with or without a name service."""
        return "localhost" if self.bind in ("", "0.0.0.0", "::") else self.bind  # nosec B104 # compared, not bound

    @property
    def server_names(self) -> tuple[str, ...]:
        """Every name and address that the broker's certificate must hold."""
        return (*self.hosts, *LOOPBACK, self.local_host)


@dataclass(frozen=True)
class PagesSettings:
    """How `desalink serve` answers.

    certificate, key: PEM files for its own TLS, relative to the province; empty: plain HTTP.
    https: a proxy in front of it speaks HTTPS. proxies: addresses of proxies whose headers say
    who asks. public: availability by village and month is shown without a log-in. outlines: a
    GeoJSON file, relative to the province; outlines_source: whom to name under the map. files:
    folders with reports and evidence files, relative to the province.
    """

    bind: Annotated[str, _LINE] = "127.0.0.1"
    port: Annotated[int, whole(1, 65535)] = 8480
    certificate: Annotated[str, _LINE] = ""
    key: Annotated[str, _LINE] = ""
    https: Annotated[bool, Meta(description="true or false")] = False
    proxies: Annotated[tuple[str, ...], Meta(description="a list of texts")] = ()
    public: Annotated[bool, Meta(description="true or false")] = False
    outlines: Annotated[str, _LINE] = ""
    outlines_source: Annotated[str, _LINE] = ""
    files: Annotated[tuple[str, ...], Meta(description="a list of texts")] = ()


@dataclass(frozen=True)
class TlsFiles:
    """What a client of the broker needs for TLS (PEM)."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Province:
    """An opened province directory; every path in it is defined here only."""

    directory: Path
    code: str
    name: str
    created: datetime
    broker: BrokerSettings
    hot_months: int = HOT_MONTHS
    pages: PagesSettings = PagesSettings()

    database = Inside("province.db")
    archive = Inside("archive")
    registry = Inside("registry.db")
    pages_database = Inside("pages.db")  # accounts, cases and notes of the pages
    root_key = Inside("keys/root.key")
    root_public = Inside("keys/root.pub")
    office_key = Inside("keys/office.key")  # signs the office log
    receipt_key = Inside("services/receipts.key")  # the ingest's, for its receipts
    former_roots = Inside("keys/former.pub")  # all before it, the oldest first
    trust = Inside("trust.cbor")
    technicians = Inside("technicians")  # their role keys, each under the province's passphrase
    ca_key = Inside("ca/ca.key")
    # The CA, its predecessor while devices depend on that, and the public root key: what devices
    # and services trust.
    ca_certificate = Inside("ca/ca.crt")
    former_ca_key = Inside("ca/former.key")
    authorities = Inside("ca/authorities.cbor")
    crl = Inside("ca/crl.pem")
    broker_directory = Inside("broker")
    server_certificate = Inside("broker/server.crt")
    server_key = Inside("broker/server.key")

    def service(self, name: str) -> TlsFiles:
        """The client certificate of a service: `ingest`, `operator`, or one of the check's."""
        directory = self.directory / "services"
        return TlsFiles(self.ca_certificate, directory / f"{name}.crt", directory / f"{name}.key")


_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}")


def check_host(host: str) -> str:
    """Return a host name or address if it can be one.

    Raises:
        ProvinceError: it can't.
    """
    if not _HOST.fullmatch(host):
        raise ProvinceError(
            _(
                "'{host}' is not a host name or address; give a name such as broker.example.go.id."
            ).format(host=host)
        )
    return host


def check_port(port: int) -> int:
    """Return a TCP port if it is one.

    Raises:
        ProvinceError: it is not.
    """
    if not 1 <= port <= 65535:
        raise ProvinceError(
            _("{port} is not a TCP port; choose one from 1 to 65535, usually 8883.").format(
                port=port
            )
        )
    return port


@dataclass(frozen=True)
class _ProvinceTable:
    code: Annotated[str, text(r"[0-9]{2}", "two digits in quotes")]
    name: Annotated[str, _TEXT]
    created: Annotated[datetime, Meta(description="a date and time")]


@dataclass(frozen=True)
class _Retention:
    hot_months: Annotated[int, whole(0, 1200)] = HOT_MONTHS


@dataclass(frozen=True)
class _File:
    province: Annotated[_ProvinceTable, Meta(description="a section")]
    broker: Annotated[BrokerSettings, Meta(description="a section")]
    retention: Annotated[_Retention, Meta(description="a section")] = _Retention()
    pages: Annotated[PagesSettings, Meta(description="a section")] = PagesSettings()


@dataclass(frozen=True)
class _Format:
    format: Annotated[int, Meta(description="a whole number")]


def load(directory: Path) -> Province:
    """Open a province.

    Raises:
        ProvinceError: no province is there, or its province.toml is wrong; names file and key.
    """
    import tomllib

    path = directory / FILE
    try:
        if (directory / EXCHANGE).exists():
            from host_tools.province.rekeying import finish

            finish(directory)  # of a change of the passphrase that was interrupted
        with path.open("rb") as file:
            table = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        raise ProvinceError(
            _(
                "There is no province in {directory} (no {file}); give its directory with -C or "
                "DESALINK_DIR, or make one with 'desalink init DIR --province CODE'."
            ).format(directory=directory, file=FILE)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProvinceError(
            _("{path} can't be understood: {error}; correct it and try again.").format(
                path=path, error=error
            )
        ) from None
    try:
        version = checked(table, _Format, strict=False).format
        if version != FORMAT:
            raise ProvinceError(
                _(
                    "{path} has format {version} and this desalink knows format {format}; install "
                    "the desalink that made it, or a newer one."
                ).format(path=path, version=version, format=FORMAT)
            )
        found = checked(table, _File, strict=False)
    except TableError as error:
        raise ProvinceError(
            _("{path}: {error} Correct it and try again.").format(path=path, error=error)
        ) from None
    for host in (*found.broker.hosts, *filter(None, [found.broker.bind])):
        check_host(host)
    check_port(found.broker.port)
    return Province(
        directory=directory.resolve(),
        code=found.province.code,
        name=found.province.name,
        created=found.province.created,
        broker=found.broker,
        hot_months=found.retention.hot_months,
        pages=found.pages,
    )


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)  # TOML's basic strings are JSON's


def render(province: Province) -> str:
    """The text of province.toml, with comments for a person who edits it."""
    hosts = ", ".join(_quoted(host) for host in province.broker.hosts)
    return f"""\
# A Desalink province. The directory around this file is the whole of it: keep a copy of all of it,
# and one of keys/ and ca/ somewhere offline. Without ca/ca.key no device can be enrolled or
# revoked.
format = {FORMAT}

[province]
code = {_quoted(province.code)}            # Kemendagri code of the province
name = {_quoted(province.name)}
created = {province.created.strftime("%Y-%m-%dT%H:%M:%SZ")}

[broker]
# Names and addresses under which devices reach the broker; new devices are given the first.
# After a change run 'desalink broker config': the broker's certificate must name them all.
hosts = [{hosts}]
port = {province.broker.port}
# Address on which the broker listens; empty: on all of this machine's.
bind = {_quoted(province.broker.bind)}
# "stderr", or the path of a log file (relative to this directory).
log = {_quoted(province.broker.log)}

[retention]
# So many whole months of reports stay in province.db, and the present one. 'desalink archive'
# moves older ones to archive/. Nothing is ever deleted.
hot_months = {province.hot_months}
"""
