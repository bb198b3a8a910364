"""The configuration's section `board` for the ESP32 family, checked whole (docs/boards.md).

The province's computer checks kits with this module: it imports nothing of the chip's.
"""

import binascii

_KEYS = (
    "name", "country", "wifi", "ethernet", "static", "voltage", "watchdog_s", "firmware_bytes",
    "usb", "psram",
)  # fmt: skip
# "usb" is read no longer; older configurations have it. "psram" is for the province and the
# laptop: the board has memory for any configuration.
_ADDRESSES = ("address", "netmask", "gateway", "dns")


def _integer(where, settings, key, least, most, default):
    value = settings.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError("%s%s: expected a number from %d to %d" % (where, key, least, most))
    return value


def _text(given, key, most, required=True):
    value = given.get(key)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not 0 < len(value.encode()) <= most:
        raise ValueError("wifi.%s: expected a text of 1 to %d bytes" % (key, most))
    return value


def _bssid(given):
    text = _text(given, "bssid", 17, False)
    if text is None:
        return None
    try:
        bssid = binascii.unhexlify(text.replace(":", ""))
    except ValueError:
        bssid = b""
    if len(bssid) != 6:
        raise ValueError("wifi.bssid: expected an address such as 02:00:00:00:00:02")
    return bssid


def networks(wifi):
    """[(ssid, password or None, bssid or None, hidden)] of a list of networks as it is
    configured. Raises ValueError with a sentence about what is wrong."""
    if not isinstance(wifi, list) or not wifi:
        raise ValueError("wifi: expected a list of networks { ssid, password }")
    checked = []
    for given in wifi:
        if not isinstance(given, dict):
            raise ValueError("wifi: expected networks { ssid, password }")
        for key in given:
            if key not in ("ssid", "password", "bssid", "hidden"):
                raise ValueError("wifi.%s: no such key: correct or remove it" % key)
        checked.append(
            (
                _text(given, "ssid", 32),
                _text(given, "password", 63, False),
                _bssid(given),
                bool(given.get("hidden")),
            )
        )
    return checked


def check(settings):
    """The settings with all defaults filled in. Raises ValueError with a sentence about what is
    wrong; ethernet is checked by its own module, which knows the chip's types of PHY."""
    settings = settings or {}
    for key in settings:
        if key not in _KEYS:
            raise ValueError("%s: no such key: correct or remove it" % key)
    if ("wifi" in settings) == ("ethernet" in settings):
        raise ValueError("expected either wifi or ethernet: say how this board is connected")
    for key, value in (("name", "esp32"), ("country", "ID")):
        if not isinstance(settings.get(key, value), str):
            raise ValueError("%s: expected a text" % key)
    if not isinstance(settings.get("psram", False), bool):
        raise ValueError("psram: expected true or false")
    full = {
        "name": settings.get("name", "esp32"),
        "country": settings.get("country"),
        "wifi": networks(settings["wifi"]) if "wifi" in settings else None,
        "ethernet": settings.get("ethernet"),
        "static": None,
        "voltage": None,
        "watchdog_s": _integer("", settings, "watchdog_s", 0, 3600, 120),
        "firmware_bytes": _integer("", settings, "firmware_bytes", 0, 1 << 26, 0),
    }
    static = settings.get("static")
    if static is not None:
        if not isinstance(static, dict) or sorted(static) != sorted(_ADDRESSES):
            raise ValueError("static: expected { address, netmask, gateway, dns }")
        full["static"] = tuple([_address(static, key) for key in _ADDRESSES])
    voltage = settings.get("voltage")
    if voltage is not None:
        if not isinstance(voltage, dict) or sorted(voltage) != ["pin", "ratio"]:
            raise ValueError("voltage: expected { pin, ratio }")
        full["voltage"] = (
            _integer("voltage.", voltage, "pin", 0, 48, None),
            _integer("voltage.", voltage, "ratio", 1000, 100000, None),
        )
    return full


def _address(static, key):
    value = static[key]
    parts = value.split(".") if isinstance(value, str) else ()
    if len(parts) != 4 or not all([p.isdigit() and int(p) < 256 for p in parts]):
        raise ValueError("static.%s: expected an IPv4 address" % key)
    return value
