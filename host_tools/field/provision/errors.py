"""What can go wrong with a board, as one family: each tells its kind and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from host_tools.common.errors import DesalinkError, printable


class ProvisionError(DesalinkError):
    """Provisioning stopped; `str()` of it is a sentence for the technician.

    kind: a short name that tables and summaries show, such as `cable` or `wrong_password`.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(printable(sentence))  # it may quote what a device said
        self.kind = kind


@contextmanager
def understood(refused: Callable[[str], ProvisionError]) -> Iterator[None]:
    """What a device answers in another form than its agent has is the device's fault, not ours.

    Args:
        refused: makes the error of what is wrong with the device.
    """
    try:
        yield
    except (ValueError, TypeError):
        raise refused("its answer can't be understood") from None
