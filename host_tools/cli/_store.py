"""What the verbs over the province's database share: opening it, and villages' names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from host_tools.common.i18n import _

if TYPE_CHECKING:
    from host_tools.cli import Application
    from host_tools.cli._options import Where
    from host_tools.province.contract_records import Contract
    from host_tools.province.registry import Registry
    from host_tools.store import Database

DAY = "24h"


@contextmanager
def reading(app: Application) -> Iterator[tuple[Registry, Database | None]]:
    """The registry, and the database if there is one yet."""
    from host_tools.store import StoreMissing, open_database

    with app.registry() as registry:
        try:
            database = open_database(app.province.database, readonly=True)
        except StoreMissing:
            if app.province.database.exists():
                raise
            yield registry, None
            return
        with database:
            yield registry, database


def note_underived(app: Application, database: Database | None, end: int) -> None:
    """Note that the figures before `end` lack reports that are stored."""
    from host_tools.contracts.closing import is_underived

    if is_underived(database, end, int(time.time())):
        app.note(
            _(
                "Reports are not derived yet, and count as no data here; wait for the ingest, or "
                "run 'desalink ingest --rebuild'."
            )
        )


def village_code(registry: Registry, text: str | None) -> str | None:
    """The code of the village that a person means, None if they mean all.

    Raises:
        VillageError: there is none.
    """
    from host_tools.province.villages import find_village

    if text is None:
        return None
    named = [v for v in registry.villages() if v.name.casefold() == text.strip().casefold()]
    return named[0].code if len(named) == 1 else find_village(registry, text).code


def place(registry: Registry, village: str | None, regency: str | None) -> str | None:
    """The first digits of the slots that a person means, None if they mean all."""
    from host_tools.common.errors import DesalinkError
    from host_tools.province.villages import find_regency

    if village and regency:
        raise DesalinkError(_("Give --village or --regency, not both."))
    return find_regency(registry, regency) if regency else village_code(registry, village)


def of_provider(registry: Registry, provider: str | None) -> frozenset[str] | None:
    """The codes of a provider's villages, None if a person means all.

    Raises:
        DesalinkError: no village has that provider.
    """
    import time

    from host_tools.common.errors import DesalinkError
    from host_tools.situation.overview import providers

    if provider is None:
        return None
    known = providers(registry, time.time())
    wanted = provider.strip().casefold()
    found = frozenset(
        code for code, names in known.items() if wanted in {name.casefold() for name in names}
    )
    if not found:
        listed = ", ".join(sorted(set().union(*known.values()))) or _("none is on record")
        raise DesalinkError(
            _(
                "No village has the provider '{provider}' ({listed}); 'desalink villages import' "
                "takes providers from a column 'provider'."
            ).format(provider=provider, listed=listed)
        )
    return found


def by_contract(
    registry: Registry, where: Where
) -> Callable[[str, Sequence[Contract]], bool] | None:
    """Whether a slot with its contracts of a month is asked about; None: every slot is."""
    code = place(registry, where.village, where.regency)
    if code is None and where.provider is None:
        return None
    return lambda slot, contracts: (
        slot.startswith(code or "")
        and where.provider in (None, *(contract.provider for contract in contracts))
    )


def names(registry: Registry) -> dict[str, str]:
    return {village.code: village.name for village in registry.villages()}


def labels(registry: Registry) -> dict[str, str]:
    """Village code to its name for eyes."""
    from host_tools.province.villages import village_labels

    return village_labels(registry.villages())


def nothing_yet(registry: Registry, code: str | None = None) -> str:
    """What to do where no report has come yet, from a village or from any."""
    active = registry.active_devices()
    if not active:
        return _("No device is enrolled yet; enrol one with 'desalink enrol'.")
    if code is not None and not any(device.slot.startswith(code) for device in active):
        return _(
            "No device of {name} ({code}) is enrolled; enrol one with 'desalink enrol --village "
            "{code}'."
        ).format(name=names(registry)[code], code=code)
    return _(
        "No report has come yet; see that 'desalink broker run' and 'desalink ingest' run, and "
        "that the devices reach the broker."
    )


class Scope:
    """What a person asks about: the open registry and database, and which slots of them.

    Attributes:
        code: the first digits of the slots, empty for all; village: of one village, else None.
        names, labels: village code to name, and to its name for eyes.
    """

    def __init__(self, registry: Registry, database: Database | None, where: Where) -> None:
        self.registry = registry
        self.database = database
        self.code = place(registry, where.village, where.regency) or ""
        self.village = self.code if len(self.code) == 10 else None
        self.names = names(registry)
        self.labels = labels(registry)
        self._of_provider = of_provider(registry, where.provider)

    def covers(self, slot: str) -> bool:
        """Whether a slot, or a village by its code, is asked about."""
        chosen = self._of_provider
        return slot.startswith(self.code) and (chosen is None or slot[:10] in chosen)

    def nothing(self, reported: str) -> str:
        """What to say where nothing is found; reported: what, if there are reports."""
        from host_tools.store.queries import slots

        seen = slots(self.database) if self.database else []
        if any(slot.startswith(self.code) for slot in seen):
            return reported
        return nothing_yet(self.registry, self.village)


@contextmanager
def scope(app: Application, where: Where) -> Iterator[Scope]:
    """Open what a person asks about."""
    with reading(app) as (registry, database):
        yield Scope(registry, database, where)
