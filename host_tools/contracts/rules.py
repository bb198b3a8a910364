"""The rules by which a month's minutes become availability and restitution, as versioned data.

A rule's version is a TOML file (rules_1.toml is the first). What is written there once does not
change: a correction is a new version, with the first month for which it holds.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import resources
from typing import Annotated

from msgspec import Meta

from host_tools.common import tables
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _
from host_tools.province.contract_records import FORCE_MAJEURE, MAINTENANCE
from host_tools.wire.vocabulary import NO_DATA, OFF_AGENT, OFF_POWER, STATES

# What a second of a month can be. EXCLUDABLE are those that a contract may exclude; the time that
# it does not exclude is the provider's.
UP, DOWN, UNKNOWN = "up", "down", "unknown"
SHORT, OFF_HOURS = "short", "off_hours"
EXCLUDABLE = ("power", "site", "agent", MAINTENANCE, FORCE_MAJEURE)
KINDS = (UP, SHORT, DOWN, *EXCLUDABLE, OFF_HOURS, UNKNOWN)

_MEANINGS = (UP, DOWN, "site", "power", "agent", UNKNOWN)
_STATES = (*(state.name for state in STATES), OFF_POWER, OFF_AGENT, NO_DATA)

Excludable = Annotated[str, tables.choice(*EXCLUDABLE)]


class RulesError(DesalinkError):
    """A file of rules that is not valid, or a month for which there are none."""


@dataclass(frozen=True)
class Excluded:
    """What is not the provider's, where a contract does not say otherwise."""

    default: list[Excludable]


@dataclass(frozen=True)
class Restitution:
    """How much is paid back."""

    formula: Annotated[str, tables.choice("shortfall", "downtime")]


@dataclass(frozen=True)
class Rules:
    """One version. valid_from: the first month, as YYYY-MM; threshold_s: seconds."""

    version: Annotated[int, tables.whole(1, 9999)]
    valid_from: Annotated[str, tables.text(r"20\d\d-(0[1-9]|1[0-2])", "a month such as 2026-10")]
    threshold_s: Annotated[int, tables.whole(0, 86_400)]
    states: dict[str, Annotated[str, tables.choice(*_MEANINGS)]]
    excluded: Excluded
    restitution: Restitution
    note: Annotated[str, Meta(description="a text")] = ""
    digest: str = field(default="", compare=False)

    def meaning(self, state: str) -> str:
        """What a state of the timeline says of the contract; one that is not known is unknown."""
        return self.states.get(state, UNKNOWN)


def read_rules(text: str, name: str) -> Rules:
    """Check the text of a file of rules.

    Args:
        name: of the file, for errors.

    Raises:
        RulesError: names the key and what is expected.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError(
            _("{name} is not valid TOML ({error}); correct that line.").format(
                name=name, error=error
            )
        ) from None
    table.pop("digest", None)
    try:
        rules = tables.checked(table, Rules)
    except tables.TableError as error:
        raise RulesError(f"{name}: {error}") from None
    strange = sorted(set(rules.states) - set(_STATES))
    if strange:
        raise RulesError(
            _(
                "{name}: states.{state}: the province has no such state; correct or remove it "
                "(there are: {names})."
            ).format(name=name, state=strange[0], names=", ".join(_STATES))
        )
    missing = [state for state in _STATES if state not in rules.states]
    if missing:
        raise RulesError(
            _("{name}: states.{state} is missing; say what it means.").format(
                name=name, state=missing[0]
            )
        )
    return replace(rules, digest=hashlib.sha256(text.encode()).hexdigest())


def first_text() -> str:
    """The text of version 1, which every province has."""
    return resources.files(__package__).joinpath("rules_1.toml").read_text(encoding="utf-8")


def rules_for(month: str, versions: Iterable[Rules]) -> Rules:
    """The version under which a month is counted: of those valid by then, the newest.

    Raises:
        RulesError: there is none.
    """
    valid = [rules for rules in versions if rules.valid_from <= month]
    if not valid:
        raise RulesError(
            _("No rules are valid for {month}; add some with 'desalink rules add'.").format(
                month=month
            )
        )
    return max(valid, key=lambda rules: (rules.valid_from, rules.version))


def restitution(
    rules: Rules,
    price: Fraction,
    target: Fraction,
    availability: Fraction | None,
    down_s: int,
    service_s: int,
) -> Fraction:
    """What the provider pays back, in rupiah, not rounded.

    Args:
        price: of the time that the contract covers of the month.
        target, availability: as shares of 1; None: nothing was measured.
        down_s: charged downtime; service_s: time in which the service is counted.
    """
    if availability is None or availability >= target:
        return Fraction(0)
    if rules.restitution.formula == "downtime":
        return price * down_s / service_s if service_s else Fraction(0)
    return price * (target - availability)
