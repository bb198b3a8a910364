"""The words and numbers of the report, in the language in force."""

from __future__ import annotations

from fractions import Fraction

from host_tools.common.i18n import _, local
from host_tools.contracts.months import rounded
from host_tools.contracts.words import decimal, rupiah
from host_tools.states.words import state_sentence, state_word
from host_tools.wire.vocabulary import OFF_AGENT, OFF_POWER

__all__ = ["count", "kinds", "percent", "rupiah"]


def kinds() -> dict[str, str]:
    """What each kind of time is called."""
    return {
        "up": state_word("up"),
        "short": _("down, shorter than is charged"),
        "down": _("down, the provider's"),
        "site": _("down, the village's equipment"),
        "power": state_sentence(OFF_POWER),
        "agent": state_sentence(OFF_AGENT),
        "maintenance": _("maintenance"),
        "force_majeure": _("force majeure"),
        "off_hours": _("outside of service hours"),
        "unknown": _("not known"),
    }


def findings() -> dict[str, str]:
    """What each kind of finding is called."""
    return {
        "gap": _("gaps in the reports"),
        "dropped": _("reports that a device has lost"),
        "chain_break": _("broken chains"),
        "stream_lost": _("journals begun anew"),
        "unplaced": _("devices without a clock: reports without a time"),
        "future_clock": _("clocks ahead"),
        "corrupt": _("damaged evidence"),
    }


def percent(share: Fraction | None, digits: int = 2) -> str:
    """A share of 1 in per cent; a dash if it is not known."""
    return "–" if share is None else local(decimal(share, digits)) + " %"


def count(number: int) -> str:
    return local(f"{number:,}")


def minutes(seconds: int) -> str:
    """Seconds as minutes with a decimal, rounded half up."""
    tenths = rounded(Fraction(seconds, 6))
    return local(f"{tenths // 10:,}.{tenths % 10}")


def mbps(kbits: float) -> str:
    """Kilobits a second as megabits with a decimal."""
    return local(f"{kbits / 1000:.1f}")
