"""Wired Ethernet of the ESP32: its own MAC with a PHY on RMII, whose pins the board tells."""

import network
from machine import Pin

from agent.device import interpreter
from agent.device.interpreter import const

_CARRIER = (3, 5)  # network.ETH_CONNECTED, ETH_GOT_IP
_LOOK_MS = const(200)
_KEYS = ("phy", "address", "mdc", "mdio", "power", "clock", "clock_mode")


def _number(settings, key, most):
    value = settings.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError("ethernet.%s: expected a number from 0 to %d" % (key, most))
    return value


class Ethernet:
    """name: the interface's; joins: how often the network came since the start."""

    name = "eth0"

    def __init__(self, settings, static=None):
        """settings: {phy, address, mdc, mdio} and perhaps {power, clock, clock_mode}. Raises
        ValueError with a sentence about what is wrong."""
        if not isinstance(settings, dict):
            raise ValueError("ethernet: expected an object { phy, address, mdc, mdio }")
        for key in settings:
            if key not in _KEYS:
                raise ValueError("ethernet.%s: no such key: correct or remove it" % key)
        phy = getattr(network, "PHY_%s" % settings.get("phy"), None)
        if phy is None:
            raise ValueError("ethernet.phy: expected a type of PHY such as LAN8720")
        self._pins = {"phy_type": phy, "phy_addr": _number(settings, "address", 31)}
        for key in ("mdc", "mdio"):
            self._pins[key] = Pin(_number(settings, key, 48))
        if "power" in settings:
            self._pins["power"] = Pin(_number(settings, "power", 48))
        if "clock" in settings:
            mode = settings.get("clock_mode")
            if mode not in ("in", "out"):
                raise ValueError('ethernet.clock_mode: expected "in" or "out"')
            self._pins["ref_clk"] = Pin(_number(settings, "clock", 48))
            self._pins["ref_clk_mode"] = Pin.OUT if mode == "out" else Pin.IN
        self._static = static
        self._lan = None
        self.joins = 0

    def _started(self):
        if self._lan is None:
            lan = network.LAN(0, **self._pins)
            if self._static:
                lan.ifconfig(self._static)
            self._lan = lan
        if not self._lan.active():
            self._lan.active(True)
        return self._lan

    def restart(self):
        """Switch the PHY off; the next join switches it on again. The driver can't be made
        twice."""
        if self._lan:
            self._lan.active(False)

    def carrier(self):
        lan = self._lan
        return bool(lan) and (lan.isconnected() or lan.status() in _CARRIER)

    def connected(self):
        return self.carrier() and self._lan.ifconfig()[0] != "0.0.0.0"

    def addresses(self):
        """(address, mask, gateway, name server); "0.0.0.0" for what there is not."""
        return self._lan.ifconfig() if self.connected() else ("0.0.0.0",) * 4

    def words(self):
        """What a person wants to know of the connection."""
        return "by cable"

    async def join(self, timeout_s):
        """Wait for a cable and an address; None, "no_carrier" or "no_address"."""
        began = interpreter.ticks_ms()
        try:
            self._started()
        except OSError as e:  # the PHY does not answer: wrong pins, or no power
            interpreter.log("ethernet:", e)
            return "no_carrier"
        while not self.connected():
            if interpreter.since(began) >= timeout_s * 1000:
                return "no_address" if self.carrier() else "no_carrier"
            await interpreter.sleep_ms(_LOOK_MS)
        return None
