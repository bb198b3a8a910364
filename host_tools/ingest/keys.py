"""The keys by which devices are known, kept in memory and renewed when the registry changes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from host_tools.province.registry import Registry
from host_tools.wire import Key


class KeySource(Protocol):
    """Where keys come from."""

    def version(self) -> int:
        """A number that differs after the keys were changed."""

    def load(self) -> dict[bytes, Key]:
        """All keys ever enrolled, by key id."""

    def close(self) -> None:
        """Close the source."""


class RegistryKeys:
    """The keys of a province's registry, also after its file was replaced."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._registry = Registry.open(directory)
        self._replaced = 0

    def version(self) -> int:
        if self._registry.replaced():
            renewed = Registry.open(self._directory)
            self._registry.close()
            self._registry = renewed
            self._replaced += 1
        # A replaced file counts its changes anew.
        return self._replaced << 32 | self._registry.version()

    def load(self) -> dict[bytes, Key]:
        return {
            device.kid: Key(device.public_key, device.slot, device.active)
            for device in self._registry.devices()
        }

    def close(self) -> None:
        self._registry.close()
