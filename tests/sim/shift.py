"""Begins a simulation so many seconds earlier than now."""

from tests.sim import clock


def install(seconds, commands):
    clock.jumped_ms -= 1000 * int(seconds)
