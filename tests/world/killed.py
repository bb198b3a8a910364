"""Runs a function in a child process that is killed before its n-th step on the file system."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

# What Python reports (sys.addaudithook) before it changes a directory, beside opening a file.
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.truncate"}
_CHANGES |= {"shutil.rmtree", "sqlite3.connect", "ctypes.dlsym"}


def killed_at(step: int, function: Callable[[], object]) -> bool:
    """Run a function and kill it (-9) before a step on the file system.

    Args:
        step: which step, from 1.

    Returns:
        False if it ended before it came so far.
    """
    child = os.fork()
    if child == 0:
        _run(step, function)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the function failed"
    return False


def count_steps(function: Callable[[], object]) -> int:
    """Run a function and count its steps on the file system."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _run(0, function, writer)
    os.close(writer)
    with os.fdopen(reader) as file:
        count = file.read()
    os.waitpid(child, 0)
    return int(count)


def _run(step: int, function: Callable[[], object], report: int | None = None) -> NoReturn:
    count, code = 0, 1

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        # Modules that are imported only now are no step of the function.
        opens = event == "open" and not str(arguments[0]).endswith((".py", ".pyc"))
        if opens or event in _CHANGES:
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(hook)
        function()
        if report is not None:
            os.write(report, str(count).encode())
        code = 0
    finally:
        os._exit(code)
