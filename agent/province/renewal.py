"""Reads, checks and stores the device's TLS certificates (docs/wire.md, "The certificate").

Needed at start and when a new certificate comes or is tried, so it is loaded for these moments
only. MicroPython has no functions for certificates: what must be compared is cut out of the DER.

Two files in the state folder, each replaced by a rename, so that a power cut at any write leaves
the old or the new one: `certificate` is the renewed one that was taken for good, `certificate.new`
is on trial. Without them the configuration's own certificate counts.
"""

import binascii
import os

from agent.device import heap, interpreter
from agent.wire import cbor

tls = heap.seldom("agent.net.tls")

GOOD = "/certificate"
NEW = "/certificate.new"
_SHORTENED = "/certificate.tmp"  # may be cut off by a power cut
_MAX_MESSAGE = 4096
_MAX_CERTIFICATE = 2048
_LINE = 48  # bytes in a line of PEM


def fields(der):
    """Of an X.509 certificate (RFC 5280, 4.1): (serial, begin, end, who), in bytes and Unix
    seconds. `who` is what a renewal leaves as it is: issuer, subject, public key. ValueError."""
    at, end = _inside(der, *_inside(der, 0, len(der)))
    elements = []
    while at < end and len(elements) < 7:
        first, after = _inside(der, at, end)
        if der[at] != 0xA0:  # the version
            elements.append((at, first, after))
        at = after
    if len(elements) < 6:
        raise ValueError("no certificate")
    serial, _, issuer, validity, subject, key = elements[:6]
    begin, middle = _time(der, validity[1], validity[2])
    finish, _ = _time(der, middle, validity[2])
    who = [der[element[0] : element[2]] for element in (issuer, subject, key)]
    return der[serial[1] : serial[2]].lstrip(b"\0"), begin, finish, who


def _inside(der, at, end):
    """Where the content of the element at `at` begins and ends; ValueError if beyond `end`."""
    if at + 2 <= end:
        size = der[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(der[at : at + count], "big") if 0 < count <= 2 else end
            at += count
        if at + size <= end:
            return at, at + size
    raise ValueError("no certificate")


def _time(der, at, end):
    """Unix time of the UTCTime or GeneralizedTime at `at`, and where it ends."""
    kind = der[at]
    at, end = _inside(der, at, end)
    text = str(der[at:end], "ascii")
    if kind == 0x17:
        text = ("19" if text[:1] >= "5" else "20") + text  # RFC 5280, 4.1.2.5.1
    if len(text) != 15 or text[14] != "Z":
        raise ValueError("no certificate")
    year, month = int(text[:4]), int(text[4:6])
    if month < 3:  # years that begin in March: a leap day is then the last one
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5
    days += int(text[6:8]) - 719469
    clock = int(text[8:10]) * 3600 + int(text[10:12]) * 60 + int(text[12:14])
    return days * 86400 + clock, end


def continues(der, old):
    """The `fields` of `der` if it renews the certificate `old` (fields): the same but for number
    and dates, and a later end. ValueError if not."""
    found = fields(der)
    if found[3] != old[3]:
        raise ValueError("it is for another key, name or CA")
    if found[2] <= old[2]:
        raise ValueError("it ends no later")
    return found


def present(path, folder):
    """The certificate in use: (path, serial, end), and whether another one is on trial.

    path: that of the configuration. Whatever in `folder` does not continue it is removed: a
    device that was provisioned again has another key."""
    found = fields(tls.certificate(path))
    trial = False
    for name in (GOOD, NEW):
        try:
            newer = continues(tls.certificate(folder + name), found)
        except (OSError, ValueError):
            _remove(folder + name)
            continue
        if name == NEW:
            trial = True
        else:
            path = folder + name
            found = newer
    return path, found[0], found[2], trial


def store(payload, path, folder, now):
    """Put the certificate of a message on trial. False if it is in use or on trial already.

    path: of the certificate in use; now: Unix time or None. ValueError: it is refused, and why."""
    if len(payload) > _MAX_MESSAGE:
        raise ValueError("too large")
    message = cbor.loads(payload)
    der = message.get(1) if isinstance(message, dict) else None
    if not isinstance(der, bytes) or not 0 < len(der) <= _MAX_CERTIFICATE:
        raise ValueError("malformed")
    old = tls.certificate(path)
    if der == old:
        return False
    try:
        if der == tls.certificate(folder + NEW):
            return False
    except OSError:
        pass  # nothing is on trial
    begin = continues(der, fields(old))[1]
    if now is not None and begin > now:
        raise ValueError("it is not valid yet")
    with open(folder + _SHORTENED, "wb") as file:
        file.write(b"-----BEGIN CERTIFICATE-----\n")
        for at in range(0, len(der), _LINE):
            file.write(binascii.b2a_base64(der[at : at + _LINE]))
        file.write(b"-----END CERTIFICATE-----\n")
        interpreter.sync(file)
    os.rename(folder + _SHORTENED, folder + NEW)
    return True


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
