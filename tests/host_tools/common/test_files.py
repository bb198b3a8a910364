"""What a person reads of a file that can't be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools.common.files import write_file


def test_error_names_the_file_and_not_a_temporary_one(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "x.pdf", tmp_path):
        with pytest.raises(OSError) as refused:
            write_file(path, b"content")
        assert refused.value.filename == str(path)
