"""The agent's files as devices get them.

Every device gets the wire's numbers in place of their names. One with MicroPython gets less code,
short names, and fewer and larger modules. A traceback there shows the short names, with its files
and errors as they are; `short_names` has the table.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from host_tools.devices.code import files
from host_tools.devices.code.bundles import module_code
from host_tools.devices.code.fixed import with_numbers


def source_code(path: str, micropython: bool = False) -> bytes:
    """A file (its path from the root; with MicroPython also one of BUNDLES) as devices get it.

    Raises:
        DeviceCodeError: a number that there is not, or another use of `ids`.
    """
    if micropython:
        return _module_code(files.ROOT, path)
    return with_numbers(path, (files.ROOT / path).read_text())


@cache
def _module_code(root: Path, path: str) -> bytes:
    """A module depends on all files below the root."""
    return module_code(path).encode()
