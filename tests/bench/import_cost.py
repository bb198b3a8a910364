"""For MicroPython: what importing the agent leaves on the heap.

Arguments: the folder that holds `agent/` (sources or .mpy files), then the modules to import, in
order. Prints "import MODULE", and at the end of each import "imported BYTES", what it left. They
nest. The interpreter's account of its names (qstr) comes before and after each: it keeps them in
pools, each twice as large as the one before, and whoever adds one name too many pays for a pool.
"""

import builtins
import gc
import os
import sys

import micropython

_import = builtins.__import__


def _measured(name, globals=None, locals=None, fromlist=(), level=0):
    if name.split(".")[0] in ("agent", "boards"):
        # `from package import module` comes as one call: import the module first, by itself.
        for full in [name] + [name + "." + part for part in fromlist or ()]:
            if full not in sys.modules and _exists(full):
                _one(full)
    return _import(name, globals, locals, fromlist, level)


def _exists(full):
    """Whether it is a module, not a name in one."""
    for end in (".py", ".mpy", ""):
        try:
            os.stat(sys.path[0] + "/" + full.replace(".", "/") + end)
            return True
        except OSError:
            pass
    return False


def _one(full):
    package = full.rpartition(".")[0]
    if package and package not in sys.modules:
        _one(package)
    micropython.qstr_info()
    print("import", full)
    gc.collect()
    before = gc.mem_alloc()
    _import(full, None, None, ("__name__",))
    gc.collect()
    print("imported", gc.mem_alloc() - before)
    micropython.qstr_info()


sys.path[:] = [sys.argv[1], ".frozen"]
import asyncio  # noqa: E402, F401  the interpreter's own, so that no module of the agent pays for it

builtins.__import__ = _measured
for module in sys.argv[2:]:
    _measured(module, None, None, ("__name__",))
