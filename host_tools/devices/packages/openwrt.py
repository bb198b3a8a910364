"""The package of the agent for OpenWrt routers: the same plain source for every architecture."""

from __future__ import annotations

import os
import re

from agent import VERSION
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.devices.boards import load_board
from host_tools.devices.packages.ipk import Entry, build, file_name
from host_tools.devices.release import build_release

HOME = "/usr/lib/desalink"
STATE = "/etc/desalink"
SETTINGS = "/etc/config/desalink"

# In OpenWrt's feed `packages`. Python's standard library comes in pieces there.
DEPENDS = {
    "micropython": ("micropython-mbedtls",),
    "python3": (
        "python3-light",
        "python3-asyncio",
        "python3-codecs",
        "python3-logging",
        "python3-openssl",
    ),
}

# Path on the router and mode of each file of boards/openwrt/.
_SYSTEM = {
    "init.sh": ("/etc/init.d/desalink", 0o755),
    "ntp.sh": ("/etc/hotplug.d/ntp/60-desalink", 0o644),
    "keep.conf": ("/lib/upgrade/keep.d/desalink", 0o644),
    # It may hold passwords of equipment.
    "uci.conf": (SETTINGS, 0o600),
}

# 2024-01-01; any fixed time is good.
_TIME = 1704067200


class PackageError(DesalinkError):
    """A package that can't be built as asked."""


def _time() -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH", str(_TIME))
    if not re.fullmatch(r"\d{1,10}", text):
        raise PackageError(
            _("SOURCE_DATE_EPOCH is '{text}' and not a Unix time; correct or unset it.").format(
                text=text
            )
        )
    return int(text)


def system_files() -> list[Entry]:
    """The router's other files: start script, hotplug script, default settings."""
    folder = load_board("openwrt").directory
    files = [
        Entry(path, (folder / name).read_bytes(), mode) for name, (path, mode) in _SYSTEM.items()
    ]
    return [*files, Entry(STATE, None, 0o700)]


def build_openwrt(interpreter: str = "micropython") -> tuple[str, bytes]:
    """(file name, bytes) of the package.

    Args:
        interpreter: `micropython` or `python3`, a dependency of the package.

    Raises:
        PackageError: SOURCE_DATE_EPOCH is no time.
    """
    board = load_board("openwrt")
    code = [
        Entry(f"{HOME}/{path.lstrip('/')}", content)
        for path, content in build_release(board).files.items()
    ]
    time = _time()
    control = {
        "Package": "desalink",
        "Version": f"{VERSION}-1",
        "Depends": ", ".join(("libc", *DEPENDS[interpreter])),
        "Source": "desalink",
        "License": "MIT",
        "Section": "net",
        "SourceDateEpoch": str(time),
        "Maintainer": "Desalink contributors",
        "Architecture": "all",
    }
    scripts = {
        name: (board.directory / f"{name}.sh").read_bytes() for name in ("postinst", "prerm")
    }
    package = build(
        control,
        "Measures the village's internet link and reports to the province.",  # English
        [*code, *system_files()],
        scripts=scripts,
        conffiles=[SETTINGS],
        time=time,
    )
    # Both are the package `desalink`, with different dependencies.
    return f"{file_name(control).removesuffix('.ipk')}-{interpreter}.ipk", package
