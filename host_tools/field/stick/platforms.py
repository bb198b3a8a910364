"""The systems that a stick can serve."""

from __future__ import annotations

from dataclasses import dataclass

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _


class StickError(DesalinkError):
    """A stick can't be made as it was asked for."""


@dataclass(frozen=True)
class Platform:
    """One system.

    tags: platform tags of wheels that run on it; triple: how the builds of Python for it are
    named; extra: packages that only this system needs, exactly.
    """

    name: str
    tags: tuple[str, ...]
    triple: str
    extra: tuple[str, ...] = ()


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform(
            "windows-x64",
            ("win_amd64",),
            "x86_64-pc-windows-msvc",
            # pip reads markers for the machine that it runs on. rich-click needs this on Windows.
            ("colorama==0.4.6",),
        ),
        Platform(
            "linux-x64",
            ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
            "x86_64-unknown-linux-gnu",
        ),
        Platform("macos-arm64", ("macosx_12_0_arm64",), "aarch64-apple-darwin"),
    )
}


def platform_named(name: str) -> Platform:
    """Raises StickError: there is none of this name."""
    found = PLATFORMS.get(name)
    if found is None:
        raise StickError(
            _("There is no platform {name}; choose one of {names}.").format(
                name=name, names=", ".join(PLATFORMS)
            )
        )
    return found
