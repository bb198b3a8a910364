"""What Linux tells about the uplink in its own files; on any other platform everything is None."""

from agent.compat import const

# Numbers of the wire: copies from agent/wire/ids.py, which no device loads.
_PROBE_OK = const(0)
_PROBE_NO_CARRIER = const(6)


def _read(path):
    try:
        with open(path) as f:
            return f.read(4096)
    except OSError:
        return None


def interface(sys_class_net, name):
    """PROBE_ number for an interface's operational state (RFC 2863), None if it can't be told."""
    if not name:
        return None
    state = _read("%s/%s/operstate" % (sys_class_net, name))
    if state is None:
        # The folder is there and the interface is not: it was unplugged.
        return _PROBE_NO_CARRIER if _read(sys_class_net + "/lo/operstate") else None
    state = state.strip()
    if state == "up" or state == "unknown":  # "unknown": drivers without carrier, lo, tunnels
        return _PROBE_OK
    return _PROBE_NO_CARRIER


def default_gateway(proc_net_route, name=None):
    """IPv4 address of the default route's gateway, "" if it has none, None without a route."""
    table = _read(proc_net_route)
    best = None
    for line in (table or "").split("\n")[1:]:
        f = line.split()
        if len(f) < 8 or f[1] != "00000000" or f[7] != "00000000" or (name and f[0] != name):
            continue
        if best is None or int(f[6]) < best[0]:
            g = int(f[2], 16)  # host byte order, which is little-endian wherever this runs
            best = (int(f[6]), g)
    if best is None:
        return None
    g = best[1]
    return "%d.%d.%d.%d" % (g & 255, g >> 8 & 255, g >> 16 & 255, g >> 24) if g else ""
