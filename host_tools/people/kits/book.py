"""Kits in the registry, by what a person types."""

from __future__ import annotations

import time

from host_tools.common.i18n import _
from host_tools.people.kits.model import KitError
from host_tools.province.records import KitEntry
from host_tools.province.registry import Registry


def usable(registry: Registry) -> list[KitEntry]:
    """The kits from which devices can be enrolled now."""
    now = time.time()
    return [kit for kit in registry.kits() if kit.state(now) == "valid"]


def find(registry: Registry, text: str) -> KitEntry:
    """The kit with an id; its first digits are enough.

    Raises:
        KitError: none or several.
    """
    wanted = text.strip().lower()
    found = [e for e in registry.kits() if len(wanted) >= 4 and e.id.hex().startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(entry.id.hex() for entry in found[:5])
        raise KitError(
            _("Several kits begin with '{text}': {names}; give more digits.").format(
                text=text, names=names
            )
        )
    raise KitError(
        _(
            "This province has no kit '{text}'; give at least 4 digits of an id from 'desalink "
            "kit list', or the kit's file."
        ).format(text=text)
    )
