"""MicroPython's `machine` of the ESP32, as far as the boards use it."""

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

cause = PWRON_RESET
rtc_memory = b""
rtc_time = None
watchdogs = []  # timeouts that were set, and "feed"
microvolts = 0
level = None


class Reset(BaseException):
    """reset() does not return."""


def reset():
    raise Reset


def reset_cause():
    return cause


def unique_id():
    return b"\x24\x0a\xc4\x01\x02\xfe"


def power_cut():
    """What an SRAM holds after its supply was gone."""
    global rtc_memory, cause
    rtc_memory = bytes([b ^ 0x5A for b in rtc_memory])
    cause = PWRON_RESET


class RTC:
    def memory(self, data=None):
        global rtc_memory
        if data is None:
            return rtc_memory
        if len(data) > 2048:
            raise ValueError("buffer too long")
        rtc_memory = bytes(data)

    def datetime(self, value):
        global rtc_time
        rtc_time = value


class WDT:
    def __init__(self, id=0, timeout=5000):
        watchdogs.append(timeout)

    def feed(self):
        watchdogs.append("feed")


class Pin:
    IN = 1
    OUT = 3

    def __init__(self, number):
        self.number = number

    def __repr__(self):
        return f"Pin({self.number})"


class ADC:
    ATTN_11DB = 3

    def __init__(self, pin, atten=0):
        assert atten == self.ATTN_11DB

    def read_uv(self):
        return microvolts
