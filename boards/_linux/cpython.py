"""What a Linux board does under CPython only: apart, as MicroPython would keep its names."""

import asyncio
import ctypes
import os
import signal


def clock_synchronised():
    try:
        timex = ctypes.create_string_buffer(512)  # modes = 0: only ask
        state = ctypes.CDLL(None).adjtimex(timex)
    except (OSError, AttributeError, MemoryError):  # systemd may forbid to make code
        return None
    if state < 0:
        return None  # a sandbox may forbid to ask
    return state != 5  # TIME_ERROR: nobody disciplines it


def write_secret(path, data):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as f:
        f.write(data)


def on_terminate(callback):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, callback)
    loop.add_signal_handler(signal.SIGINT, callback)
