"""Turns whatever ended a command into one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from host_tools.common.errors import DesalinkError, printable
from host_tools.common.i18n import _

DEBUG_VARIABLE = "DESALINK_DEBUG"

DEFECT = 70
BUSY = 75  # as host_tools.store says it: it passes by itself
INTERRUPTED = 130
NO_READER = 141


def _os_sentence(error: OSError) -> str:
    return _os_message(error).format(
        file=f" {error.filename}" if error.filename else "",
        at=_(" at {file}").format(file=error.filename) if error.filename else "",
        owner=_owner(error.filename),
        reason=(error.strerror or str(error) or type(error).__name__).lower(),
    )


def _os_message(error: OSError) -> str:
    if isinstance(error, PermissionError):
        if not error.filename:
            return _("You may not use a file that is needed; run the command as {owner}.")
        return _("You may not use{file}; run the command as {owner}.")
    if isinstance(error, FileNotFoundError):
        if not error.filename:
            return _("The file that is needed does not exist; check its name and try again.")
        return _("The file{file} does not exist; check its name and try again.")
    if isinstance(error, IsADirectoryError):
        return _("A file is expected and{file} is a directory; check the name and try again.")
    if isinstance(error, NotADirectoryError):
        return _("A directory is expected and{file} is not one; check the name and try again.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _("The disk is full{at}; make room and run the command again.")
    if error.errno == errno.EROFS:
        return _("The file system is read-only{at}; choose another place or remount it.")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return _("Too many files are open; raise the limit with 'ulimit -n' and try again.")
    if error.errno == errno.EIO:
        return _("The disk has an error{at}; copy the province elsewhere and check the disk.")
    return _("The system refuses: {reason}{at}; repair that and try again.")


def _owner(filename: object) -> str:
    """Who owns the nearest directory of a path that can be looked at."""
    if sys.platform != "win32" and isinstance(filename, (str, bytes)):
        path = Path(os.path.abspath(os.fsdecode(filename)))
        for place in (path, *path.parents):
            with suppress(OSError, KeyError, NotImplementedError):
                return _("its owner, {name}").format(name=place.owner())
    return _("its owner")


def _is_locked(error: BaseException) -> bool:
    sqlite3 = sys.modules.get("sqlite3")
    return sqlite3 is not None and isinstance(error, sqlite3.Error) and "locked" in str(error)


def _database_sentence(error: BaseException) -> str | None:
    # A command that never touched a database has not imported the module: nothing to compare with.
    sqlite3 = sys.modules.get("sqlite3")
    if sqlite3 is None or not isinstance(error, sqlite3.DatabaseError):
        return None
    text = str(error)
    if "locked" in text:
        return _(
            "Another desalink is writing to the database for long; wait for it and try again."
        )
    if "full" in text:
        return _("The disk is full; make room and run the command again.")
    if "readonly" in text:
        return _(
            "You may not write to the database; run the command as the owner of the province."
        )
    if isinstance(error, sqlite3.OperationalError):
        return _(
            "The database can't be used: {text}; check the disk and the owner of the province."
        ).format(text=text)
    if type(error) is sqlite3.DatabaseError:
        return _("The database is damaged: {text}; put it back from the backup.").format(text=text)
    return None


def _tell(sentence: str) -> None:
    try:
        click.echo(f"desalink: {printable(sentence)}", err=True)  # English
    except OSError:
        pass  # nobody reads errors either; the exit code still tells


def _give_up_broken_output() -> None:
    """What is left in the buffer can't be written: keep the interpreter from trying once more."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (OSError, ValueError):
            pass  # it has no file to exchange


def report(error: BaseException) -> int:
    """Tell a person what ended the command; returns the exit code.

    With DESALINK_DEBUG=1 the traceback comes before the sentence.
    """
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    _give_up_broken_output()
    if isinstance(error, BrokenPipeError):
        return NO_READER
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, DesalinkError):
        _tell(str(error))
        return error.exit_code
    sentence = _database_sentence(error)
    if sentence is None and isinstance(error, OSError):
        sentence = _os_sentence(error)
    if sentence is not None:
        _tell(sentence)
        return BUSY if _is_locked(error) else 1
    _tell(
        _(
            "This is a defect of desalink ({error}); please report it with what '{variable}=1' "
            "shows."
        ).format(error=f"{type(error).__name__}: {error}", variable=DEBUG_VARIABLE)
    )
    return DEFECT
