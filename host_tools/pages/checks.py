"""Verifies a report or an evidence file when somebody asks for it, one at a time.

An evidence file is verified by `desalink evidence verify` in a process of its own: it takes
minutes of a processor, and readers must not wait for it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from host_tools.common.i18n import VARIABLE, _, language, set_reader_language
from host_tools.pages.records import PagesBook
from host_tools.pages.shelf import SUMS, ShelfFile, listed_sums
from host_tools.province.settings import Province

_LONGEST_S = 6 * 3600
_MOST_TEXT = 4000
_MOST_WRONG = 20
_PROGRAM = "from host_tools.cli import main; main()"


class FileChecks:
    """The checks of a site. Their results are in pages.db."""

    def __init__(self, province: Province, clock: Callable[[], float]) -> None:
        self._province, self._clock = province, clock
        self._thread = ThreadPoolExecutor(1, "checks")
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        with PagesBook.open(province.pages_database) as book:
            book.end_cut_checks(int(clock()))

    def begin(self, book: PagesBook, file: ShelfFile, who: str) -> bool:
        """Begin to verify a file; False: another one is being verified."""
        number = book.begin_check(
            file.name, file.size, file.changed, who=who, at=int(self._clock())
        )
        if number is None:
            return False
        self._thread.submit(self._work, number, file, language())
        return True

    def wait(self) -> None:
        """Wait until nothing is being verified."""
        self._thread.submit(int).result()

    def close(self) -> None:
        """End what runs."""
        with self._lock:
            self._closing.set()
            if self._child is not None:
                self._child.terminate()
        self._thread.shutdown()

    def _work(self, number: int, file: ShelfFile, reader: str) -> None:
        set_reader_language(reader)
        digest = ""
        try:
            digest = _sha256(file.path)
            if file.path.name == SUMS:
                good, text = _sums(file.path)
            else:
                good, text = self._evidence(file.path, reader)
        except Exception as error:  # noqa: BLE001 - whatever it is, people must see that it ended
            good, text = False, str(error)
        with PagesBook.open(self._province.pages_database) as book:
            book.end_check(number, good, digest, text[:_MOST_TEXT], int(self._clock()))

    def _evidence(self, path: Path, reader: str) -> tuple[bool, str]:
        its = self._province
        command = [sys.executable, "-c", _PROGRAM, "evidence", "verify", str(path)]
        for root in (its.root_public, its.former_roots):
            if root.exists():
                command += ["--root", str(root)]
        with self._lock:
            if self._closing.is_set():
                return False, _("The server was stopped; verify it again.")
            self._child = subprocess.Popen(
                command,
                env={**os.environ, VARIABLE: reader},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        try:
            output, _none = self._child.communicate(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
            return False, _("It took too long, and was ended.")
        code = self._child.returncode
        with self._lock:
            self._child = None
            if self._closing.is_set() and code:
                return False, _("The server was stopped; verify it again.")
        return code == 0, output.strip()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sums(path: Path) -> tuple[bool, str]:
    """Compare the files of a report with its list."""
    wrong = []
    listed = listed_sums(path)
    for name, digest in listed.items():
        its = path.parent / name
        if "/" in name or "\\" in name or its.is_symlink() or not its.is_file():
            wrong.append(_("{name}: it is not there.").format(name=name[:200]))
            continue
        if _sha256(its) != digest:
            wrong.append(_("{name}: it is not what was listed.").format(name=name))
    if wrong:
        return False, "\n".join(wrong[:_MOST_WRONG])
    if not listed:
        return False, _("{name} lists no file.").format(name=SUMS)
    return True, _("All {count} files are what {name} lists.").format(count=len(listed), name=SUMS)
