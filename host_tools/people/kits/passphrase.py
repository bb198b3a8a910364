"""The passphrase of a kit. The technician gets it separately from the kit."""

from __future__ import annotations

import secrets

from host_tools.common.i18n import _
from host_tools.common.passphrase import KIT_VARIABLE, PassphraseSource

# Easy to read out over a radio: no similar letters.
_LETTERS = "abcdefghjkmnpqrstuwxyz23456789"
_GROUPS = 5


def suggestion() -> str:
    """A random passphrase of 25 characters (about 122 bits), in groups."""
    groups = ["".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(_GROUPS)]
    return "-".join(groups)


KIT = PassphraseSource(
    KIT_VARIABLE,
    lambda: _("Passphrase of the kit: "),
    lambda: _("Choose a passphrase for the kit, for example {example}: ").format(
        example=suggestion()
    ),
    lambda: _(
        "The kit's passphrase is needed and there is no terminal to ask on; set "
        "{variable} or give --kit-passphrase-file."
    ).format(variable=KIT_VARIABLE),
)
given, existing, new = KIT.given, KIT.existing, KIT.new
