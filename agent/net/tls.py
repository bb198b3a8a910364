"""The agent's TLS context: mutual TLS 1.2 or newer, from PEM or DER files."""

import binascii

from agent.device import interpreter
from agent.net.errors import NetError, cause

if interpreter.MICROPYTHON:
    import tls as ssl  # what its ssl.py wraps in a kilobyte of its own
else:
    import ssl

CA = b"CA CERTIFICATE"  # label of a CA beside a renewed certificate; OpenSSL passes over it


def _error(what, path, text):
    return NetError("%s %s: %s" % (what, path, text), "tls")


def blocks(what, path, label, or_der=False):
    """The content of each block in a PEM file whose label ends with `label`; or_der: or the file
    itself, if that is DER."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise _error(what, path, cause(error)) from None
    if data[:1] == b"\x30":  # DER begins with a SEQUENCE
        return [data] if or_der else []
    found = []
    for block in data.split(b"-----BEGIN ")[1:]:
        part = block.split(b"-----")  # label, base64, "END label", ...
        if not part[0].endswith(label):
            continue  # "EC PARAMETERS" may stand before a key
        if len(part) < 3 or part[2] != b"END " + part[0]:
            raise _error(what, path, "is cut off")
        if b"ENCRYPTED" in part[0] or b"ENCRYPTED" in part[1]:
            raise _error(what, path, "is encrypted")
        try:
            found.append(binascii.a2b_base64(part[1]))
        except ValueError:
            raise _error(what, path, "is damaged") from None
    return found


def _needed(what, path, label):
    found = blocks(what, path, label, True)
    if not found:
        raise _error(what, path, "holds no PEM " + label.decode())
    return found


def certificate(path):
    """The first certificate of a PEM or DER file, as DER. Raises as tls_context."""
    return _needed("certificate", path, b"CERTIFICATE")[0]


def trusting(ca_path, cert_path=None):
    """A client context that trusts only the certificates of a PEM or DER file, and always checks
    the peer's certificate and name. Raises as tls_context.

    cert_path: of a renewed certificate; the CAs that came with it count instead."""
    authorities = cert_path and blocks("CA", cert_path, CA)
    if not authorities:
        authorities = _needed("CA", ca_path, b"CERTIFICATE")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    for der in authorities:
        try:
            if interpreter.MICROPYTHON:
                context.load_verify_locations(der)
            else:
                context.load_verify_locations(cadata=der)
        except (OSError, ValueError) as error:
            raise _error("CA", ca_path, cause(error)) from None
    if not interpreter.MICROPYTHON:  # its mbedTLS 3 knows nothing older than TLS 1.2
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def tls_context(ca_path, cert_path, key_path):
    """A client context that trusts only the CA file and shows the device's certificate.

    Files are PEM; DER too, except certificate and key on CPython. The CA file may hold several
    certificates (for a change of CA).
    Raises NetError (stage "tls") that names the file and what is wrong with it."""
    context = trusting(ca_path, cert_path)
    cert = certificate(cert_path)
    key = _needed("key", key_path, b"PRIVATE KEY")[0]
    if not interpreter.MICROPYTHON:  # which takes DER
        cert = cert_path
        key = key_path
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ValueError) as error:
        text = "with key %s: %s" % (key_path, cause(error))
        raise _error("certificate", cert_path, text) from None
    return context
