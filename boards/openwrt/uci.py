"""UCI's settings as the agent's configuration: what `uci show desalink` prints, as a JSON file.

A section `agent` holds the keys without a section, any other section those of its own name. A
section of type `source` is a part of `usage`: its name is the source's. What each value must be
is known from the agent's own tables. A mistake ends it with one sentence and exit code 2.

    uci show desalink | micropython -m boards.openwrt.uci /var/run/desalink/config.json
"""

import json
import os
import sys

from agent import config

# Options of the section `agent` that are for the start script.
_NOT_THE_AGENTS = ("enabled", "interpreter")


class UciError(Exception):
    """What is wrong with the settings, in one sentence that names section and option."""


def parse(text):
    """Yield (name, [value, ...]) of each line of `uci show`; a value may contain line ends."""
    at = 0
    while at < len(text):
        equals = text.find("=", at)
        if equals < 0:
            return
        name = text[at:equals]
        at = equals + 1
        values = []
        plain = ""
        while at < len(text) and text[at] != "\n":
            if text[at] == " ":
                at += 1
            elif text[at] == "'":
                value, at = _quoted(text, at)
                values.append(value)
            else:  # the type of a section
                plain += text[at]
                at += 1
        at += 1
        yield name, values or [plain]


def _quoted(text, at):
    """A text in single quotes that begins at `at`, and where it ends; '\\'' is a quote in it."""
    value = ""
    while True:
        end = text.find("'", at + 1)
        if end < 0:
            raise UciError("a value is cut off: look at 'uci show desalink'")
        value += text[at + 1 : end]
        if text[end + 1 : end + 4] != "\\''":
            return value, end + 1
        value += "'"
        at = end + 3


def _kinds(types):
    """Type of each key, with those of the sources that are among the sections."""
    kinds = {row[0]: row[1] for row in config.keys()}
    for name in types:
        if types[name] == "source":
            try:
                module = __import__("agent.sources." + name, None, None, ("KEYS",))
            except ImportError:
                continue  # config.load says it
            for row in config.keys(module.KEYS):
                kinds[row[0]] = row[1]
    return kinds


def convert(text):
    """The configuration, a dict, from what `uci show` prints. Raises UciError."""
    options = []
    types = {}
    for name, values in parse(text):
        words = name.split(".")
        if len(words) == 3:
            options.append((words[1], words[2], values))
        elif words[1][0] == "@":
            raise UciError("section %s has no name: give it one" % words[1])
        else:
            types[words[1]] = values[0]
    kinds = _kinds(types)
    result = {}
    for section, option, values in options:
        table = result
        path = ""
        if types.get(section) == "source":
            table = result.setdefault("usage", {})
            path = "usage."
        elif section == "agent" and option in _NOT_THE_AGENTS:
            continue
        if section != "agent":
            table = table.setdefault(section, {})
            path += section + "."
        table[option] = _value(kinds, path + option, values)
    return result


def _value(kinds, key, values):
    """The values of one option as what the agent expects for the key."""
    kind = kinds.get(key)
    if kind == "list":  # "option" with blanks between will do as well as "list"
        return values[0].split() if len(values) == 1 else values
    if len(values) > 1:
        raise UciError("%s: expected one value ('option'), got a list of %d" % (key, len(values)))
    value = values[0]
    if kind == "int" or kind is None and key.startswith("board."):
        digits = value[1:] if value[:1] == "-" else value
        if digits.isdigit():
            return int(value)
    return value


def main():
    """Write the configuration, if the agent would take it."""
    path = sys.argv[1]
    new = path + ".new"
    try:
        text = json.dumps(convert(sys.stdin.read()))
        with open(new, "w") as f:
            f.write(text)
        config.load(new)
    except (UciError, config.ConfigError) as e:
        print("/etc/config/desalink: %s" % str(e).replace(new + ": ", ""), file=sys.stderr)
        sys.exit(2)
    os.rename(new, path)


if __name__ == "__main__":
    main()
