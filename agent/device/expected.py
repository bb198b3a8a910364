"""Checks the values of a configuration, with a sentence for each mistake (config.py)."""

import json


def mistake_in(value, key, default, kind, least, most):
    """What is wrong with a value, None if nothing is. value: None if the file has none. The rest:
    a line of a table of keys."""
    if value is None:
        if default == "-":
            return "%s is missing: expected %s" % (key, _expected(kind, least, most))
    elif not _valid(kind, value, int(least), int(most)):
        text = "%s: expected %s" % (key, _expected(kind, least, most))
        secret = key.endswith("password") or key.endswith("community")
        return text if secret else "%s, got %s" % (text, json.dumps(value))
    return None


def mistake(config, rest):
    """What is wrong that no single key shows. rest: what the file has beyond the keys."""
    for key in rest:
        return "%s: no such key: correct or remove it" % key
    if config["cadence.sample_s"] < config["cadence.round_s"]:
        return "cadence.sample_s: expected at least cadence.round_s (%d), got %d" % (
            config["cadence.round_s"],
            config["cadence.sample_s"],
        )
    if 0 < config["cadence.quiet_samples"] < config["cadence.report_samples"]:
        return "cadence.quiet_samples: expected 0 or at least cadence.report_samples"
    if config["throughput.url"] and config["budget.month_mb"] is None:
        return "budget.month_mb is missing, which throughput.url needs (0: no limit)"
    if config["journal.capacity"] < 3 * config["journal.segment"]:
        return "journal.capacity: expected room for three segments of %d bytes, got %d" % (
            config["journal.segment"],
            config["journal.capacity"],
        )
    return None


def _valid(kind, value, least, most):
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    if kind == "object":
        return isinstance(value, dict)
    if kind == "list":
        if not isinstance(value, list) or not least <= len(value) <= most:
            return False
        return all([isinstance(v, str) and 0 < len(v) <= 253 for v in value])
    if not isinstance(value, str) or not least <= len(value) <= most:
        return False
    if kind != "slot":
        return True
    village, sign, number = value.partition("-")
    digits = all([c in "0123456789" for c in village + number])
    return digits and len(village) == 10 and sign == "-" and number[0] != "0"


def _expected(kind, least, most):
    """In words."""
    if kind == "slot":
        return 'a slot such as "6403112001-1" (village code, dash, number)'
    if kind == "path":
        return "a path"
    if kind == "object":
        return "an object { ... }"
    form = "a text of %s to %s characters"
    if kind == "int":
        form = "an integer from %s to %s"
    elif kind == "list":
        form = "a list of %s to %s texts"
    return form % (least, most)
