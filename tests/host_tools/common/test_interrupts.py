"""A Ctrl-C that Python drops comes again."""

import signal
import threading
import weakref

import pytest

from host_tools.common.interrupts import remembered


class Thing:
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_in_a_callback_is_not_lost():
    before = signal.getsignal(signal.SIGINT)
    with remembered() as check:
        check()
        thing = Thing()
        # Python ignores whatever is raised here.
        reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            check()
        check()  # once
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_raised_at_once():
    with pytest.raises(KeyboardInterrupt), remembered():
        signal.raise_signal(signal.SIGINT)


def test_in_another_thread_nothing_is_changed():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with remembered() as check:
            check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
