"""The token in a message's link: who has the message may acknowledge its alert, and no other."""

from __future__ import annotations

import base64
import hashlib
import hmac

from host_tools.alerts.records import AlertRecords
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

_SIZE = 10  # bytes of the signature


class TokenError(DesalinkError):
    """A token that no message holds."""


def make_token(records: AlertRecords, alert: int) -> str:
    """The token of an alert: letters, digits and a hyphen."""
    return f"{alert}-{_signature(records, alert)}"


def read_token(records: AlertRecords, token: str) -> int:
    """The alert that a token is for.

    Raises:
        TokenError: it is not signed.
    """
    number, _hyphen, signature = token.strip().lower().partition("-")
    if number.isascii() and number.isdigit() and len(number) < 16:
        if hmac.compare_digest(signature.encode(), _signature(records, int(number)).encode()):
            return int(number)
    raise TokenError(_("This is no token of an alert; copy all of it from the message."))


def _signature(records: AlertRecords, alert: int) -> str:
    secret = bytes.fromhex(records.meta("secret"))
    digest = hmac.digest(secret, f"ack {alert}".encode(), hashlib.sha256)
    return base64.b32encode(digest[:_SIZE]).decode().lower()
