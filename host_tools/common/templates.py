"""HTML from templates, in the language of who reads it.

A template holds its words in English, in `_()`, as code does: whole sentences with named
placeholders that `.format()` fills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from host_tools.common.i18n import _, ngettext

if TYPE_CHECKING:
    from jinja2 import Environment


def templates(package: str, **filters: Any) -> Environment:
    """The templates in a package's folder `templates`.

    Names and notes come from outside: everything is escaped. A value that a template is not given
    is an error.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_callables(_, ngettext)  # type: ignore[attr-defined]
    environment.filters.update(filters)
    return environment
