"""Every vector file holds, on CPython and on real MicroPython."""

import pytest

from tests.agent.wire import run_vectors
from tests.support import ROOT, run_micropython

FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests/vectors").glob("*.json"))


@pytest.mark.parametrize(
    "path",
    # A million bytes take CPython four seconds, and MicroPython less than one.
    [pytest.param(path, marks=pytest.mark.slow if "fips180" in path else ()) for path in FILES],
)
def test_vectors_hold_on_cpython(path: str) -> None:
    count, failures = run_vectors.run(str(ROOT / path))
    assert count > 0
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("path", FILES)
def test_vectors_hold_on_micropython(path: str) -> None:
    result = run_micropython(ROOT / "tests/agent/wire/run_vectors.py", path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith(" vectors, 0 failed\n")


def test_the_standards_vectors_are_here() -> None:
    for standard in ("cbor-appendix-a", "cbor-appendix-f", "ed25519-rfc8032", "sha512-fips180"):
        assert f"tests/vectors/{standard}.json" in FILES


def test_a_wrong_vector_is_noticed(tmp_path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"vectors": [{"check": "sha512", "message": "61", "digest": "00"}]}')
    assert len(run_vectors.run(str(path))[1]) == 1
    result = run_micropython(ROOT / "tests/agent/wire/run_vectors.py", path)
    assert result.returncode == 1
    assert "1 vectors, 1 failed" in result.stdout
