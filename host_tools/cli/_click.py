"""click's own words in the language in force: click asks gettext's standard domain for them."""

from __future__ import annotations

import gettext
import os

from host_tools.common.i18n import DOMAIN, LOCALE, language


def use_language() -> None:
    """Have gettext answer from desalink's catalogue."""
    if language() == "en":
        return
    gettext.bindtextdomain(DOMAIN, LOCALE)
    gettext.textdomain(DOMAIN)
    # gettext takes the language from here. Programs that are started see it too.
    os.environ["LANGUAGE"] = language()


def _words() -> None:
    """Never called. The catalogue is made of what stands in `_()`."""
    from host_tools.common.i18n import _

    _("Usage:")
    _("Options")
    _("Error: {message}")
    _("Try '{command} {option}' for help.")
    _("Show this message and exit.")
    _("Show the version and exit.")
    _("default: {default}")
    _("required")
    _("Missing argument")
    _("Missing option")
    _("Missing command.")
    _("No such option {name!r}.")
    _("Option {name!r} does not take a value.")
    _("Invalid value: {message}")
    _("Invalid value for {param_hint}: {message}")
    _("{value!r} is not a valid {number_type}.")
    _("{value} is not in the range {range}.")
    _("Repeat for confirmation")
    _("Error: The two entered values do not match.")
    _("[OPTIONS]")
    _("COMMAND [ARGS]...")
    # What options take.
    _("FILE")
    _("[FILE|DIR]")
    _("DIR")
    _("NAME")
    _("CODE")
    _("CODES")
    _("Where something goes wrong, DESALINK_DEBUG=1 shows the whole traceback.")
