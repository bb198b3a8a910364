"""What goes wrong on a network: one exception, and its cause in a few words."""

import errno


class NetError(OSError):
    """A step on the network failed; str() is `reason`, one sentence.

    `stage` is "name", "connect", "tls", "mqtt" or "session": how far it came, which is evidence
    of an outage's cause. `errno` is the system's, TLS's (negative) or CONNACK's code, else 0."""

    def __init__(self, reason, stage="session", code=0):
        super().__init__(code, reason)
        self.reason = reason
        self.stage = stage

    def __str__(self):
        return self.reason


_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ETIMEDOUT: "no answer in time",
    errno.ENOENT: "no such file",
}

# A reset in TLS has two causes, and nothing here can tell which.
CUT = " (the certificate is refused, or TLS is cut on the way)"

# mbedTLS's code for a certificate that can't be verified; here on every interpreter.
CERTIFICATE = -0x2700


# ENOMEM, and mbedTLS's: SSL, X.509, PK, ECP and big numbers that could not be allocated.
_NO_MEMORY = (12, -0x7F00, -0x2880, -0x3F80, -0x4D80, -0x0010)


def code_of(error):
    """An OSError's errno, else 0. (MicroPython's other exceptions have an `errno` as well.)"""
    if isinstance(error, MemoryError):
        return _NO_MEMORY[0]
    code = error.errno or 0 if isinstance(error, OSError) else 0
    # Within TLS, MicroPython gives the socket's error as a negative number. Network errors have
    # numbers above 100 on Linux and in newlib; mbedTLS has no such numbers.
    return -code if -200 < code < -100 else code


def lacks_memory(error):
    """Whether this says only that memory was short, nothing about the network."""
    return code_of(error) in _NO_MEMORY


def cause(error):
    """What an exception says, in a few words for people."""
    text = _WORDS.get(code_of(error))
    if not text:
        text = getattr(error, "verify_message", "") or getattr(error, "reason", "")
    return text or str(error.args[-1] if error.args else repr(error)).strip()


def timed_out():
    """The exception for an answer that did not come in time."""
    return OSError(errno.ETIMEDOUT, _WORDS[errno.ETIMEDOUT])
