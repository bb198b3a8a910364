"""Every error that a person can cause or repair, as one family.

The text of such an error is one sentence for the person at the keyboard: what happened, to which
village, device, file or key, and what to do now. The command line prints it and exits with
`exit_code`; library code raises it and never prints.
"""

from __future__ import annotations

import re


class DesalinkError(Exception):
    """Base of the family; `str()` of it is the whole sentence."""

    exit_code = 1


def reason(error: Exception) -> str:
    """The system's reason for a connection's failure, without error numbers and source lines."""
    strerror = getattr(error, "strerror", None)
    text = strerror if isinstance(strerror, str) and strerror else str(error)
    text = re.sub(r"\s*\(_ssl\.c:\d+\)|\[[A-Z0-9_: ]+\]\s*", "", text).strip()
    return text or type(error).__name__


# C0 but for tab and line feed, DEL, C1, and what turns the direction of writing round.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text from elsewhere, without characters that a terminal would obey instead of show."""
    return CONTROL.sub("?", text)


class ProvinceError(DesalinkError):
    """There is no province here, it exists already, or its province.toml is not valid."""


class PassphraseError(DesalinkError):
    """A passphrase is missing, too short, or does not open the key."""


class KeyFileError(DesalinkError):
    """A key, certificate or revocation list can't be read, or is not what it should be."""


class VillageError(DesalinkError):
    """A village code or regency that this province does not have."""


class VillageImportError(DesalinkError):
    """A table of positions that holds rows which can't be imported."""


class RegistryError(DesalinkError):
    """The registry of villages, devices and certificates can't be opened or refuses a change."""


class EnrolmentError(DesalinkError):
    """A device that can't be enrolled: no valid proof, the slot is filled, or the key is known."""


class BrokerError(DesalinkError):
    """Mosquitto is missing, too old, not running, or does not start."""
