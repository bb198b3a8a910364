"""The words and numbers of the report, in the language in force."""

from __future__ import annotations

from fractions import Fraction

from host_tools.common.i18n import _, local
from host_tools.contracts.months import rounded
from host_tools.contracts.words import decimal, rupiah
from host_tools.states.words import state_sentence, state_word
from host_tools.wire.vocabulary import OFF_AGENT, OFF_POWER

__all__ = ["count", "kinds", "labels", "percent", "rupiah"]


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


def labels() -> dict[str, str]:
    """Every other label of the pages."""
    return {
        "title": _("Availability report"),
        "month": _("Month"),
        "village": _("Village"),
        "district": _("District"),
        "regency": _("Regency"),
        "slot": _("Slot"),
        "provider": _("Provider"),
        "no_contract": _("no contract"),
        "availability": _("Availability"),
        "target": _("Target"),
        "worst": _("at worst"),
        "best": _("at best"),
        "restitution": _("Restitution"),
        "price": _("Price"),
        "minutes": _("Minutes"),
        "share": _("Share"),
        "kind": _("What the time was"),
        "sum": _("Sum: the whole month"),
        "cause": _("Cause"),
        "outages": _("Charged outages"),
        "no_outages": _("No outage was longer than the rules allow."),
        "more_events": _("{count} more are in the report of the data's quality."),
        "more_outages": _("{count} more are in figures.csv and outages.csv."),
        "begin": _("Begin (WITA)"),
        "end": _("End (WITA)"),
        "length": _("Length"),
        "charged": _("Charged"),
        "repair": _("Mean time to repair / between failures"),
        "usage": _("Usage"),
        "down": _("Down"),
        "up": _("Up"),
        "clients": _("Most clients at a time / in a day"),
        "unused": _("Days without any use"),
        "of_measured": _("of {days} measured"),
        "events": _("Maintenance, force majeure, disputes"),
        "by_provider": _("By provider"),
        "by_regency": _("By regency"),
        "slots": _("Slots"),
        "below": _("Below target"),
        "worse": _("What got worse since the month before"),
        "before": _("Before"),
        "now": _("Now"),
        "installed_unused": _("Installed but unused"),
        "strips": _("The month of every village"),
        "quality": _("The quality of the data"),
        "coverage": _("Known"),
        "no_data": _("No data"),
        "told_unknown": _("Measured as unknown"),
        "found": _("Findings"),
        "excluded": _("What was excluded, and by whom"),
        "who": _("Who"),
        "why": _("Why"),
        "concerns": _("Concerns"),
        "what": _("What"),
        "rules": _("Rules"),
        "formula_shortfall": _(
            "Restitution = price x (target - availability). Availability = (up + short) / (up + "
            "short + down); the rest of the month is excluded or not known."
        ),
        "formula_downtime": _(
            "Restitution = price x down / (up + short + down), if availability is below the "
            "target. Availability = (up + short) / (up + short + down); the rest of the month is "
            "excluded or not known."
        ),
        "not_closed": _("This month is not closed: the figures may still change."),
        "partial": _("Only some slots were chosen; the digest is of these."),
        "edition": _("Edition"),
        "check": _("Check with"),
        "hours_note": _("Bytes by hour of the day (WITA)"),
        "timeline": _("Every day of the month, by the hour (WITA)"),
        "nothing": _("None."),
        "figures": _("Figures"),
        "days": _("Days"),
        "when": _("Begin – end (WITA), charged time"),
        "evidence": _("Evidence file"),
        "report": _("Report (stream:number)"),
        "dispute": _("dispute"),
        "disputes": _("Disputes"),
        "ranking": _("Ranking: the most and the least available"),
        "rank": _("Rank"),
        "repair_short": _("MTTR"),
        "between_short": _("MTBF"),
        "busiest": _("Busiest hours"),
        "speed": _("Speed samples: lowest / median / highest, Mbps"),
        "count": _("Count"),
        "missing": _("Missing reports"),
        "withdrawn": _("Withdrawn, and by whom"),
        "quarantine": _("Messages in quarantine, not counted"),
        "dismissed": _("Dismissed by"),
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
