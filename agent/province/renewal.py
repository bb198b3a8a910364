"""Reads, checks and stores the device's certificates and CAs (docs/wire.md, "The certificate").

Needed at start and when a new certificate comes or is tried, so it is loaded for these moments
only. MicroPython has no functions for certificates: what must be compared is cut out of the DER.

Two files in the state folder, each replaced by a rename, so that a power cut at any write leaves
the old or the new one: `certificate` is the renewed one that was taken for good, `certificate.new`
is on trial. Without them the configuration's own certificate counts. The CAs and the root key that
came with a certificate are in its file; without them those of the configuration's CA file count.
"""

import binascii
import os

from agent.device import heap, interpreter
from agent.device.interpreter import const
from agent.wire import cbor

tls = heap.seldom("agent.net.tls")

GOOD = "/certificate"
NEW = "/certificate.new"
_SHORTENED = "/certificate.tmp"  # may be cut off by a power cut
_MAX_MESSAGE = 4096
_MAX_CERTIFICATE = 2048
_LINE = 48  # bytes in a line of PEM
_AUTHORITIES = b"desa/1/authorities"
_ROOT = b"ROOT KEY"  # 4 bytes: number of the document that named it; 32 bytes: the key
_NUMBER_MAX = const(0xFFFFFFFF)


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


def trusted(path, ca):
    """What counts with the certificate of the file `path`: (number of the document that says so,
    CAs, the root's public key or None). ca: the configuration's file."""
    found = tls.blocks("CA", path, tls.CA)
    if not found:
        path = ca
        found = tls.blocks("CA", ca, b"CERTIFICATE", True)
    for root in tls.blocks("CA", path, _ROOT):
        if len(root) == 36:
            return int.from_bytes(root[:4], "big"), found, root[4:]
    return 0, found, None


def _change(document, trust):
    """The `trusted` of a document if the root has signed it and it is newer, else `trust`."""
    if not isinstance(document, bytes):
        raise ValueError("malformed")
    if trust[2] is None:
        return trust
    cose = heap.seldom("agent.wire.cose_verify")
    try:
        table = cbor.loads(cose.verify1(trust[2], document, _AUTHORITIES))
    except cose.CoseError:
        return trust  # of an earlier or a later root
    finally:
        heap.seldom("agent.wire.ed25519_verify")
    if not isinstance(table, dict):
        raise ValueError("malformed")
    number, found, root = table.get(1), table.get(2), table.get(3)
    if not isinstance(number, int) or not isinstance(found, list) or not isinstance(root, bytes):
        raise ValueError("malformed")
    if number > _NUMBER_MAX or not found or len(root) != 32:
        raise ValueError("malformed")
    for ca in found:
        fields(ca)
    return (number, found, root) if number > trust[0] else trust


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


def store(payload, path, folder, ca, now):
    """Put the certificate of a message on trial, and the CAs and root key that it brings. False if
    all that is in use or on trial already.

    path: of the certificate in use; now: Unix time or None. ValueError: it is refused, and why."""
    if len(payload) > _MAX_MESSAGE:
        raise ValueError("too large")
    message = cbor.loads(payload)
    der = message.get(1) if isinstance(message, dict) else None
    if not isinstance(der, bytes) or not 0 < len(der) <= _MAX_CERTIFICATE:
        raise ValueError("malformed")
    old = tls.certificate(path)
    before = trust = trusted(path, ca)
    documents = message.get(2, [])
    if not isinstance(documents, list):
        raise ValueError("malformed")
    for document in documents:
        trust = _change(document, trust)
    if der == old and trust is before:
        return False
    try:
        new = folder + NEW
        if der == tls.certificate(new) and trust[0] == trusted(new, ca)[0]:
            return False
    except OSError:
        pass  # nothing is on trial
    begin = continues(der, fields(old), trust[1])[1]
    if now is not None and begin > now:
        raise ValueError("it is not valid yet")
    with open(folder + _SHORTENED, "wb") as file:
        _write(file, b"CERTIFICATE", der)
        if trust[0]:
            for authority in trust[1]:
                _write(file, tls.CA, authority)
            _write(file, _ROOT, trust[0].to_bytes(4, "big") + trust[2])
        interpreter.sync(file)
    os.rename(folder + _SHORTENED, folder + NEW)
    return True


def _write(file, label, content):
    file.write(b"-----BEGIN " + label + b"-----\n")
    for at in range(0, len(content), _LINE):
        file.write(binascii.b2a_base64(content[at : at + _LINE]))
    file.write(b"-----END " + label + b"-----\n")


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
