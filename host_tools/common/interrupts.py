"""A Ctrl-C that is never lost.

Python drops a KeyboardInterrupt that it raises in a callback of its own ("Exception ignored in").
One in sixty that come while a command imports its libraries is dropped like that; the command then
goes on, or waits for a passphrase.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading

_AGAIN_S = 0.02  # by then the callback has ended


def keep_interrupts() -> None:
    """Have an interrupt that Python drops come again, for the rest of this process."""
    otherwise = sys.unraisablehook

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            otherwise(unraisable)
            return
        timer = threading.Timer(_AGAIN_S, _interrupt)
        timer.daemon = True
        timer.start()

    sys.unraisablehook = again


def _interrupt() -> None:
    main = threading.main_thread().ident
    if sys.platform == "win32" or main is None:
        _thread.interrupt_main()
    else:
        # To the thread itself: that ends what it waits for.
        signal.pthread_kill(main, signal.SIGINT)
