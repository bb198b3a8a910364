"""Renders docs/metrics.md: `python -m host_tools.wire.metrics_page > docs/metrics.md`."""

from host_tools.wire import vocabulary

_HEAD = """# Metrics, states, events

Generated from `agent/wire/vocabulary.toml` by
`python -m host_tools.wire.metrics_page > docs/metrics.md`; a
test keeps the two equal. How a column is coded is in [wire.md](wire.md). On the wire a value is
the measured value times the scale, rounded to an integer. null (or an absent column) is "not
measured", never 0. Codes that a table does not have are kept as numbers.

"""

_USAGE = """## Usage

The usage of an hour, a full hour of UTC, follows from the samples of the slot that lie in it at
least in part. A sample without a place in time (wire.md, "Time") counts nowhere.

1. Where samples of two boots cover the same second, that second belongs to the boot that comes
   first in rank (wire.md, "Rank"). Samples of one boot never take anything from each other: a
   clock that is set back makes them overlap, but they are of different times.
2. A sample counts with those of its seconds that belong to its boot. Let `b` be its bytes, `step`
   its length, `x` how many of these seconds come before the hour and `y` how many before the
   hour's end. It adds `floor(b*y/step) - floor(b*x/step)` to the hour, of `bytes_down` and of
   `bytes_up`.
3. `clients_peak` is the greatest of the samples that have such a second in the hour; where it is
   null their `clients` stands for it. `clients_day` is the greatest of the samples whose last
   second lies in the hour and belongs to their boot.
4. `measured_s` is how many seconds of the hour at least one sample covers.

Null adds nothing; if all are null the sum is null. A sum is at most 2^53 - 1. A day is that of
WITA (UTC+8), and begins with a full hour. Days and months are sums of hours, and the greatest of
their clients. An hour without a sample has no row.
"""


def _table(title: str, intro: str, header: tuple[str, ...], rows: object) -> str:
    lines = [f"## {title}", ""]
    if intro:
        lines += [intro, ""]
    lines.append("| " + " | ".join(header) + " |")
    lines.append("|" + " --- |" * len(header))
    for row in rows:  # type: ignore[attr-defined]
        lines.append("| " + " | ".join(f"{cell}" for cell in row) + " |")
    return "\n".join(lines) + "\n"


def render() -> str:
    code = ("code", "name", "meaning")
    return _HEAD + "\n".join(
        (
            _table(
                "Metrics",
                "A report's columns (key 8).",
                ("id", "name", "unit", "scale", "kind", "meaning"),
                vocabulary.METRICS,
            ),
            _USAGE,
            _table(
                "States",
                "Values of the metric `state`, causes of outages, and rungs of evidence.",
                code,
                vocabulary.STATES,
            ),
            _table(
                "Events",
                "Kinds of events (key 9), with the keys of their detail. Where one that is needed "
                "is absent or not valid, the event says nothing.",
                ("kind", "name", "detail"),
                vocabulary.EVENTS,
            ),
            _table("Clock sources", "Second member of key 10.", code, vocabulary.CLOCK_SOURCES),
            _table(
                "Reset causes",
                "Of births and of the event `booted`.",
                code,
                vocabulary.RESET_CAUSES,
            ),
            _table("Drop reasons", "Of the event `dropped`.", code, vocabulary.DROP_REASONS),
            _table(
                "Stream reasons", "Of the event `stream_began`.", code, vocabulary.STREAM_REASONS
            ),
            _table(
                "Probe results",
                "Second member of an evidence pair.",
                code,
                vocabulary.PROBE_RESULTS,
            ),
            _table("Ports", "Values of the metric `uplink_port`.", code, vocabulary.PORTS),
            _table(
                "Dish outages",
                "Values of the metric `dish_outage`.",
                code,
                vocabulary.DISH_OUTAGES,
            ),
            _table("Dish alerts", "Bits of `dish_alerts`.", code, vocabulary.DISH_ALERTS),
        )
    )


if __name__ == "__main__":
    print(render(), end="")
