"""Wi-Fi of the ESP32: joins one of several networks, and tells what is missing if it can't.

The driver's status is no plain answer. While it joins it passes CONNECTING, IDLE, GOT_IP, so IDLE
is not a failure; and it reports a wrong password when a frame of the handshake got lost, so that
is believed only after it was said several times in a row. Its own reconnecting hides every reason
(the status stays CONNECTING for ever), so it is switched off and done here.
"""

import network

from agent.device import interpreter
from agent.device.interpreter import const
from agent.wire import ids

# Reasons of the driver (IEEE 802.11 and ESP-IDF's own from 200 up) that speak of the password:
# four-way handshake timed out, authentication failed, handshake timed out.
_REFUSED = (15, 202, 204)
# Our own leaving of the network before, whose event may come late and hide CONNECTING.
_LEFT = const(8)
_IDLE = const(1000)
_CONNECTING = const(1001)
_GOT_IP = const(1010)
_BELIEVED = const(3)  # refusals in a row
_ATTEMPT_MS = const(15000)
_LOOK_MS = const(200)
# The further a network let us come, the better it tells what is missing.
_RANK = ("no_access_point", "wrong_password", "no_address")


class Wifi:
    """name: the interface's; joins: how often a network was joined since the start."""

    name = "wlan0"

    def __init__(self, networks, static=None, country=None):
        """networks: as boards._esp32.settings.networks gives them; static: addresses as ifconfig
        takes them."""
        self._networks = networks
        self._static = static
        self._country = country
        self._wlan = None
        self.joins = 0

    def _started(self):
        if self._wlan is None:
            if self._country:
                network.country(self._country)
            wlan = network.WLAN(network.STA_IF)
            wlan.active(True)
            wlan.config(reconnects=0)
            # Power saving sleeps up to three beacons: round-trip times would be the radio's.
            wlan.config(pm=wlan.PM_NONE)
            if self._static:
                wlan.ifconfig(self._static)
            self._wlan = wlan
        return self._wlan

    def restart(self):
        """Switch the radio off; the next join switches it on again."""
        if self._wlan:
            self._wlan.active(False)
            self._wlan = None

    def connected(self):
        return bool(self._wlan) and self._wlan.isconnected()

    def carrier(self):
        """Whether an access point has let us in, be there an address or not."""
        return self._signal() is not None

    def addresses(self):
        """(address, mask, gateway, name server); "0.0.0.0" for what there is not."""
        return self._wlan.ifconfig() if self.connected() else ("0.0.0.0",) * 4

    def _signal(self):
        try:
            return self._wlan.status("rssi") if self._wlan else None
        except OSError:  # not associated
            return None

    def words(self):
        """What a person wants to know of the connection."""
        return "channel %d, %s dBm" % (self._wlan.config("channel"), self._signal())

    async def sample(self, row):
        signal = self._signal()
        if signal:
            row[ids.SIGNAL] = signal

    async def join(self, timeout_s):
        """Join the strongest network that lets us in; None, or what is missing: "wrong_password",
        "no_access_point" or "no_address"."""
        began = interpreter.ticks_ms()
        while True:
            self._started()
            if self.connected():
                return None
            missing = 0
            hopeless = True
            for chosen in self._in_reach():
                outcome = await self._try(chosen)
                if outcome is None:
                    return None
                hopeless = hopeless and outcome == "wrong_password"
                missing = max(missing, _RANK.index(outcome))
                if interpreter.since(began) >= timeout_s * 1000:
                    break
            late = interpreter.since(began) >= timeout_s * 1000
            if late or missing and hopeless:
                self._leave()
                return _RANK[missing]
            await interpreter.sleep_ms(1000)

    def _in_reach(self):
        """The networks that a scan hears, the strongest first; then the hidden ones. The scan
        stops everything else for about three seconds; nothing is lost by it without a network."""
        heard = []
        try:
            heard = [(e[3], bytes(e[0]), bytes(e[1])) for e in self._wlan.scan()]
        except OSError as e:
            interpreter.log("wifi: scan:", e)
        levels = []
        hidden = []
        for i, (ssid, _, bssid, is_hidden) in enumerate(self._networks):
            ssid = ssid.encode()
            level = [a[0] for a in heard if a[1] == ssid and bssid in (None, a[2])]
            if level:
                levels.append((-max(level), i))
            elif is_hidden:
                hidden.append((0, i))
        levels.sort()
        return [self._networks[i] for _, i in levels + hidden]

    async def _try(self, chosen):
        """None, or what is missing; a refusal is asked for again until it can be believed."""
        for _ in range(_BELIEVED):
            outcome = await self._attempt(chosen)
            if outcome != "wrong_password":
                break
        return outcome

    def _leave(self):
        try:
            self._wlan.disconnect()
        except OSError:
            pass  # it was not connected

    async def _attempt(self, chosen):
        ssid, password, bssid, _ = chosen
        wlan = self._wlan
        self._leave()
        try:
            wlan.connect(ssid, password, bssid=bssid)
        except OSError as e:
            interpreter.log("wifi: connect:", e)
            self.restart()
            self._started()
            return "no_access_point"
        began = interpreter.ticks_ms()
        while interpreter.since(began) < _ATTEMPT_MS:
            if wlan.isconnected():
                return None
            status = wlan.status()
            if status in _REFUSED:
                return "wrong_password"
            if status not in (_LEFT, _IDLE, _CONNECTING, _GOT_IP):
                interpreter.log("wifi: reason", status)
                return "no_access_point"
            await interpreter.sleep_ms(_LOOK_MS)
        return "no_address" if self.carrier() else "no_access_point"
