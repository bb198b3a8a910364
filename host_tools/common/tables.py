"""Tables of TOML and JSON files as typed objects. msgspec checks them; errors are for people.

A type's `Meta(description=...)` is what an error says that the file must hold there.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from host_tools.common.i18n import _, marked

T = TypeVar("T")

_ONE_OF = "one of "
_WHOLE = marked("a whole number from {least} to {most}")


class TableError(ValueError):
    """A value that is not valid; the text begins with its key."""


def text(pattern: str, expected: str) -> Meta:
    """Of a text that fits a pattern as a whole."""
    return Meta(pattern=rf"\A(?:{pattern})\Z", description=expected)


def whole(least: int, most: int) -> Meta:
    """Of a whole number between two limits."""
    return Meta(ge=least, le=most, description=_WHOLE)


def choice(*values: str) -> Meta:
    """Of a text that is one of some."""
    return text("|".join(values), _ONE_OF + ", ".join(f'"{value}"' for value in values))


def checked(table: Any, kind: type[T], *, strict: bool = True) -> T:
    """The table as an object of a dataclass.

    Args:
        strict: refuse keys that the dataclass does not have.

    Raises:
        TableError: names the key, what was expected and what was found.
    """
    if strict and isinstance(table, dict):
        _refuse_unknown(table, kind, "")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise TableError(_sentence(str(error), table, kind)) from None


def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True) if hasattr(kind, "__annotations__") else {}


def _plain(kind: Any) -> Any:
    """A dataclass without `| None` and `Annotated` around it."""
    options = [kind, *get_args(kind)]
    return next((o for o in options if hasattr(o, "__dataclass_fields__")), kind)


def _refuse_unknown(table: dict[str, Any], kind: Any, prefix: str) -> None:
    fields = _fields(kind)
    for name, value in table.items():
        if name not in fields:
            known = ", ".join(fields)
            raise TableError(
                _(
                    "{prefix}{name}: no such key; correct or remove it (there are: {known})."
                ).format(prefix=prefix, name=name, known=known)
            )
        inner = _plain(fields[name])
        if isinstance(value, dict) and hasattr(inner, "__dataclass_fields__"):
            _refuse_unknown(value, inner, f"{prefix}{name}.")


def _sentence(said: str, table: Any, kind: Any) -> str:
    what, _at, place = said.partition(" - at `$")
    path = re.findall(r"\.(\w+)|(\[)", place)
    missing = re.search(r"missing required field `(\w+)`", what)
    if missing:
        path.append((missing[1], ""))
    names = []
    expected = what.partition(", got ")[0].removeprefix("Expected ").replace("`", "")
    for name, _bracket in path:
        inner = _plain(kind)
        if name:
            kind, table = _fields(inner)[name], table.get(name) if table else None
            names.append(name)
        elif isinstance(table, dict):  # msgspec does not name the key
            kind = get_args(inner)[-1]
            name, table = next((k, v) for k, v in table.items() if not _fits(v, kind))
            names.append(str(name))
        else:
            break  # a list is named as a whole
        expected = _description(kind) or expected
    key = ".".join(names)
    if missing:
        return _("{key} is missing: expected {expected}; add it.").format(
            key=key, expected=expected
        )
    return _("{key}: expected {expected}, got {found!r}.").format(
        key=key, expected=expected, found=table
    )


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _description(kind: Any) -> str | None:
    """What the type's Meta says, also inside `| None`."""
    for option in (kind, *get_args(kind)):
        if get_origin(option) is Annotated:
            for meta in option.__metadata__:
                if isinstance(meta, Meta) and meta.description:
                    return _expected(meta.description, meta)
    return None


def _expected(description: str, meta: Meta) -> str:
    """A description in the language in force."""
    if description.startswith(_ONE_OF):
        return _("one of {values}").format(values=description.removeprefix(_ONE_OF))
    return _(description).format(least=meta.ge, most=meta.le)
