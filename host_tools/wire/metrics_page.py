"""Renders docs/metrics.md: `python -m host_tools.wire.metrics_page > docs/metrics.md`."""

from collections.abc import Iterable


from host_tools.wire import vocabulary

_HEAD = """# Metrics, states, events

Generated from `agent/wire/vocabulary.toml` by
`python -m host_tools.wire.metrics_page > docs/metrics.md`; a
test keeps the two equal. How a column is coded is in [wire.md](wire.md). On the wire a value is
the measured value times the scale, rounded to an integer. null (or an absent column) is "not
measured", never 0. Codes that a table does not have are kept as numbers.

"""

_USAGE = """## Samples and usage

The province unpacks the samples of all reports that have a place in time into the table `samples`
of `province.db`: metrics {stored}. The others, {unstored}, are in the signed bytes only.

The usage of an hour, a full hour of UTC, is the sum of `bytes_down` and of `bytes_up` over the
samples of the slot that begin in it, and the greatest of their `clients_peak` (`clients` where
that is null) and `clients_day`. Null adds nothing; if all are null the sum is null. Of samples
that begin in the same second, such as the same time told in two streams, one counts: that of the
stream of which the province heard first, and within a stream that of the lower seq. Samples that
overlap otherwise are added, but an hour's measured time (the sum of their `step`) is at most
3,600 s, and a sum of bytes at most 2^53 - 1. A day is that of WITA (UTC+8); days and months are
sums of hours.
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


def _ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as text: `1 to 22, 41 and 42`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = []
    for part in parts:
        texts += [f"{part[0]} to {part[-1]}"] if len(part) > 2 else [str(n) for n in part]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def _usage() -> str:
    stored = [number for number, name, *_ in vocabulary.METRICS if name in STORED]
    unstored = [number for number, name, *_ in vocabulary.METRICS if name not in STORED]
    return _USAGE.format(stored=_ranges(stored), unstored=_ranges(unstored))


def render() -> str:
    """The whole page, Markdown."""
    code = ("code", "name", "meaning")
    return _HEAD + "\n".join(
        (
            _table(
                "Metrics",
                "A report's columns (key 8).",
                ("id", "name", "unit", "scale", "kind", "meaning"),
                vocabulary.METRICS,
            ),
            _usage(),
            _table(
                "States",
                "Values of the metric `state`, causes of outages, and rungs of evidence.",
                code,
                vocabulary.STATES,
            ),
            _table(
                "Events",
                "Kinds of events (key 9), with the keys of their detail. Where one that is needed "
                "is absent or not valid, the event tells nothing.",
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
