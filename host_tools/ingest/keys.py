"""The keys by which devices are known, kept in memory and renewed when the registry changes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from host_tools.province.registry import Registry
from host_tools.wire import Key


class KeySource(Protocol):
    """Where keys come from."""

    def version(self) -> int:
        """A number that differs once somebody has changed the keys."""

    def load(self) -> dict[bytes, Key]:
        """All keys ever enrolled, by key id."""

    def close(self) -> None:
        """Let go of the source."""


class RegistryKeys:
    """The keys of a province's registry."""

    def __init__(self, directory: Path) -> None:
        self._registry = Registry.open(directory)

    def version(self) -> int:
        """See KeySource."""
        return self._registry.version()

    def load(self) -> dict[bytes, Key]:
        """See KeySource."""
        return {
            device.kid: Key(device.public_key, device.slot, device.active)
            for device in self._registry.devices()
        }

    def close(self) -> None:
        """See KeySource."""
        self._registry.close()
