"""The configuration's section `board` for the ESP32 family, checked whole (docs/boards.md)."""

_KEYS = (
    "name", "country", "wifi", "ethernet", "static", "voltage", "watchdog_s", "firmware_bytes",
    "usb",
)  # fmt: skip
_ADDRESSES = ("address", "netmask", "gateway", "dns")


def _integer(where, settings, key, least, most, default):
    value = settings.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError("%s%s: expected a number from %d to %d" % (where, key, least, most))
    return value


def check(settings):
    """The settings with all defaults filled in. Raises ValueError with a sentence about what is
    wrong; wifi and ethernet are checked by their own modules."""
    settings = settings or {}
    for key in settings:
        if key not in _KEYS:
            raise ValueError("%s: no such key: correct or remove it" % key)
    if ("wifi" in settings) == ("ethernet" in settings):
        raise ValueError("expected either wifi or ethernet: say how this board is connected")
    for key, value in (("name", "esp32"), ("country", "ID")):
        if not isinstance(settings.get(key, value), str):
            raise ValueError("%s: expected a text" % key)
    full = {
        "name": settings.get("name", "esp32"),
        "country": settings.get("country"),
        "wifi": settings.get("wifi"),
        "ethernet": settings.get("ethernet"),
        "static": None,
        "voltage": None,
        "watchdog_s": _integer("", settings, "watchdog_s", 0, 3600, 120),
        "firmware_bytes": _integer("", settings, "firmware_bytes", 0, 1 << 26, 0),
        "usb": bool(settings.get("usb")),
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
