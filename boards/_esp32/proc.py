"""The uplink as Linux would tell it, so that the agent asks for it in one way on every board.

A read-only file system of four small texts, made when they are read: the route, the name server
and the interface's state. Mounted on /proc, /etc and /sys.
"""

import errno
import io
import vfs

_ROUTE = "Iface Destination Gateway Flags RefCnt Use Metric Mask\n"


class _Folder:
    """What lies below one mount point: path -> function that makes the text."""

    def __init__(self, files):
        self._files = files

    def mount(self, readonly, mkfs):
        """As mounting asks: nothing is to be done."""

    def umount(self):
        """As mounting asks: nothing is to be done."""

    def open(self, path, mode):
        make = self._files.get(path)
        if make is None:
            raise OSError(errno.ENOENT)
        return io.StringIO(make())

    def stat(self, path):
        if path not in self._files:
            raise OSError(errno.ENOENT)
        return (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def _route(net):
    address, _, gateway, _ = net.addresses()
    if address == "0.0.0.0":
        return _ROUTE
    gateway = [int(n) for n in gateway.split(".")]
    gateway.reverse()  # as the kernel prints it: little-endian
    return _ROUTE + "%s 00000000 %s 0003 0 0 0 00000000\n" % (
        net.name,
        "".join(["%02X" % n for n in gateway]),
    )


def _resolver(net):
    address = net.addresses()[3]
    return "" if address == "0.0.0.0" else "nameserver %s\n" % address


def mount(net):
    """Make the files tell of `net`, which has name, addresses() and carrier()."""
    for point, files in (
        ("/proc", {"/net/route": lambda: _route(net)}),
        ("/etc", {"/resolv.conf": lambda: _resolver(net)}),
        (
            "/sys",
            {
                "/class/net/lo/operstate": lambda: "up\n",
                "/class/net/%s/operstate" % net.name: lambda: (
                    "up\n" if net.carrier() else "down\n"
                ),
            },
        ),
    ):
        try:
            vfs.umount(point)  # the files of an agent that was stopped
        except OSError:
            pass
        vfs.mount(_Folder(files), point)
