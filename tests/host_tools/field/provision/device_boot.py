# What MicroPython's unix port runs first when it is a board: its "/" becomes the board's own
# files, so that paths are as on a board and nothing outside can be reached. RIG_RAW: as after a
# soft reset in the raw REPL, main.py is not run. RIG_ROMFS: its firmware has ROMFS, and with it
# the loader and main.py.
import os
import sys


class Files:
    # Not VfsPosix with a root: its rename() writes both paths into one buffer.
    def __init__(self, root):
        self._vfs = os.VfsPosix()
        self._root = root

    def _path(self, path):
        return self._root + (path if path[:1] == "/" else "/" + path)

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def chdir(self, path):
        pass

    def getcwd(self):
        return "/"

    def __getattr__(self, name):
        call = getattr(self._vfs, name)
        return lambda path, *more: call(self._path(path), *more)

    def rename(self, old, new):
        self._vfs.rename(self._path(old), self._path(new))


def _frozen(path):
    root = __file__.rsplit("/tests/", 1)[0]
    with open(root + path) as f:
        return f.read()


def _romfs():
    """The loader, and the text of main.py, as the firmware holds them."""
    if not os.getenv("RIG_ROMFS"):
        return None, None
    with open(os.getenv("RIG_ROMFS"), "rb") as f:
        rom = f.read()
    loader = {}
    exec(_frozen("/boards/_esp32/firmware/loader.py"), loader)
    main = _frozen("/tests/host_tools/field/provision/rigboard/main.py")
    return lambda: loader["mount"](rom), main


def _boot():
    mount, main = _romfs()
    files = Files(os.getenv("RIG_FILES"))
    os.umount("/")
    os.mount(files, "/")
    os.mount(os.VfsPosix("/proc"), "/proc")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    if mount:
        mount()
    return main


class Machine:
    def unique_id(self):
        import binascii

        return binascii.unhexlify(os.getenv("RIG_MAC").replace(":", ""))


class Wlan:
    """Two networks in reach, as the driver lists them."""

    STA_IF = 0

    def WLAN(self, interface):
        return self

    def active(self, on):
        pass

    def scan(self):
        return [(b"Tetangga", b"", 11, -83, 4, False), (b"KANTOR DESA", b"", 6, -61, 4, False)]


_main = _boot()
sys.modules["machine"] = Machine()
try:
    os.stat("network.py")  # a test's own
except OSError:
    sys.modules["network"] = Wlan()
del _boot, Machine, Wlan
print("RIG", "READY")  # only now may anybody interrupt
if not os.getenv("RIG_RAW"):
    try:
        if not _main:
            with open("main.py") as _file:
                _main = _file.read()
    except OSError:
        pass
    else:
        exec(_main, {"__name__": "__main__"})
