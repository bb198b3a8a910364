"""Errors with a device, each with a kind and with the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from host_tools.common.errors import DesalinkError, printable
from host_tools.common.i18n import _
from host_tools.people.kits.model import same_id


class ProvisionError(DesalinkError):
    """Provisioning stopped; the text is a sentence for the technician.

    kind: a short name that tables and summaries show, such as `cable` or `wrong_password`.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(printable(sentence))  # it may quote a device
        self.kind = kind


def lost(port: str) -> ProvisionError:
    return ProvisionError(
        "cable",
        _(
            "The connection to the board on {port} was lost; plug it in again (a short cable, not "
            "a weak hub) and run the same command: it continues where it stopped."
        ).format(port=port),
    )


def refuse_swapped(first: str, now: str) -> None:
    """Refuse another device on the same port or address.

    Raises:
        ProvisionError: `swapped`: the two unique ids differ.
    """
    if same_id(first) != same_id(now):
        raise ProvisionError(
            "swapped",
            _(
                "The device was {mac} at first, and now it is {other}; keep it plugged in and "
                "run the same command."
            ).format(mac=first, other=now),
        )


@contextmanager
def understood(refused: Callable[[str], ProvisionError]) -> Iterator[None]:
    """Turn an answer in a wrong form into the device's error.

    Args:
        refused: makes the error from a reason.
    """
    try:
        yield
    except (ValueError, TypeError):
        raise refused("its answer can't be understood") from None
