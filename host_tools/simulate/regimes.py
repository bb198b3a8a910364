"""The regimes of a simulated province, as data: links, power, special villages, shared faults.

A share is a part of all villages. Every entry of a table gets one village at least. Times are
seconds, rates are events a day.
"""

from __future__ import annotations

from typing import NamedTuple

MINUTE, HOUR, DAY = 60, 3600, 86400


class LinkKind(NamedTuple):
    """A kind of uplink.

    Attributes:
        rtt_ms, spread_ms: round-trip time to the upstream targets, and how far it varies.
        cuts: outages a day; cut_s: their usual length.
        congestion: chance that an evening is degraded.
        storm: chance that a storm over the district cuts it.
        mb_hour: what a village moves in a busy hour, in MB.
        backlog: reports a second that it carries after an outage.
    """

    share: float
    providers: tuple[str, ...]
    rtt_ms: int
    spread_ms: int
    cuts: float
    cut_s: int
    congestion: float
    storm: float
    mb_hour: int
    backlog: int
    signal_dbm: int | None = None


LINKS = {
    "starlink": LinkKind(
        0.22, ("Telkomsat Starlink", "Bestcamp Starlink"), 48, 18, 1.0, 100, 0.15, 0.6, 900, 20
    ),
    "4g": LinkKind(0.36, ("Orbit 4G",), 62, 30, 1.6, 240, 0.6, 0.2, 420, 8, -97),
    "radio": LinkKind(
        0.30, ("Comtelindo", "Telkom WMS"), 34, 12, 0.9, 600, 0.4, 0.5, 500, 10, -71
    ),
    "fibre": LinkKind(0.12, ("IndiHome", "Icon+"), 18, 4, 0.25, 1500, 0.1, 0.1, 1200, 40),
}

# Causes of a link's own outages, by weight.
CAUSES = {
    "interface": 8,
    "gateway": 12,
    "provider": 60,
    "dns": 8,
    "portal": 5,
    "tls": 2,
    "broker": 5,
}


class PowerKind(NamedTuple):
    """A kind of supply; night: it runs from evening to midnight only."""

    share: float
    cuts: float
    cut_s: int
    night: bool = False


POWERS = {
    "grid": PowerKind(0.70, 0.12, 2400),
    "solar": PowerKind(0.22, 0.05, 14400),
    "night_genset": PowerKind(0.08, 0.0, 0, True),
}
# A genset starts and stops at about these times (seconds of the day, WITA).
GENSET_FROM, GENSET_TO, GENSET_JITTER_S = 18 * HOUR, 23 * HOUR + 30 * MINUTE, 20 * MINUTE

# What is special about a village, and its share. All others are "ordinary".
SPECIALS = {
    "unused": 0.05,  # installed, and nobody uses it
    "not_installed": 0.04,
    "late_installed": 0.03,
    "isolated": 0.05,  # cut from its provider for days or weeks, then all comes at once
    "blocked": 0.02,  # the internet is there, the broker is not reached for days or weeks
    "clockless": 0.06,  # after each start the clock stays unset for hours
    "wrong_clock": 0.02,  # wrong for hours: behind, ahead, or decades back; then set right
    "replaced": 0.03,  # a second device takes the place of the first
    "copied": 0.01,  # a second device runs with a copy of the first one's storage
    "lost_journal": 0.03,  # the journal is lost with all that was not sent: a new stream
    "bad_flash": 0.02,  # reports of a backlog are lost on the medium, and declared
    "restarts": 0.04,  # a watchdog resets the device every few hours
    "revoked": 0.01,  # its key is revoked, and it goes on sending
    "silent": 0.02,  # nothing comes any more from some day on
    "twice": 0.02,  # many reports are sent twice
}
ORDINARY = "ordinary"

WRONG_CLOCKS = (-3 * HOUR, 2 * HOUR, -46 * 365 * DAY)

# What is special about a village's contract, and its share. All others are "ordinary".
CONTRACTS = {
    "all_charged": 0.04,  # excludes nothing
    "power_charged": 0.10,  # excludes maintenance and force majeure only
    "daytime": 0.15,  # owed from 06:00 to 22:00
    "handed_over": 0.10,  # another provider from the middle on
    "ended": 0.03,  # no contract from the middle on
    "none": 0.02,
}

# Faults that many villages share: how often in 30 days (once at least), and how long.
BACKBONE_CUTS, BACKBONE_S = 1.5, (1 * HOUR, 6 * HOUR)
BROKER_CUTS, BROKER_S = 1.0, (10 * MINUTE, 40 * MINUTE)
STORMS, STORM_S = 12.0, (1 * HOUR, 5 * HOUR)
STORM_POWER = 0.3  # chance that a storm cuts a village's power as well
CONGESTION_FROM, CONGESTION_S = 19 * HOUR, (40 * MINUTE, 150 * MINUTE)

# Part of a busy hour's traffic, by hour of the day (WITA).
USE_BY_HOUR = (
    *(0.10, 0.05, 0.03, 0.03, 0.05, 0.15, 0.25, 0.35, 0.50, 0.60, 0.60, 0.60),
    *(0.65, 0.60, 0.60, 0.60, 0.65, 0.70, 0.85, 1.00, 1.00, 0.85, 0.50, 0.25),
)

SAMPLES = 5  # in a report
SHORTEST_S = 30  # an agent does not see what is shorter
LAG_S = 15  # by which the state of a sample follows the link
UP_S = 3  # from a device's start to its first sample
JOURNAL_REPORTS = 1500  # what the journal holds
# As the journal fills, samples become longer: (part that is full, factor).
COARSER = ((0.75, 60), (0.50, 15), (0.25, 5))
TICK_S = 60  # the province receives in steps of this, so that a batch has one time
