"""Mosquitto's configuration, generated from the province; a comment gives each reason."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from host_tools.broker.acl import render_acl
from host_tools.common.errors import BrokerError
from host_tools.common.files import Inside, make_directory, write_file
from host_tools.common.i18n import _
from host_tools.province.settings import Province

# A report at most 8 KiB (docs/wire.md), a release's chunk more; topic and MQTT header on top.
MESSAGE_BYTES = 32 * 1024
PACKET_BYTES = MESSAGE_BYTES + 512

_REPORTS_PER_DAY = 288
_QUEUE_BYTES = (16 * 1024 * 1024, 256 * 1024 * 1024)
_REPORT_BYTES = 1024


@dataclass(frozen=True)
class BrokerFiles:
    directory: Path

    config = Inside("mosquitto.conf")
    acl = Inside("acl")
    pid = Inside("mosquitto.pid")
    data = Inside("data")
    local = Inside("local.d")


def broker_files(province: Province) -> BrokerFiles:
    return BrokerFiles(province.broker_directory)


def configured_port(province: Province) -> int:
    """The port in the broker's configuration; it may differ from province.toml's."""
    try:
        text = broker_files(province).config.read_text()
    except FileNotFoundError:
        return province.broker.port
    found = re.search(r"^listener ([0-9]+)", text, re.MULTILINE)
    return int(found[1]) if found else province.broker.port


def connection_limit(villages: int) -> int:
    """How many connections the listener takes.

    Two for each device, because the old connection of a broken link stays open until the
    keepalive ends it; then those of the services.
    """
    return max(1000, 2 * villages + 200)


def _owner(directory: Path) -> str:
    try:
        return pwd.getpwuid(directory.stat().st_uid).pw_name
    except KeyError:
        raise BrokerError(
            _(
                "The owner of {directory} is not a user of this machine; give it to one with "
                "chown."
            ).format(directory=directory)
        ) from None


def render_config(
    province: Province, villages: int, *, owner: str, port: int | None = None
) -> str:
    """The text of mosquitto.conf.

    Args:
        villages: how many the province has; queue and connection limits follow from it.
        owner: the user whom the province's files belong to.
        port: listen here instead of on the port of province.toml.
    """
    files = broker_files(province)
    port = port or province.broker.port
    queue = max(10_000, villages * _REPORTS_PER_DAY)
    queue_bytes = min(max(_QUEUE_BYTES[0], queue * _REPORT_BYTES), _QUEUE_BYTES[1])
    log = province.broker.log
    destination = "stderr" if log == "stderr" else f"file {province.directory / log}"
    listener = f"listener {port} {province.broker.bind}".strip()
    return f"""\
# Made by 'desalink broker config' and again by each 'desalink broker run': changes here are lost.
# Settings of your own go into {files.local.name}/*.conf.

# The keys below can be read by the province's owner only. Started as root, Mosquitto would become
# the user "mosquitto" before it reads them, and fail.
user {owner}
pid_file {files.pid}

log_dest {destination}
log_type error
log_type warning
log_type notice
log_type information
log_timestamp_format %Y-%m-%dT%H:%M:%S%z
connection_messages true

# ---- what survives a restart ------------------------------------------------------------
# Sessions and retained messages. This is convenience, not the promise: Mosquitto acknowledges
# from memory, so a report counts as stored only when the ingest says so; devices keep it so long.
# Every 5 minutes, the rhythm of the reports. On every change would write the whole file for each.
persistence true
persistence_location {files.data}/
autosave_interval 300
autosave_on_changes false
# persistent_client_expiration is not set, on purpose. A session is named by its certificate, so
# there can be no more of them than slots; and a village that is dark for months, or a server
# without a clock after a power cut, must not cost a device its session.

# ---- limits -----------------------------------------------------------------------------
# What waits for a client that is away: for the ingest one day of all {villages} villages, bounded
# in bytes as well, whichever comes first. 0 would mean without limit, until memory ends; what is
# dropped beyond comes again, since the device keeps it until it is stored.
max_queued_messages {queue}
max_queued_bytes {queue_bytes}
# The ingest confirms whole batches after they are committed: the default of 20 in flight would
# make each batch that small.
max_inflight_messages 1000
# {MESSAGE_BYTES} bytes of payload, with topic and header. A longer packet ends the connection
# before memory is spent on it; message_size_limit would read it all, confirm it and drop it.
max_packet_size {PACKET_BYTES}
# A link that broke silently is noticed after one and a half keepalives. Only MQTT 5
# clients can be given another; the agent, which uses 3.1.1, keeps itself to no more than this.
max_keepalive 3600
# Messages are small and late ones make outages look longer.
set_tcp_nodelay true
queue_qos0_messages false

# ---- who may do what --------------------------------------------------------------------
allow_anonymous false
acl_file {files.acl}

# ---- the one listener; nothing listens in plain text -------------------------------------
{listener}
protocol mqtt
max_connections {connection_limit(villages)}
cafile {province.ca_certificate}
certfile {province.server_certificate}
keyfile {province.server_key}
crlfile {province.crl}
tls_version tlsv1.2
require_certificate true
# The name in the certificate is the user, and the client id: nobody can take another's session.
use_identity_as_username true
use_username_as_clientid true

include_dir {files.local}
"""


def write_config(province: Province, *, port: int | None = None) -> BrokerFiles:
    """Write mosquitto.conf and the ACL from the province as it is now.

    Raises:
        RegistryError: the registry can't be read.
        KeyFileError: the public root key can't be read.
    """
    from host_tools.keys.authorities import hold_root
    from host_tools.people.technicians import root_public
    from host_tools.province.registry import Registry

    files = broker_files(province)
    hold_root(province.ca_certificate, root_public(province))
    with Registry.open(province.directory) as registry:
        regencies = list(registry.regencies())
        villages = len(registry.villages())
    for directory in (files.directory, files.data, files.local):
        make_directory(directory)
    text = render_config(province, villages, owner=_owner(province.directory), port=port)
    write_file(files.acl, render_acl(regencies).encode(), 0o600)
    write_file(files.config, text.encode(), 0o600)
    return files


def runs_as_root(province: Province) -> bool:
    """Whether the broker would keep root's rights, because the province belongs to root."""
    return os.geteuid() == 0 and province.directory.stat().st_uid == 0
