"""A renewed certificate and new CAs that the province has sent: they are checked, and stored to be
tried (docs/wire.md, "The certificate")."""

import binascii
import os

from agent.device import heap, interpreter
from agent.wire import cbor

renewal = heap.seldom("agent.province.renewal")

_SHORTENED = "/certificate.tmp"  # may be cut off by a power cut
_LINE = 48  # bytes in a line of PEM


def _change(document, trust):
    """The `trusted` of a document if the root has signed it and it is newer, else `trust`."""
    if not isinstance(document, bytes):
        raise ValueError("malformed")
    if trust[2] is None:
        return trust
    cose = heap.seldom("agent.wire.cose_verify")
    try:
        table = cbor.loads(cose.verify1(trust[2], document, b"desa/1/authorities"))
    except cose.CoseError:
        return trust  # of an earlier or a later root
    finally:
        heap.seldom("agent.wire.ed25519_verify")
    if not isinstance(table, dict):
        raise ValueError("malformed")
    number, found, root = table.get(1), table.get(2), table.get(3)
    if not isinstance(number, int) or not isinstance(found, list) or not isinstance(root, bytes):
        raise ValueError("malformed")
    if number > 0xFFFFFFFF or not found or len(root) != 32:
        raise ValueError("malformed")
    for ca in found:
        renewal.fields(ca)
    return (number, found, root) if number > trust[0] else trust


def store(payload, path, folder, ca, now):
    """Put the certificate of a message on trial, and the CAs and root key that it brings. False if
    all that is in use or on trial already.

    path: of the certificate in use; now: Unix time or None. ValueError: it is refused, and why."""
    if len(payload) > 4096:
        raise ValueError("too large")
    message = cbor.loads(payload)
    der = message.get(1) if isinstance(message, dict) else None
    if not isinstance(der, bytes) or not 0 < len(der) <= 2048:
        raise ValueError("malformed")
    old = renewal.tls.certificate(path)
    before = trust = renewal.trusted(path, ca)
    documents = message.get(2, [])
    if not isinstance(documents, list):
        raise ValueError("malformed")
    for document in documents:
        trust = _change(document, trust)
    if der == old and trust is before:
        return False
    try:
        new = folder + renewal.NEW
        if der == renewal.tls.certificate(new) and trust[0] == renewal.trusted(new, ca)[0]:
            return False
    except OSError:
        pass  # nothing is on trial
    begin = renewal.continues(der, renewal.fields(old), trust[1])[1]
    if now is not None and begin > now:
        raise ValueError("it is not valid yet")
    with open(folder + _SHORTENED, "wb") as file:
        _write(file, b"CERTIFICATE", der)
        if trust[0]:
            for authority in trust[1]:
                _write(file, renewal.tls.CA, authority)
            _write(file, renewal.ROOT, trust[0].to_bytes(4, "big") + trust[2])
        interpreter.sync(file)
    os.rename(folder + _SHORTENED, folder + renewal.NEW)
    return True


def _write(file, label, content):
    file.write(b"-----BEGIN " + label + b"-----\n")
    for at in range(0, len(content), _LINE):
        file.write(binascii.b2a_base64(content[at : at + _LINE]))
    file.write(b"-----END " + label + b"-----\n")
