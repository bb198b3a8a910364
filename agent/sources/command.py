"""A program of the system run without waiting for it: MicroPython has os.system() and no pipes.

The shell runs it in the background and sends what it prints through a named pipe, so that nothing
of it touches a disk. dd makes blocks of it, padded with NUL, since MicroPython reads whole blocks
only; a byte 1 and the exit status follow what was printed. The shell kills a program that hangs.
"""

import binascii
import os

from agent.device import interpreter
from agent.net.errors import NetError
from agent.device.interpreter import const

_BLOCK = const(512)
_MOST = const(256)  # blocks
_SCRIPT = (
    "mkdir -m 700 %(d)s && mkfifo %(d)s/o && { ( rm -r %(d)s;"
    " { %(c)s </dev/null 2>/dev/null & p=$!;"
    " ( trap 'kill -9 $!; exit' TERM; sleep %(s)d & wait $! && kill -9 $p )"
    " >/dev/null 2>&1 & w=$!;"
    " wait $p; r=$?; kill $w; printf '\\001%%d' $r; } | dd bs=512 conv=sync )"
    " >%(d)s/o 2>/dev/null </dev/null & } 2>/dev/null"
)


def quoted(words):
    """A command line for the shell from its words."""
    return " ".join(["'%s'" % word.replace("'", "'\\''") for word in words])


def possible():
    """Whether this board has programs to run."""
    return hasattr(os, "system")


async def run(words, sink, timeout_ms=3000, folder="/tmp"):
    """Run a program and give what it prints to sink(bytes), piece by piece. Raises OSError: it
    can't be started, does not end in time, fails, or prints too much."""
    name = words[0]
    pipe = "%s/desalink-%s" % (folder, binascii.hexlify(os.urandom(8)).decode())
    script = _SCRIPT % {"d": pipe, "c": quoted(words), "s": timeout_ms // 1000 + 1}
    if os.system(script):
        raise NetError("%s can't be started from %s" % (name, folder))
    with open(pipe + "/o", "r+b", 0) as f:
        for _ in range(_MOST):
            if not await interpreter.ready(f, False, timeout_ms):
                raise NetError(name + " does not end in time")
            text, end, status = f.read(_BLOCK).partition(b"\1")
            sink(text.rstrip(b"\0"))
            if end:
                status = status.rstrip(b"\0")
                if status != b"0":
                    raise NetError("%s failed with status %s" % (name, status.decode()))
                return
    raise NetError(name + " prints too much")
