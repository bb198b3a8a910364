"""MicroPython's `network` of the ESP32, as far as the boards use it: what its C code does, in
the same order, on the fakes' clock. `air` is what is on the air, `cable` what the socket gives;
addresses are this machine's own."""

from tests.boards.fakes import clock

STA_IF = 0
PHY_LAN8720 = 1
PHY_GENERIC = 8

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010

_NO_AP_FOUND = 201
_AUTH_FAIL = 202
_HANDSHAKE_TIMEOUT = 15
_BEACON_TIMEOUT = 200
_LEFT = 8

air = []  # of AccessPoint
said = []  # what the driver was told


def country(code):
    said.append("country " + code)


class AccessPoint:
    def __init__(self, ssid, password=None, rssi=-60, bssid=b"\x02\0\0\0\0\1"):
        self.ssid = ssid
        self.password = password
        self.rssi = rssi
        self.bssid = bssid
        self.hidden = False
        self.dhcp = True
        self.refusals = 0  # so many right passwords are called wrong
        self.there = True
        self.attempts = 0


class WLAN:
    """The station. Joining takes 0.8 s to associate and 1 s for an address."""

    PM_NONE = 0
    PM_PERFORMANCE = 1

    _one = None

    def __new__(cls, interface):
        assert interface == STA_IF
        if cls._one is None:
            cls._one = object.__new__(cls)
            cls._one.begin()
        return cls._one

    def __init__(self, interface):
        pass

    def begin(self):
        self._active = False
        self._reconnects = 0  # 0: for ever
        self._tries = 0
        self._requested = False
        self._reason = 0
        self._target = None
        self._began = None
        self._lets_in = False
        self._static = None
        self._leaving = None

    def active(self, on=None):
        if on is None:
            return self._active
        said.append("radio on" if on else "radio off")
        self._active = on
        if not on:
            self._drop(0)

    def config(self, what=None, **values):
        if not self._active:
            raise OSError("Wifi Not Started")
        if what == "channel":
            return 6
        for name, value in values.items():
            said.append(f"{name} {value}")
            if name == "reconnects":
                self._reconnects = value + 1

    def connect(self, ssid, key=None, *, bssid=None):
        if not self._active:
            raise OSError("Wifi Not Started")
        if self._began is not None:
            raise OSError("Wifi Internal State Error")
        self._tries = 0
        self._requested = True
        self._wanted = ssid, key, bssid
        said.append("connect " + ssid)
        self._attempt()

    def disconnect(self):
        if not self._active:
            raise OSError("Wifi Not Started")
        self._requested = False
        if self._associated():
            self._leaving = clock.now + 100  # the event comes later than the call
        self._drop(_LEFT)

    def _attempt(self):
        ssid, key, bssid = self._wanted
        known = [a for a in air if a.there and a.ssid == ssid and bssid in (None, a.bssid)]
        known.sort(key=lambda a: -a.rssi)
        self._target = known[0] if known else None
        self._lets_in = False
        self._began = clock.now
        if self._target:
            self._target.attempts += 1
            self._lets_in = self._target.password == key
            if self._lets_in and self._target.refusals:
                self._target.refusals -= 1
                self._lets_in = False

    def _drop(self, reason):
        self._began = None
        self._reason = reason

    def _failed(self, reason):
        """The event handler of the driver: one more try, if it may."""
        self._drop(reason)
        if self._requested:
            if self._reconnects:
                self._tries += 1
                if self._tries >= self._reconnects:
                    return
            self._attempt()

    def _run(self):
        """Let happen what has happened since."""
        if self._leaving is not None and clock.now >= self._leaving:
            self._leaving = None
            self._reason = _LEFT
            if self._requested:
                self._tries += 1  # the handler takes it for a failure of the next attempt
        while self._began is not None:
            past = clock.now - self._began
            if self._target is None:
                if past < 2400:
                    return
                self._began += 2400
                self._failed(_NO_AP_FOUND)
            elif not self._target.there:
                self._failed(_BEACON_TIMEOUT)
                return
            elif not self._lets_in:
                if past < 1500:
                    return
                self._began += 1500
                self._failed(_AUTH_FAIL if self._target.attempts % 2 else _HANDSHAKE_TIMEOUT)
            else:
                return

    def _associated(self):
        self._run()
        return self._began is not None and self._lets_in and clock.now - self._began >= 800

    def isconnected(self):
        addressed = self._static or self._target and self._target.dhcp
        return bool(self._associated() and addressed and clock.now - self._began >= 1800)

    def status(self, what=None):
        if what == "rssi":
            if not self._associated():
                raise OSError("Wifi Not Connected")
            return self._target.rssi
        if self.isconnected():
            return STAT_GOT_IP
        if self._associated() and clock.now - self._began < 1400:
            return STAT_IDLE
        if self._requested and (self._reconnects == 0 or self._tries < self._reconnects):
            return STAT_CONNECTING
        return self._reason or STAT_IDLE

    def scan(self):
        if not self._active:
            raise OSError("STA must be active")
        clock.advance(2500)
        found = []
        for a in air:
            if a.there:
                name = b"" if a.hidden else a.ssid.encode()
                found.append((name, a.bssid, 6, a.rssi, 3, False))
        return found

    def ifconfig(self, addresses=None):
        if addresses:
            said.append("static " + addresses[0])
            self._static = addresses
        elif self._static:
            return self._static
        elif self.isconnected():
            return ("127.0.0.77", "255.0.0.0", "127.0.0.1", "127.0.0.53")
        else:
            return ("0.0.0.0",) * 4


class Cable:
    plugged_at = None
    dhcp_at = None


cable = Cable()


class LAN:
    made = []

    def __init__(self, number, **pins):
        if LAN.made:
            raise OSError("esp_eth_driver_install() failed")
        LAN.made.append(pins)
        self._active = False
        self._static = None

    def active(self, on=None):
        if on is None:
            return self._active
        self._active = on

    def isconnected(self):
        at = cable.plugged_at
        return self._active and at is not None and clock.now >= at

    def status(self):
        return 3 if self.isconnected() else 4

    def ifconfig(self, addresses=None):
        if addresses:
            self._static = addresses
        elif self._static:
            return self._static
        elif self.isconnected() and cable.dhcp_at is not None and clock.now >= cable.dhcp_at:
            return ("127.0.0.9", "255.0.0.0", "127.0.0.1", "127.0.0.1")
        else:
            return ("0.0.0.0",) * 4
