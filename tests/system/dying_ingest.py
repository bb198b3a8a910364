"""`desalink ingest` that kills itself (-9) at a moment that nobody could hit from outside.

Usage: dying_ingest.py MOMENT COUNT ARGUMENTS..., the arguments being those of `desalink`. It dies
when that moment comes for the COUNT-th time:

    commit    reports are written to the database, the transaction is not committed
    ack       the broker has its PUBACKs, the devices have no acks
    acked     all have their answers, nothing that follows has been done
    puback    reports are committed, the broker has no PUBACK
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from host_tools.ingest.batch import WriteBatch
from host_tools.ingest.receiver import Receiver

MOMENTS = ("commit", "ack", "acked", "puback")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arrange(moment: str, count: int) -> None:
    left = count

    def reached() -> None:
        nonlocal left
        left -= 1
        if not left:
            _die()

    def patch(owner: type, name: str, before: Callable[..., None], after: Callable[..., None]):
        original = getattr(owner, name)

        def patched(self: Any, *arguments: Any, **options: Any) -> Any:
            before(self, *arguments)
            result = original(self, *arguments, **options)
            after(self, *arguments)
            return result

        setattr(owner, name, patched)

    def nothing(*_: Any) -> None:
        pass

    done: list[object] = []
    if moment == "commit":
        patch(WriteBatch, "write", nothing, lambda batch: batch.tally.reports and reached())
    elif moment == "ack":
        patch(Receiver, "publish", lambda *_: reached(), nothing)
    elif moment == "acked":
        patch(Receiver, "publish", nothing, lambda *_: done.append(True))
        patch(Receiver, "flush", nothing, lambda *_: done and reached())
    else:
        # Not a batch of births or states only: it would leave no report to come again.
        patch(WriteBatch, "write", nothing, lambda batch: done.extend(batch.reports))
        patch(Receiver, "confirm", lambda *_: done and reached(), lambda *_: done.clear())


if __name__ == "__main__":
    _arrange(sys.argv[1], int(sys.argv[2]))
    from host_tools.cli import main

    main(sys.argv[3:])
