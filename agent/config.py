"""The configuration file: JSON, checked whole at start, with errors that name the key.

`keys` describes the agent's own keys. A section `usage.NAME` is for the source in
agent/sources/NAME.py, which describes its keys in KEYS. docs/agent.md and docs/measuring.md
explain them; tests compare both. After `load` this module can be unloaded.
"""

import json

REQUIRED = "-"

# A text, read line by line: as tuples the table would be the largest thing in the heap.
_TABLE = """\
slot slot - 12 14
port str "board" 1 80
board object null 0 0
state_dir path - 1 200
broker.host str - 1 253
broker.port int 8883 1 65535
broker.ca path - 1 200
broker.cert path - 1 200
broker.key path - 1 200
broker.server_name str null 1 253
broker.keepalive_s int 400 10 3600
broker.resolvers list [] 0 4
broker.backoff_max_s int 300 1 3600
cadence.round_s int 10 1 60
cadence.sample_s int 60 1 3600
cadence.report_samples int 5 1 60
cadence.quiet_samples int 0 0 60
clock.source str "auto" 1 10
clock.ntp list ["id.pool.ntp.org","time.cloudflare.com","time.google.com"] 0 4
link.interface str null 1 15
link.gateway str "auto" 1 253
link.targets list ["1.1.1.1","8.8.8.8","9.9.9.9"] 0 8
link.next_hop str null 1 253
link.loss_limit int 10 0 100
link.delay_limit_ms int 1500 0 10000
link.timeout_ms int 2000 100 10000
link.dns str "auto" 1 253
link.dns_other str "1.1.1.1" 1 253
link.portal str null 3 253
link.portal_s int 280 1 3600
link.dns_name str "example.com" 1 253
link.proc_net_route path "/proc/net/route" 1 200
link.sys_class_net path "/sys/class/net" 1 200
usage.interface str null 1 15
usage.proc_net_dev path "/proc/net/dev" 1 200
usage.leases path null 1 200
usage.arp path null 1 200
usage.lan_interface str null 1 15
budget.month_mb int null 0 1000000
throughput.url str null 3 253
throughput.every_h int 24 1 744
throughput.kb int 500 32 65536
journal.capacity int 1048576 36864 1073741824
journal.segment int 16384 12288 1048576"""

# Sources without a section of their own: the key that turns each on, and its module.
NEARBY = """\
usage.interface interface
usage.leases clients
usage.arp clients"""


def keys(table=_TABLE):
    """Yield (key path, type, default or REQUIRED, least and greatest value or length) of each
    line of a table."""
    for line in table.split("\n"):
        key, kind, default, least, most = line.split()
        if default != REQUIRED:
            default = json.loads(default)
        yield key, kind, default, int(least), int(most)


class ConfigError(ValueError):
    """What is wrong with the configuration, in one sentence that names file and key."""


def load(path):
    """Read the file at `path` and return {key path: value} for every key of `keys`, and of each
    source whose section is there. "usage" is the list of these sources' modules in their order,
    "nearby" that of those without a section.

    Relative paths are taken from the file's own folder. Raises ConfigError."""
    try:
        with open(path) as f:
            raw = json.load(f)
    except OSError as e:
        text = "can't be read (%s): give the path of a configuration file" % e
    except ValueError as e:
        text = "is not valid JSON (%s): check commas, quotes and brackets" % e
    else:
        folder = path.rpartition("/")[0]
        config = {}
        text = _read(config, raw, folder + "/" if folder else "")
        if not text:
            return config
    raise ConfigError("%s: %s" % (path, text))


def _read(config, raw, folder):
    """Fill `config` from the file's object; what is wrong with it, None if nothing is."""
    if not isinstance(raw, dict):
        return "expected an object { ... } at the top"
    flat = {}
    for section in raw:
        value = raw[section]
        if isinstance(value, dict) and section != "board":
            for name in value:
                flat[section + "." + name] = value[name]
        elif "\n%s." % section in _TABLE:
            return "%s: expected an object { ... }" % section
        else:
            flat[section] = value
    text = _read_keys(config, flat, _TABLE, folder) or _read_sources(config, flat, folder)
    if text:
        return text
    for key in flat:
        return "%s: no such key: correct or remove it" % key
    if config["cadence.sample_s"] < config["cadence.round_s"]:
        return "cadence.sample_s: expected at least cadence.round_s (%d), got %d" % (
            config["cadence.round_s"],
            config["cadence.sample_s"],
        )
    if 0 < config["cadence.quiet_samples"] < config["cadence.report_samples"]:
        return "cadence.quiet_samples: expected 0 or at least cadence.report_samples"
    if config["journal.capacity"] < 3 * config["journal.segment"]:
        return "journal.capacity: expected room for three segments of %d bytes, got %d" % (
            config["journal.segment"],
            config["journal.capacity"],
        )
    return None


def _read_keys(config, flat, table, folder):
    """Move what `table` describes from `flat` to `config`; what is wrong with it."""
    for key, kind, default, least, most in keys(table):
        value = flat.pop(key, None)
        if value is None:
            if default == REQUIRED:
                return "%s is missing: expected %s" % (key, _expected(kind, least, most))
            value = default
        elif not _valid(kind, value, least, most):
            text = "%s: expected %s" % (key, _expected(kind, least, most))
            secret = key.endswith("password") or key.endswith("community")
            return text if secret else "%s, got %s" % (text, json.dumps(value))
        elif kind == "path" and value[:1] != "/":
            value = folder + value
        config[key] = value
    return None


def _read_sources(config, flat, folder):
    """Load the sources that are configured, and read the sections of those that have one; what is
    wrong with them."""
    config["nearby"] = nearby = []
    config["usage"] = modules = []
    try:
        for line in NEARBY.split("\n"):
            section, name = line.split()
            if config[section]:
                module = _source(name)
                if module not in nearby:
                    nearby.append(module)
        for section in [key for key in flat if key[:6] == "usage."]:
            value = flat.pop(section)
            if value is None:
                continue
            module = _source(section[6:])
            table = module.KEYS
            if not isinstance(value, dict):
                return "%s: expected an object { ... }" % section
            for key in value:
                flat["%s.%s" % (section, key)] = value[key]
            text = _read_keys(config, flat, table, folder)
            if text:
                return text
            modules.append(module)
    except (ImportError, AttributeError):
        return "%s: this agent has no such source: correct it, or use a kit that has it" % section
    modules.sort(key=lambda module: module.ORDER)
    return None


def _source(name):
    return __import__("agent.sources." + name, None, None, ("",))


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
    try:
        from agent.device.expected import expected
    except ImportError:  # a small device has none: the host has checked its configuration
        return "%s, %d to %d" % (kind, least, most)
    return expected(kind, least, most)
