"""Port for the ESP32 family (ESP32, S3, C3) under MicroPython.

Sources: MicroPython's port (machine, network, esp32), ESP-IDF's reset reasons.
"""

import binascii
import hashlib
import struct
import time

import esp32
import machine

from agent.device import board, heap, interpreter
from agent.device.interpreter import const
from boards._esp32 import proc, storage
from agent.wire import ids

_EPOCH_2000 = 946684800  # Unix time of it
# Of the record in RTC memory: while the agent runs, and after it has ended.
_RUNNING = b"DESA"
_ENDED = b"DESE"
_FLASH_EVERY = const(5)  # alive records
_LOOK_MS = const(5000)
_JOIN_S = const(60)
_LONGEST_PAUSE_MS = const(120000)
_RESTART_AFTER = const(5)  # joins that failed
_HOLD_MS = const(3600000)
_BLOCK = const(4096)
# Bytes that a handshake of TLS takes: mbedTLS 26.7 KB beyond its context, and lwIP.
_HANDSHAKE = const(28672)

_watchdog = None


def ended():
    """Note in RTC memory that the agent has ended: a software reset after that is no crash."""
    rtc = machine.RTC()
    data = rtc.memory()
    if data[:4] == _RUNNING:
        rtc.memory(_ENDED + data[4:])


def hold():
    """The agent was interrupted: allow an hour until the watchdog resets; it can't be stopped."""
    ended()
    if _watchdog:
        machine.WDT(timeout=_HOLD_MS)


class Board(board.Board):
    def __init__(self, state_dir, settings=None):
        super().__init__(state_dir, settings)
        from boards._esp32.settings import check

        settings = check(settings)
        heap.unload("boards._esp32.settings")
        self.board = settings["name"]
        self._watchdog_ms = settings["watchdog_s"] * 1000
        self._firmware_bytes = settings["firmware_bytes"]
        if settings["wifi"] is not None:
            from boards._esp32.wifi import Wifi

            self.net = Wifi(settings["wifi"], settings["static"], settings["country"])
        else:
            from boards._esp32.ethernet import Ethernet

            self.net = Ethernet(settings["ethernet"], settings["static"])
        self._adc = None
        if settings["voltage"]:
            pin, self._ratio = settings["voltage"]
            self._adc = machine.ADC(machine.Pin(pin), atten=machine.ADC.ATTN_11DB)
        # What is written every few minutes lies where the journal lies, never beside the code.
        self._flash = board.Board(state_dir + "/journal")
        self._rtc = machine.RTC()
        self._saves = 0
        self._survived = self._rtc_load()
        self._cause = self._why()

    def unique_id(self):
        """The chip's base MAC address, as esptool reads it."""
        return binascii.hexlify(machine.unique_id(), ":").decode()

    # ---- network

    async def join(self, timeout_s):
        proc.mount(self.net)
        return await self.net.join(timeout_s)

    async def keep_network(self):
        """Join and join again, for ever. With it the watchdog starts: an agent is at work."""
        self._start_watchdog()
        proc.mount(self.net)
        net = self.net
        failed = 0
        was = False
        while True:
            if not net.connected():
                if was:
                    interpreter.log("network: lost")
                was = False
                missing = await net.join(_JOIN_S)
                if missing:
                    failed += 1
                    interpreter.log("network:", missing)
                    if failed % _RESTART_AFTER == 0:
                        net.restart()
                    pause = min(_LOOK_MS << min(failed, 6), _LONGEST_PAUSE_MS)
                    await interpreter.sleep_ms(pause // 2 + interpreter.random_below(pause // 2))
                    continue
            if not was:
                was = True
                failed = 0
                net.joins += 1
                interpreter.log("network: joined for the %d. time, %s" % (net.joins, net.words()))
            await interpreter.sleep_ms(_LOOK_MS)

    def sources(self, clock, on_reset):
        return [self.net] if hasattr(self.net, "sample") else []

    def memory_short(self):
        """Whether what ESP-IDF has left is too little for a handshake of TLS."""
        free = 0
        for region in esp32.idf_heap_info(esp32.HEAP_DATA):
            free += region[1]
        return free < _HANDSHAKE

    # ---- why, and since when

    def _start_watchdog(self):
        global _watchdog
        if self._watchdog_ms and _watchdog is None:
            _watchdog = machine.WDT(timeout=self._watchdog_ms)

    def feed_watchdog(self):
        self._start_watchdog()
        if _watchdog:
            _watchdog.feed()

    def _why(self):
        """MicroPython (1.24, and still 1.29) merges ESP-IDF's reasons: PWRON_RESET is power-on,
        the reset pin or brownout; HARD_RESET a software reset or a panic; 0 all others, as USB.

        The record in RTC memory helps. It survives a brownout; after a power cut its checksum is
        wrong. Whoever resets by software has ended the agent first, so HARD_RESET while it was
        running is a panic. Without a record nothing is known."""
        cause = machine.reset_cause()
        if cause == machine.PWRON_RESET:
            return ids.RESET_BROWNOUT if self._survived else ids.RESET_POWER
        if cause == machine.WDT_RESET:
            return ids.RESET_WATCHDOG
        if cause in (machine.SOFT_RESET, machine.DEEPSLEEP_RESET):
            return ids.RESET_SOFT
        if cause == machine.HARD_RESET and self._survived:
            ended = self._rtc.memory()[:4] == _ENDED
            return ids.RESET_SOFT if ended else ids.RESET_PANIC
        return ids.RESET_UNKNOWN

    def reset_cause(self):
        return self._cause

    def storage_lost(self):
        """Whether this start found the journal's area unreadable and formatted it."""
        return storage.formatted is not None

    def _rtc_load(self):
        """The record in RTC memory, None if there is none or it did not survive."""
        data = self._rtc.memory()
        if len(data) < 8 or data[:4] not in (_RUNNING, _ENDED):
            return None
        if struct.pack(">I", binascii.crc32(data[4:-4])) != data[-4:]:
            return None
        return data[4:-4]

    def alive_load(self):
        return self._survived or self._flash.alive_load()

    def alive_save(self, data):
        """Every minute into RTC memory, which survives all resets but no power cut; every fifth
        time into flash, since each write there costs an erase. After a power cut the last minutes
        are known from the last report anyway, which is as old."""
        self._rtc.memory(_RUNNING + data + struct.pack(">I", binascii.crc32(data)))
        if self._saves % _FLASH_EVERY == 0:
            self._flash.alive_save(data)
        self._saves += 1

    # ---- time

    def unix_time(self):
        return int(time.time()) + self._epoch()

    def _epoch(self):
        """Unix time of the platform's zero: 2000 on most builds, 1970 on others."""
        return _EPOCH_2000 if time.gmtime(0)[0] == 2000 else 0

    def set_clock(self, unix):
        t = time.gmtime(unix - self._epoch())
        self._rtc.datetime((t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0))

    # ---- the device itself

    def storage_free(self):
        return self._flash.storage_free()

    def voltage(self):
        if self._adc is None:
            return None
        total = 0
        for _ in range(16):  # one reading is off by some per cent
            total += self._adc.read_uv()
        # Microvolts times the divider's ratio in thousandths, as hundredths of a volt.
        return total // 16000 * self._ratio // 10000

    def temperature(self):
        """None on the first ESP32, whose sensor is not calibrated."""
        if hasattr(esp32, "mcu_temperature"):
            return esp32.mcu_temperature()
        return None

    def firmware_hash(self):
        """SHA-256 over the first `firmware_bytes` bytes of the application that runs."""
        left = self._firmware_bytes
        if not left:
            return None
        running = esp32.Partition(esp32.Partition.RUNNING)
        buf = bytearray(_BLOCK)
        view = memoryview(buf)
        digest = hashlib.sha256()
        block = 0
        while left > 0:
            running.readblocks(block, buf)
            digest.update(view[: min(left, _BLOCK)])
            left -= _BLOCK
            block += 1
        return digest.digest()
