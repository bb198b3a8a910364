"""Reads the device's certificates and CAs and compares them (docs/wire.md, "The certificate").

Needed at start and when a new certificate comes or is tried, so it is loaded for these moments
only. MicroPython has no functions for certificates: what must be compared is cut out of the DER.

Two files in the state folder, each replaced by a rename, so that a power cut at any write leaves
the old or the new one: `certificate` is the renewed one that was taken for good, `certificate.new`
is on trial. Without them the configuration's own certificate counts. The CAs and the root key that
came with a certificate are in its file; without them those of the configuration's CA file count.
"""

import os

from agent.device import heap

tls = heap.seldom("agent.net.tls")

GOOD = "/certificate"
NEW = "/certificate.new"
ROOT = b"ROOT KEY"  # 4 bytes: number of the document that named it; 32 bytes: the key


def fields(der):
    """Of an X.509 certificate (RFC 5280, 4.1): (serial, begin, end, who), in bytes and Unix
    seconds. `who` is what a renewal leaves as it is: issuer, subject, public key. ValueError."""
    at, end = _inside(der, *_inside(der, 0, len(der)))
    parts = []
    while at < end and len(parts) < 6:
        first, after = _inside(der, at, end)
        if der[at] != 0xA0:  # the version
            parts.append((at, first, after))
        at = after
    if len(parts) < 6:
        raise ValueError("no certificate")
    # serial, algorithm, issuer, validity, subject, key
    _, first, after = parts[0]
    serial = der[first:after].lstrip(b"\0")
    _, first, after = parts[3]
    begin, at = _time(der, first, after)
    end, _ = _time(der, at, after)
    return serial, begin, end, [der[parts[i][0] : parts[i][2]] for i in (2, 4, 5)]


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


def trusted(path, ca):
    """What counts with the certificate of the file `path`: (number of the document that says so,
    CAs, the root's public key or None). ca: the configuration's file."""
    found = tls.blocks("CA", path, tls.CA)
    if not found:
        path = ca
        found = tls.blocks("CA", ca, b"CERTIFICATE", True)
    for root in tls.blocks("CA", path, ROOT):
        if len(root) == 36:
            return int.from_bytes(root[:4], "big"), found, root[4:]
    return 0, found, None


def continues(der, old, authorities):
    """The `fields` of `der` if it renews the certificate `old` (fields): the same name and key,
    from one of the authorities, and no earlier end. ValueError if not."""
    found = fields(der)
    if found[3][1:] != old[3][1:]:
        raise ValueError("it is for another key or name")
    for ca in authorities:
        if fields(ca)[3][1] == found[3][0]:
            break
    else:
        raise ValueError("it is of another CA")
    if found[2] < old[2]:
        raise ValueError("it ends sooner")
    return found


def present(path, folder, ca):
    """The certificate in use: (path, serial, end), and whether another one is on trial.

    path, ca: those of the configuration. Whatever in `folder` does not continue it is removed: a
    device that was provisioned again has another key."""
    found = fields(tls.certificate(path))
    trial = False
    for name in (GOOD, NEW):
        try:
            newer = folder + name
            newer = continues(tls.certificate(newer), found, trusted(newer, ca)[1])
        except (OSError, ValueError):
            _remove(folder + name)
            continue
        if name == NEW:
            trial = True
        else:
            path = folder + name
            found = newer
    return path, found[0], found[2], trial


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
