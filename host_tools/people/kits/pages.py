"""The plain content of a kit: a signed manifest (JSON), then the files that it lists.

    length (4)  signature by the root key over id and SHA-256 of the manifest
    length (4)  manifest
    file ... file

The passphrase protects a kit from reading and changes. The signature shows that the province made
it, and nobody else with the passphrase.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from host_tools.common.i18n import _
from host_tools.common.tables import checked, text, whole
from host_tools.devices.release import Release
from host_tools.keys.signing import sign1, verify1
from host_tools.people.kits.model import Kit, KitCertificate, KitDevice, KitError, KitSlot
from host_tools.province.records import Village
from host_tools.wire.envelope import MAX_MESSAGE
from host_tools.wire.payload import decode
from host_tools.wire.reasons import Refused

AAD = b"desa/1/kit"

# A manifest of all 841 villages has about 3 MB.
_MAX_MANIFEST = 64 << 20
_MAX_FILE = 64 << 20

_Hex = Annotated[str, text("([0-9a-f]{2})*", "hexadecimal digits")]
_Hash = Annotated[str, text("[0-9a-f]{64}", "64 hexadecimal digits")]
_Kid = Annotated[str, text("[0-9a-f]{16}", "16 hexadecimal digits")]
_Slot = Annotated[str, text(r"[0-9]{10}-[1-9][0-9]{0,2}", "a slot")]
_Time = Annotated[int, whole(0, 1 << 40)]


@dataclass(frozen=True)
class _PackedProvince:
    code: str
    name: str


@dataclass(frozen=True)
class _PackedBroker:
    host: str
    port: Annotated[int, whole(1, 65535)]


@dataclass(frozen=True)
class _PackedRelease:
    version: str
    digest: str


@dataclass(frozen=True)
class _PackedSlot:
    slot: _Slot
    village: Village
    certificates: Annotated[tuple[tuple[str, str, str], ...], Meta(min_length=1)]
    """Certificate, key, serial number."""
    config: dict[str, Any]


@dataclass(frozen=True)
class _Manifest:
    id: _Kid
    province: _PackedProvince
    technician: str
    technician_key: _Hash
    created: _Time
    expires: _Time
    broker: _PackedBroker
    ca: str
    root: _Hash
    trust: _Hex
    slots: tuple[_PackedSlot, ...]
    firmware_boards: dict[str, str]
    releases: dict[str, _PackedRelease]
    settings: dict[str, Any]
    enrolled: tuple[tuple[str, _Kid, str | None, str], ...]
    """Slot, kid, unique id, board."""
    replacements: dict[str, _Kid]
    imported: dict[_Hex, _Time]
    files: tuple[tuple[str, str, str, Annotated[int, whole(0, _MAX_FILE)], _Hash], ...]
    """Kind, name, path, size, SHA-256."""
    authorities: tuple[_Hex, ...] = ()
    """Earlier kits don't have them."""


def pack(kit: Kit, root: Ed25519PrivateKey) -> Iterator[bytes]:
    """The plain content of a kit, for `seal`."""
    files = [("firmware", name, "", content) for name, content in kit.firmware.items()]
    for release in kit.releases.values():
        files += [("release", release.board, p, c) for p, c in release.files.items()]
    manifest = json.dumps(_manifest(kit, files), ensure_ascii=False).encode()
    statement = cbor2.dumps({1: kit.id, 2: hashlib.sha256(manifest).digest()}, canonical=True)
    for part in (sign1(root, statement, AAD), manifest):
        yield struct.pack(">I", len(part)) + part
    for *_names, content in files:
        yield content


def _manifest(kit: Kit, files: list[tuple[str, str, str, bytes]]) -> dict[str, Any]:
    return {
        "id": kit.id.hex(),
        "province": {"code": kit.province_code, "name": kit.province_name},
        "technician": kit.technician,
        "technician_key": kit.technician_key.private_bytes_raw().hex(),
        "created": kit.created,
        "expires": kit.expires,
        "broker": {"host": kit.broker_host, "port": kit.broker_port},
        "ca": kit.ca_pem.decode(),
        "root": kit.root_public.hex(),
        "authorities": [document.hex() for document in kit.authorities],
        "trust": kit.trust.hex(),
        "slots": [
            {
                "slot": slot.slot,
                "village": vars(slot.village),
                "certificates": [
                    [c.certificate_pem.decode(), c.key_pem.decode(), c.serial]
                    for c in slot.certificates
                ],
                "config": slot.config,
            }
            for slot in kit.slots.values()
        ],
        "firmware_boards": kit.firmware_boards,
        "releases": {
            r.board: {"version": r.version, "digest": r.digest} for r in kit.releases.values()
        },
        "settings": kit.settings,
        "enrolled": [[d.slot, d.kid.hex(), d.unique_id, d.board] for d in kit.enrolled],
        "replacements": {slot: kid.hex() for slot, kid in kit.replacements.items()},
        "imported": {log.hex(): count for log, count in kit.imported.items()},
        "files": [
            [kind, name, path, len(content), hashlib.sha256(content).hexdigest()]
            for kind, name, path, content in files
        ],
    }


class _Stream:
    """Reads a given number of bytes from chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._have = bytearray()

    def take(self, size: int) -> bytes:
        while len(self._have) < size:
            try:
                self._have += next(self._chunks)
            except StopIteration:
                raise ValueError("it ends too early") from None
        taken = bytes(self._have[:size])
        del self._have[:size]
        return taken

    def part(self, most: int) -> bytes:
        (size,) = struct.unpack(">I", self.take(4))
        if size > most:
            raise ValueError(f"a part of {size} bytes is too large")
        return self.take(size)

    def ended(self) -> bool:
        return not self._have and not any(self._chunks)


def unpack(chunks: Iterator[bytes], name: object) -> Kit:
    """Read a kit from its plain content.

    Raises:
        KitError: the form or a hash is wrong, or the root key in it has not signed it. The
            caller checks whether that root key is the province's.
        PassphraseError: from the chunks.
    """
    stream = _Stream(chunks)
    try:
        signature, manifest = stream.part(MAX_MESSAGE), stream.part(_MAX_MANIFEST)
        table = checked(json.loads(manifest), _Manifest, strict=False)
        statement = decode(verify1(signature, bytes.fromhex(table.root), AAD))
        digest = hashlib.sha256(manifest).digest()
        if statement.get(1) != bytes.fromhex(table.id) or statement.get(2) != digest:
            raise ValueError("its signature is for another manifest")
        files = [_file(stream, *row) for row in table.files]
        if not stream.ended():
            raise ValueError("something follows its last file")
        return _kit(table, files)
    except Refused as refused:
        reason: object = refused
    except (ValueError, RecursionError) as error:
        reason = error
    raise KitError(
        _(
            "{name} is not a kit that this desalink can use ({reason}); ask the province for a "
            "new one."
        ).format(name=name, reason=reason)
    )


def _file(stream: _Stream, kind: str, name: str, path: str, size: int, digest: str) -> Any:
    content = stream.take(size)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{name} {path} has another hash than the manifest says")
    # Names become files on laptops and devices: they must stay in their folder.
    for part in (name, *path.split("/")):
        if part in (".", "..") or "/" in part or "\\" in part or not part.isprintable():
            raise ValueError(f"{name} {path} is no file name")
    return kind, name, path, content


def _kit(table: _Manifest, files: list[Any]) -> Kit:
    slots = {
        packed.slot: KitSlot(
            packed.slot,
            packed.village,
            packed.config,
            tuple(KitCertificate(c.encode(), k.encode(), s) for c, k, s in packed.certificates),
        )
        for packed in table.slots
    }
    releases = {
        board: Release(
            release.version,
            board,
            {path: c for kind, name, path, c in files if (kind, name) == ("release", board)},
        )
        for board, release in table.releases.items()
    }
    for board, release in releases.items():
        if release.digest != table.releases[board].digest:
            raise ValueError(f"the agent for {board} is not whole")
    return Kit(
        id=bytes.fromhex(table.id),
        province_code=table.province.code,
        province_name=table.province.name,
        technician=table.technician,
        created=table.created,
        expires=table.expires,
        broker_host=table.broker.host,
        broker_port=table.broker.port,
        ca_pem=table.ca.encode(),
        root_public=bytes.fromhex(table.root),
        authorities=tuple(map(bytes.fromhex, table.authorities)),
        slots=slots,
        trust=bytes.fromhex(table.trust),
        technician_key=Ed25519PrivateKey.from_private_bytes(bytes.fromhex(table.technician_key)),
        firmware={name: content for kind, name, _, content in files if kind == "firmware"},
        firmware_boards=table.firmware_boards,
        releases=releases,
        settings=table.settings,
        enrolled=tuple(
            KitDevice(slot, bytes.fromhex(kid), unique_id, board)
            for slot, kid, unique_id, board in table.enrolled
        ),
        replacements={slot: bytes.fromhex(kid) for slot, kid in table.replacements.items()},
        imported={bytes.fromhex(log): count for log, count in table.imported.items()},
    )
