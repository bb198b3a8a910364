"""The words and numbers of the report, in the language in force."""

from __future__ import annotations

from fractions import Fraction

from host_tools.common.i18n import _, language
from host_tools.contracts.months import rounded
from host_tools.contracts.words import decimal, rupiah

__all__ = ["count", "duration", "kinds", "labels", "percent", "rupiah", "size"]


def kinds() -> dict[str, str]:
    """What each kind of time is called."""
    return {
        "up": _("up"),
        "short": _("down, shorter than is charged"),
        "down": _("down, the provider's"),
        "site": _("down, the village's equipment"),
        "power": _("no power"),
        "agent": _("measuring device off"),
        "maintenance": _("maintenance"),
        "force_majeure": _("force majeure"),
        "off_hours": _("outside of service hours"),
        "unknown": _("not known"),
    }


def causes() -> dict[str, str]:
    """What each state is called that a provider is charged with."""
    return {
        "provider": _("no connection beyond the village"),
        "next_hop": _("the provider's first router does not answer"),
        "dns": _("names are not resolved (DNS)"),
        "other_dns": _("only other name servers answer"),
        "portal": _("a payment or log-in page"),
        "tls": _("TLS is intercepted"),
        "power": _("no power"),
        "agent": _("measuring device off"),
        "clock": _("the device's clock is wrong"),
        "gateway": _("the village's router does not answer"),
        "interface": _("no link to the village's router"),
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


def _local(text: str) -> str:
    """A number as the language writes it: `1,234.5` or `1.234,5`."""
    if language() != "id":
        return text
    return text.translate(str.maketrans(",.", ".,"))


def percent(share: Fraction | None, digits: int = 2) -> str:
    """A share of 1 in per cent; a dash if it is not known."""
    return "–" if share is None else _local(decimal(share, digits)) + " %"


def count(number: int) -> str:
    return _local(f"{number:,}")


def minutes(seconds: int) -> str:
    """Seconds as minutes with a decimal, rounded half up."""
    tenths = rounded(Fraction(seconds, 6))
    return _local(f"{tenths // 10:,}.{tenths % 10}")


def mbps(kbits: float) -> str:
    """Kilobits a second as megabits with a decimal."""
    return _local(f"{kbits / 1000:.1f}")


def duration(seconds: float | None) -> str:
    """A length of time: `5 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    if whole < 3600:
        return _("{minutes} min").format(minutes=whole // 60)
    if whole < 86_400:
        return _("{hours} h {minutes} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)
    return _("{days} d {hours} h").format(days=whole // 86_400, hours=whole % 86_400 // 3600)


def size(number: int) -> str:
    """Bytes: `12.3 GB`."""
    value, units = number / 1000, ["TB", "GB", "MB", "kB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop()
    return _local(f"{value:.1f}") + f" {units[-1]}"
