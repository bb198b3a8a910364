"""What values in CBOR from outside must be: type and bounds of each, told once in a table.

A shape is a function that takes a decoded value and returns it as it is used, or raises
`NotValid`. `Form` is a map whose keys are known. Only a report's payload is checked in another
way (payload.py), because thousands of them are read in a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from host_tools.wire.reasons import Reason, Refused

Shape = Callable[[Any], Any]


class NotValid(Exception):
    """A value is not what its shape demands."""


class FieldRefused(Refused):
    """A map of a known form has a wrong field; `field` is its name."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(Reason.MALFORMED, detail)
        self.field = field


def _only_if(valid: Callable[[Any], bool]) -> Shape:
    def shape(value: Any) -> Any:
        if not valid(value):
            raise NotValid
        return value

    return shape


def uint(most: int, least: int = 0) -> Shape:
    """An integer from `least` to `most`; true and 1.0 are none."""
    return _only_if(lambda value: type(value) is int and least <= value <= most)


def octets(most: int, least: int | None = None) -> Shape:
    """A byte string of exactly `most` bytes, or of `least` to `most`."""
    fewest = most if least is None else least
    return _only_if(lambda value: type(value) is bytes and fewest <= len(value) <= most)


def text(most: int, least: int = 0) -> Shape:
    """A text of `least` to `most` characters."""
    return _only_if(lambda value: type(value) is str and least <= len(value) <= most)


def printable(most: int) -> Shape:
    """A text of 1 to `most` characters, each of which can be printed."""
    return _only_if(
        lambda value: type(value) is str and 0 < len(value) <= most and value.isprintable()
    )


boolean = _only_if(lambda value: type(value) is bool)


def fits(shape: Shape, condition: Callable[[Any], bool]) -> Shape:
    """A shape whose value fulfils a condition, too."""

    def narrower(value: Any) -> Any:
        shaped = shape(value)
        if not condition(shaped):
            raise NotValid
        return shaped

    return narrower


def nullable(shape: Shape) -> Shape:
    """Null, or a shape."""
    return lambda value: None if value is None else shape(value)


def array(shape: Shape, least: int = 0) -> Shape:
    """An array of at least so many elements of one shape; becomes a tuple."""

    def elements(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) < least:
            raise NotValid
        return tuple(map(shape, value))

    return elements


def row(make: Callable[..., Any], *shapes: Shape, more: bool = False) -> Shape:
    """An array with one element for each shape, which `make` takes.

    Args:
        more: elements may follow, which are passed over.
    """

    def elements(value: Any) -> Any:
        if type(value) is not list or len(value) < len(shapes):
            raise NotValid
        if len(value) > len(shapes) and not more:
            raise NotValid
        return make(*(shape(element) for shape, element in zip(shapes, value, strict=False)))

    return elements


def pair(*values: Any) -> tuple[Any, ...]:
    """For `row`: its elements as a tuple."""
    return values


def table(key: Shape, value: Shape, most: int, least: int = 0) -> Shape:
    """A map of at most so many entries, whose keys have one shape and whose values another."""

    def entries(found: Any) -> dict[Any, Any]:
        if type(found) is not dict or not least <= len(found) <= most:
            raise NotValid
        return {key(name): value(content) for name, content in found.items()}

    return entries


class Optional:
    """In a form: a field that may be missing, and is None then."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


class Form:
    """A map whose keys are known: 1, 2 ... in the order of its fields, or the fields' names."""

    def __init__(
        self,
        what: str,
        fields: Mapping[str, Shape | Optional],
        *,
        named: bool = False,
        exact: bool = False,
    ) -> None:
        """
        Args:
            what: is described, for refusals.
            fields: name and shape, in the order of the keys.
            named: the keys are the names.
            exact: no other key may occur; else others are ignored.
        """
        self._what = what
        self._key_type = str if named else int
        self._keys: dict[str, int | str] = {
            name: name if named else number for number, name in enumerate(fields, 1)
        }
        self._optional = {name for name in fields if isinstance(fields[name], Optional)}
        self._shapes: dict[str, Shape] = {
            name: shape.shape if isinstance(shape, Optional) else shape
            for name, shape in fields.items()
        }
        self._exact = exact

    def read(self, found: Any) -> dict[str, Any]:
        """The values by name, each as its shape returns it.

        Raises:
            FieldRefused: the first field that is missing, not valid or not known.
        """
        if type(found) is not dict:
            raise FieldRefused(self._what, f"the {self._what} is not a map")
        self._check_keys(found)
        values: dict[str, Any] = {}
        for name, shape in self._shapes.items():
            key = self._keys[name]
            if key not in found and name in self._optional:
                values[name] = None
                continue
            try:
                values[name] = shape(found[key])
            except (KeyError, NotValid):
                label = name.replace("_", " ")
                label += f" ({key})" if self._key_type is int else ""
                raise FieldRefused(
                    name, f"{label} of the {self._what} is missing or not valid"
                ) from None
        return values

    def _check_keys(self, found: dict[Any, Any]) -> None:
        # Python finds True and 1.0 under 1, and they are not the key 1.
        known = set(self._keys.values())
        for key in found:
            if type(key) not in (int, str) or (self._exact and key not in known):
                name = repr(key)[:40]
                raise FieldRefused(name, f"the {self._what} has the key {name}")

    def table(self, values: Mapping[str, Any]) -> dict[int | str, Any]:
        """The map to encode; fields that may be missing and are None are left out."""
        return {
            self._keys[name]: value
            for name, value in values.items()
            if value is not None or name not in self._optional
        }


def formed(form: Form, make: Callable[..., Any]) -> Shape:
    """A map of a form, whose fields `make` takes by name."""

    def fields(value: Any) -> Any:
        try:
            return make(**form.read(value))
        except FieldRefused:
            raise NotValid from None

    return fields
