"""Adds to MicroPython's stubs what the interpreter has and they don't tell.

Usage: mend_stubs.py FOLDER, the folder that micropython-esp32-stubs was installed into. Each
addition was looked up on MicroPython 1.28 (`dir()`). Once a newer release of the stubs tells by
itself, this says so, and the addition goes.
"""

import sys
from pathlib import Path

# The stubs' file, the class to add to (None: the module itself), what to add.
_ADDITIONS = [
    # The tls module's context is the ssl module's too.
    ("tls.pyi", "SSLContext", "verify_mode: int"),
    # The socket under a stream, by which its owner polls and closes it.
    ("stdlib/asyncio/streams.pyi", "StreamReader", "s: Incomplete"),
    ("stdlib/asyncio/__init__.pyi", None, "from . import core as core"),
    # The poller, by which a generator waits for a socket.
    ("stdlib/asyncio/core.pyi", None, "from _typeshed import Incomplete\n_io_queue: Incomplete"),
]


def main(folder: Path) -> None:
    for name, owner, addition in _ADDITIONS:
        path = folder / name
        text = path.read_text() if path.exists() else ""
        if addition in text:
            sys.exit(f"{name} knows '{addition}' by now: take it out of .ci/mend_stubs.py.")
        if owner is None:
            path.write_text(f"{text}\n{addition}\n")
            continue
        head = f"\nclass {owner}:\n"
        if text.count(head) != 1:
            sys.exit(f"{name} has no class {owner} any more: look at .ci/mend_stubs.py.")
        path.write_text(text.replace(head, f"{head}    {addition}\n"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
