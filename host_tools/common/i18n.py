"""What a technician reads, in Bahasa Indonesia or in English.

    from host_tools.common.i18n import _, ngettext
    _("Village {code} is not in this kit.").format(code=code)
    ngettext("{count} device", "{count} devices", count).format(count=number(count))

Messages are written in English and looked up in host_tools/locale/<language>/LC_MESSAGES/; what
the catalogue lacks stays English. Whole sentences with named placeholders, never pieces put
together, and never an f-string: the catalogue's extractor can't see into one. The help of a verb
needs no `_()`: host_tools/cli looks it up. `.venv/bin/python .ci/messages.py` renews the
catalogue.

The language is --lang's, else that of DESALINK_LANG, LANGUAGE, LC_ALL, LC_MESSAGES or LANG, else
that of Windows, else English. Nothing is loaded before the first text is asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.common.errors import DesalinkError

if TYPE_CHECKING:
    from gettext import NullTranslations

LANGUAGES = ("en", "id")
VARIABLE = "DESALINK_LANG"
DOMAIN = "desalink"
LOCALE = Path(__file__).parents[1] / "locale"

_VARIABLES = (VARIABLE, "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
# "in" is the code that ISO had for Indonesian until 1989; Java still gives it.
_ALIASES = {"in": "id", "c": "en", "posix": "en"}


class LanguageError(DesalinkError):
    """There is no catalogue of this language."""


_chosen: str | None = None
# Of one reader of the pages: a server speaks both languages at once.
_of_reader: ContextVar[str | None] = ContextVar("_of_reader", default=None)
_loaded: dict[str, NullTranslations] = {}


def _known(locale: str) -> str | None:
    """The language of a locale's name such as `id_ID.UTF-8`, or None if there is no catalogue."""
    name = locale.strip().lower().replace("-", "_").partition(".")[0].partition("_")[0]
    name = _ALIASES.get(name, name)
    return name if name in LANGUAGES else None


def _from_environment() -> str:
    for variable in _VARIABLES:
        value = os.environ.get(variable)
        if not value:
            continue
        # LANGUAGE is a list; a locale that is set and not known ends the search, as in gettext.
        return next((name for part in value.split(":") if (name := _known(part))), "en")
    return _of_windows()


def _of_windows() -> str:
    """The language of the user's Windows, where no variable says it."""
    if sys.platform == "win32":
        import ctypes
        from locale import windows_locale

        code = ctypes.windll.kernel32.GetUserDefaultUILanguage()
        return _known(windows_locale.get(code, "")) or "en"
    return "en"


def set_language(name: str | None) -> None:
    """Choose the language of every text from now on; None: what the environment says.

    Raises:
        LanguageError: there is no catalogue of it, or of that in DESALINK_LANG.
    """
    global _chosen
    wanted = os.environ.get(VARIABLE) if name is None else name
    if wanted and _known(wanted) is None or name == "":
        sentence = _("There is no language '{wanted}'; give one of {names}.")
        if name is None:
            sentence = _("There is no language '{wanted}' of {variable}; give one of {names}.")
        raise LanguageError(
            sentence.format(wanted=wanted, variable=VARIABLE, names=", ".join(LANGUAGES))
        )
    _chosen = None if name is None else _known(name)


def set_reader_language(name: str) -> None:
    """Choose the language, `en` or `id`, of what the present context (`contextvars`) writes."""
    _of_reader.set(name)


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Take the texts of a block in a language, whatever is in force outside of it."""
    before = _of_reader.set(name)
    try:
        yield
    finally:
        _of_reader.reset(before)


def language() -> str:
    """The language in force, `en` or `id`."""
    return _of_reader.get() or _chosen or _from_environment()


def _catalogue() -> NullTranslations:
    name = language()
    loaded = _loaded.get(name)
    if loaded is None:
        from gettext import NullTranslations, translation

        # English is the messages themselves: it has no catalogue, hence the fallback.
        try:
            loaded = translation(DOMAIN, LOCALE, [name], fallback=True)
        except OSError:
            # Perhaps the very error that a text is wanted for, such as too many open files.
            return NullTranslations()
        _loaded[name] = loaded
    return loaded


def _(message: str) -> str:
    """A message in the language in force."""
    return _catalogue().gettext(message)


def marked(message: str) -> str:
    """The message as it is, for the catalogue: of a constant that `_()` translates at its use."""
    return message


def ngettext(singular: str, plural: str, count: int) -> str:
    """The message that fits a count, in the language in force."""
    return _catalogue().ngettext(singular, plural, count)


def number(value: float, digits: int = 0) -> str:
    """A number as people write it: `1,234.5` in English, `1.234,5` in Indonesian.

    Args:
        digits: behind the decimal sign.
    """
    return local(f"{value:,.{digits}f}")


def local(text: str) -> str:
    """A number that is written in English, such as `1,234.5`, in the language in force."""
    return text.translate(str.maketrans(",.", ".,")) if language() == "id" else text
