"""What the ESP32's firmware has and a desktop does not: small stand-ins, for MicroPython."""

import sys


def install(real_time=False):
    """Make `machine`, `network` and `esp32` these; and time one that passes only in waiting."""
    from tests.boards.fakes import clock, esp32, machine, network

    sys.modules["machine"] = machine
    sys.modules["network"] = network
    sys.modules["esp32"] = esp32
    if not real_time:
        clock.install()
