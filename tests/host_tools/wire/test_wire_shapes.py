"""Shapes of values in CBOR: what each takes, and which field a refusal names."""

from __future__ import annotations

from typing import Any

import pytest

from host_tools.wire.shapes import (
    FieldRefused,
    Form,
    NotValid,
    Optional,
    Shape,
    array,
    boolean,
    nullable,
    octets,
    pair,
    printable,
    row,
    table,
    text,
    uint,
)


@pytest.mark.parametrize(
    ("shape", "value", "wrong"),
    [
        (uint(9, 1), 9, [0, 10, True, 1.0, "1", None]),
        (octets(2), b"ab", [b"a", b"abc", "ab"]),
        (octets(2, least=1), b"a", [b"", b"abc"]),
        (text(2), "", ["abc", b"a"]),
        (printable(2), "a", ["", "abc", "\n"]),
        (boolean, True, [1, None]),
        (nullable(boolean), None, [0]),
        (array(uint(5), least=1), [5], [[], [6], (5,)]),
        (row(pair, uint(5), boolean), [1, True], [[1], [1, True, 1], [True, True]]),
        (table(uint(5), boolean, 1), {1: True}, [{1: True, 2: True}, {True: True}, [1]]),
    ],
)
def test_a_shape_takes_its_type_within_its_bounds(shape: Shape, value: Any, wrong: list[Any]):
    expected = tuple(value) if type(value) is list else value
    assert shape(value) == expected
    for other in wrong:
        with pytest.raises(NotValid):
            shape(other)


FIELDS = {"first": uint(5), "last_one": Optional(uint(5))}


def test_a_form_names_the_field_that_is_wrong():
    form = Form("thing", FIELDS)
    assert form.read({1: 4, 3: "another version's"}) == {"first": 4, "last_one": None}
    assert form.table({"first": 4, "last_one": None}) == {1: 4}
    for wrong in ({2: 4}, {1: 4, 2: None}, {True: 4}, {1.0: 4}, [4], {1: 6}):
        with pytest.raises(FieldRefused, match="thing"):
            form.read(wrong)
    with pytest.raises(FieldRefused, match=r"last one \(2\) of the thing is missing or not valid"):
        form.read({1: 4, 2: 9})


def test_an_exact_form_knows_no_other_keys():
    form = Form("thing", FIELDS, named=True, exact=True)
    assert form.read({"first": 1, "last_one": 2}) == {"first": 1, "last_one": 2}
    with pytest.raises(FieldRefused) as refused:
        form.read({"first": 1, "more": 2})
    assert refused.value.field == "'more'"
