"""Renders docs/metrics.md: `python -m host_tools.reference > docs/metrics.md`."""

from host_tools import vocabulary

_HEAD = """# Metrics, states, events

Generated from `agent/wire/vocabulary.toml` by `python -m host_tools.reference > docs/metrics.md`;
a test keeps the two equal. How a column is coded is in [wire.md](wire.md). On the wire a value is
the measured value times the scale, rounded to an integer. null (or an absent column) is "not
measured", never 0.

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
            _table(
                "States",
                "Values of the metric `state`, causes of outages, and rungs of evidence.",
                code,
                vocabulary.STATES,
            ),
            _table(
                "Events",
                "Kinds of events (key 9), with the keys of their detail.",
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
