"""The .ipk format of OpenWrt's opkg: a gzipped tar that holds three files.

    ./debian-binary   "2.0"
    ./data.tar.gz     the files
    ./control.tar.gz  the fields and scripts for the package manager

OpenWrt does not use the `ar` archive of Debian and of other opkg systems. The same content gives
the same bytes: no times, no owners, names sorted.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One file of a package, or a directory if `content` is None.

    path: absolute on the device; mode: permission bits. The owner is root.
    """

    path: str
    content: bytes | None
    mode: int = 0o644


def gzip(data: bytes) -> bytes:
    """Compress without time, name or system in the header, as `gzip -n`."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = squeeze.compress(data) + squeeze.flush()
    tail = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\x02\x03" + body + tail


def tar(entries: Iterable[Entry], time: int) -> bytes:
    """An archive in the form of OpenWrt's own tool: `./` before each name, and every parent
    directory. time: Unix time of every file."""
    wanted = {entry.path.strip("/"): entry for entry in entries}
    for path in list(wanted):
        while "/" in path:
            path = path.rpartition("/")[0]
            wanted.setdefault(path, Entry(path, None, 0o755))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, "./", Entry("", None, 0o755), time)
        for path in sorted(wanted):
            _add(archive, f"./{path}", wanted[path], time)
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, entry: Entry, time: int) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = entry.mode, time
    info.uname = info.gname = "root"
    if entry.content is None:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        return
    info.size = len(entry.content)
    archive.addfile(info, io.BytesIO(entry.content))


def build(
    control: Mapping[str, str],
    description: str,
    files: Iterable[Entry],
    *,
    scripts: Mapping[str, bytes],
    conffiles: Iterable[str],
    time: int,
) -> bytes:
    """The bytes of a package.

    Args:
        control: its fields in their order, without Installed-Size and Description.
        description: one line.
        scripts: `postinst`, `prerm` ... and their text.
        conffiles: paths that an upgrade keeps.
        time: Unix time of every file in it.
    """
    data = tar(files, time)
    fields = [f"{name}: {value}" for name, value in control.items()]
    fields += [f"Installed-Size: {len(data)}", f"Description: {description}"]
    inner = [
        Entry("/control", "\n".join([*fields, ""]).encode()),
        Entry("/conffiles", "".join(f"{path}\n" for path in sorted(conffiles)).encode()),
        *(Entry(f"/{name}", text, 0o755) for name, text in scripts.items()),
    ]
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in (
            Entry("./debian-binary", b"2.0\n"),
            Entry("./data.tar.gz", gzip(data)),
            Entry("./control.tar.gz", gzip(tar(inner, time))),
        ):
            _add(archive, entry.path, entry, time)
    return gzip(outer.getvalue())


def file_name(control: Mapping[str, str]) -> str:
    """The file name of a package in OpenWrt."""
    return "{Package}_{Version}_{Architecture}.ipk".format(**control)
