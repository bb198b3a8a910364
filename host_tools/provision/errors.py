"""What can go wrong with a board, as one family: each tells its kind and what to do next."""

from __future__ import annotations

from host_tools.errors import DesalinkError, printable


class ProvisionError(DesalinkError):
    """Provisioning stopped; `str()` of it is a sentence for the technician.

    kind: a short name that tables and summaries show, such as `cable` or `wrong_password`.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(printable(sentence))  # it may quote what a device said
        self.kind = kind
