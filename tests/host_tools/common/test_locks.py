"""Lock files: one holder, whoever else comes is told or waits, and a killed holder lets go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from host_tools.common.errors import ProvinceError
from host_tools.common.locks import hold, is_held

_HOLDER = """
import sys
from pathlib import Path
from host_tools.common.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def refused() -> ProvinceError:
    return ProvinceError("busy")


def test_the_second_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("1234")
    command = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        assert is_held(path)
        with pytest.raises(ProvinceError, match="busy"), hold(path, refused):
            pass
        assert path.read_text() == "1234"
        holder.kill()
        holder.wait()
    with hold(path, refused):
        assert is_held(path)
    assert not is_held(path)
    assert path.read_text() == "1234"
