"""The configuration file: JSON, with errors that name the key.

`keys` describes the agent's own keys. A section `usage.NAME` is for the source in
agent/sources/NAME.py, which describes its keys in KEYS. docs/agent.md and docs/measuring.md
explain them; tests compare both. After `load` this module can be unloaded.

Values are checked where the agent runs from source, and by the host before it builds a release:
device/expected.py. A release has neither the checks nor their sentences.
"""

import json

from agent.device import interpreter

REQUIRED = "-"

# Key, default, kind, least and greatest value or length. A text, read line by line: as tuples it
# would be the largest thing in the heap. A release holds keys and defaults only, and which are
# paths (host_tools/devices/device_code.py).
_TABLE = """\
slot - slot 12 14
port "board" str 1 80
board null object 0 0
state_dir - path 1 200
broker.host - str 1 253
broker.port 8883 int 1 65535
broker.ca - path 1 200
broker.cert - path 1 200
broker.key - path 1 200
broker.server_name null str 1 253
broker.keepalive_s 400 int 10 3600
broker.resolvers [] list 0 4
broker.backoff_max_s 300 int 1 3600
cadence.round_s 10 int 1 60
cadence.sample_s 60 int 1 3600
cadence.report_samples 5 int 1 60
cadence.quiet_samples 0 int 0 60
clock.source "auto" str 1 10
clock.ntp ["id.pool.ntp.org","time.cloudflare.com","time.google.com"] list 0 4
link.interface null str 1 15
link.gateway "auto" str 1 253
link.targets ["1.1.1.1","8.8.8.8","9.9.9.9"] list 0 8
link.next_hop null str 1 253
link.loss_limit 10 int 0 100
link.delay_limit_ms 1500 int 0 10000
link.timeout_ms 2000 int 100 10000
link.dns "auto" str 1 253
link.dns_other "1.1.1.1" str 1 253
link.portal null str 3 253
link.portal_s 280 int 1 3600
link.dns_name "example.com" str 1 253
link.proc_net_route "/proc/net/route" path 1 200
link.sys_class_net "/sys/class/net" path 1 200
usage.interface null str 1 15
usage.proc_net_dev "/proc/net/dev" path 1 200
usage.leases null path 1 200
usage.arp null path 1 200
usage.lan_interface null str 1 15
budget.month_mb null int 0 1000000
throughput.url null str 3 253
throughput.every_h 24 int 1 744
throughput.kb 500 int 32 65536
journal.capacity 1048576 int 36864 1073741824
journal.segment 16384 int 12288 1048576"""

# Sources without a section of their own: the key that turns each on, and its module.
NEARBY = """\
usage.interface interface
usage.leases clients
usage.arp clients"""


if interpreter.FROM_SOURCE:

    def keys(table=_TABLE):
        """Yield (key path, type, default or REQUIRED, least and greatest value or length) of each
        line of a table."""
        for line in table.split("\n"):
            key, default, kind, least, most = line.split()
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
        return _read(raw, path[: path.rfind("/") + 1])
    except ConfigError as e:
        text = str(e)
    except (OSError, ValueError) as e:
        text = "can't be read (%s): expected a file of valid JSON" % e
    raise ConfigError("%s: %s" % (path, text))


def _read(raw, folder):
    """The values of the file's object."""
    if interpreter.FROM_SOURCE:
        if not isinstance(raw, dict):
            raise ConfigError("expected an object { ... } at the top")
    config = {}
    flat = {}
    for section in raw:
        value = raw[section]
        if isinstance(value, dict) and section != "board":
            for name in value:
                flat[section + "." + name] = value[name]
        elif interpreter.FROM_SOURCE and "\n%s." % section in _TABLE:
            raise ConfigError("%s: expected an object { ... }" % section)
        else:
            flat[section] = value
    _read_keys(config, flat, _TABLE, folder)
    _read_sources(config, flat, folder)
    if interpreter.FROM_SOURCE:
        from agent.device import expected

        _refuse(expected.mistake(config, flat))
    return config


def _refuse(text):
    if text:
        raise ConfigError(text)


def _read_keys(config, flat, table, folder):
    """Move what `table` describes from `flat` to `config`."""
    section = ""
    for line in table.split("\n"):
        words = line.split()
        if len(words) == 1:
            section = line  # in a release: what the next keys begin with
            continue
        key = section + words[0]
        value = flat.pop(key, None)
        if interpreter.FROM_SOURCE:
            from agent.device import expected

            _refuse(expected.mistake_in(value, *words))
        if value is None:
            value = json.loads(words[1])
        elif "path" in words[2:] and value[:1] != "/":
            value = folder + value
        config[key] = value


def _read_sources(config, flat, folder):
    """Load the sources that are configured, and read the sections of those that have one."""
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
            if interpreter.FROM_SOURCE:
                if not isinstance(value, dict):
                    raise ConfigError("%s: expected an object { ... }" % section)
            for key in value:
                flat["%s.%s" % (section, key)] = value[key]
            _read_keys(config, flat, table, folder)
            modules.append(module)
    except (ImportError, AttributeError):
        raise ConfigError("%s: this agent has no such source" % section)
    modules.sort(key=lambda module: module.ORDER)


def _source(name):
    return __import__("agent.sources." + name, None, None, ("",))
