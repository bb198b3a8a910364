"""What each reason of the quarantine and each kind of finding means, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.common.i18n import marked

if TYPE_CHECKING:
    pass


# What each reason means and what to do; `list` shows the second part.
ADVICE: dict[str, tuple[str, str]] = {
    "too_large": (
        marked("the message is larger than a device ever sends"),
        marked("find out what publishes under this slot"),
    ),
    "wrong_topic": (
        marked("the topic is not one of a device"),
        marked("find out what publishes there; run 'desalink broker check'"),
    ),
    "malformed": (
        marked("the content is not what docs/wire.md describes"),
        marked("update the device's agent; if it continues, report it"),
    ),
    "unknown_key": (
        marked("no enrolled device has this key"),
        marked("enrol the device ('desalink enrol'): what waits here is then stored by itself"),
    ),
    "wrong_slot": (
        marked("the device is enrolled for another slot"),
        marked("see whether devices were mixed up: 'desalink devices show'"),
    ),
    "bad_signature": (
        marked("the device of this key has not signed this"),
        marked("if it continues, search for a forger or a broken device"),
    ),
    "revoked_key": (
        marked("the device's key is revoked"),
        marked("disconnect the device, or enrol it again"),
    ),
    "conflict": (
        marked("the same number is stored with other bytes"),
        marked("see whether the device's storage was copied or put back"),
    ),
    "replay": (
        marked("an older birth came after a newer one"),
        marked("if it continues, find out who publishes under this slot"),
    ),
    "gap": (
        marked("reports are missing in between"),
        marked("wait: the device sends the newest first; if it stays, its journal has lost them"),
    ),
    "dropped": (
        marked("the device has lost these reports and says so"),
        marked("check its storage if the reason is 'corrupt'; else its outage was too long"),
    ),
    "chain_break": (
        marked("a report does not follow from the one before"),
        marked("check the device: its reports from here on do not continue those before"),
    ),
    "future_clock": (
        marked("the device's clock is ahead of ours"),
        marked("check the device's time source; its reports are placed by others"),
    ),
    "unplaced": (
        marked("no report of this run knows the time"),
        marked("check the device's time source; they count as no data"),
    ),
    "corrupt": (
        marked("a stored report is not what its device has signed, or is missing"),
        marked(
            "check the disk, and who may write to the database; the device sends the report again"
        ),
    ),
    "stream_lost": (
        marked("the device's journal had lost its end, or all of it; a new one was begun"),
        marked("check its storage; nothing that was stored is lost"),
    ),
}
