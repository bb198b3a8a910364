"""agent/wire/sha512.py in pure Python against OpenSSL; its tables against their definition."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from agent.wire import sha512, sha512_tables
from tests.agent.wire import make_sha512_tables


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_parts_hash_as_their_concatenation(parts: list[bytes]) -> None:
    expected = hashlib.sha512(b"".join(parts)).digest()
    results = list(sha512.pure_steps(parts))
    assert results[-1] == expected
    assert list(sha512.steps(parts))[-1] == expected
    # Others get their turn after each block.
    assert results[:-1] == [None] * ((sum(map(len, parts)) + 17 + 127) // 128)


def test_the_tables_are_what_fips_180_4_defines() -> None:
    assert make_sha512_tables.table() == sha512_tables.TABLE
