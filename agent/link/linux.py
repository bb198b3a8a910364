"""What Linux knows about the uplink, from its own files. On other platforms all is None."""

from agent.wire import ids


def _read(path):
    try:
        with open(path) as f:
            return f.read(64)
    except OSError:
        return None


def interface(sys_class_net, name):
    """PROBE_ number for an interface's operational state (RFC 2863), None if unknown."""
    if not name:
        return None
    state = _read("%s/%s/operstate" % (sys_class_net, name))
    if state is None:
        # The folder is there and the interface is not: it was unplugged.
        return ids.PROBE_NO_CARRIER if _read(sys_class_net + "/lo/operstate") else None
    state = state.strip()
    if state == "up" or state == "unknown":  # "unknown": drivers without carrier, lo, tunnels
        return ids.PROBE_OK
    return ids.PROBE_NO_CARRIER


def has_address(proc_net_route, name):
    """Whether the interface (None: any) has an address, which its route shows; True if unknown."""
    try:
        with open(proc_net_route) as table:
            for line in table:
                f = line.split()
                if f and (f[0] == name if name else f[1] == "00000000"):
                    return True
    except OSError:
        return True
    return False


def neighbour(address, path="/proc/net/arp"):
    """Whether the kernel knows the hardware address of a neighbour; None if unknown."""
    try:
        with open(path) as table:
            for line in table:
                f = line.split()
                if f and f[0] == address:
                    return f[2] != "0x0"
    except OSError:
        pass
    return None


def default_gateway(proc_net_route, name=None):
    """IPv4 address of the default route's gateway, "" if it has none, None without a route."""
    metric = g = None
    try:
        with open(proc_net_route) as table:
            for line in table:
                f = line.split()
                default = len(f) >= 8 and f[1] == f[7] == "00000000"
                if default and name in (None, f[0]) and (metric is None or int(f[6]) < metric):
                    metric = int(f[6])
                    g = int(f[2], 16)  # host byte order, little-endian wherever this runs
    except OSError:
        pass
    if g is None:
        return None
    return "%d.%d.%d.%d" % (g & 255, g >> 8 & 255, g >> 16 & 255, g >> 24) if g else ""
