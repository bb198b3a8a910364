# Runs after boot.py, unless a laptop interrupts: starts the agent on a board that is provisioned.
# Ctrl-C ends the agent in order and leaves the board in the REPL.
import os
import sys
import time

CONFIG = "/device/config.json"
PROVISIONING = "/device/provisioning"  # there while a laptop works on the board
REASON = "/device/journal/reason.txt"  # why the agent ended last, for whoever comes to look
PAUSE_S = 30


def exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def keep(error):
    """Write down why the agent ended; the same reason again costs no write."""
    import io

    text = io.StringIO()
    sys.print_exception(error, text)
    text = text.getvalue()[-1000:]
    try:
        if exists(REASON):
            with open(REASON) as f:
                if f.read() == text:
                    return
        with open(REASON, "w") as f:
            f.write(text)
    except OSError as e:
        print("main:", REASON, e)


def end():
    """Have the board note that the agent has ended, so that the reset is not taken for a crash."""
    try:
        from boards._esp32 import board

        board.ended()
    except Exception as e:
        print("main:", type(e).__name__, e)


def run():
    """Run the agent until it is interrupted; after anything else pause, then start anew."""
    try:
        sys.argv[:] = ["agent", CONFIG]
        from agent.__main__ import main

        main()
    except KeyboardInterrupt:
        pass
    except BaseException as e:
        # SystemExit is the agent's word for a wrong configuration, or (0) for an early interrupt.
        if isinstance(e, SystemExit) and e.args == (0,):
            return
        sys.print_exception(e)
        keep(e)
        end()
        print("main: the agent ended; restart in %d s, Ctrl-C for the REPL" % PAUSE_S)
        try:
            time.sleep(PAUSE_S)
        except KeyboardInterrupt:
            return
        import machine

        machine.reset()


if not exists(CONFIG) or exists(PROVISIONING):
    end()  # the laptop will reset the board
    print("main: not provisioned; waiting for a laptop")
else:
    run()
    from boards._esp32 import board

    board.hold()
    print("main: stopped; machine.reset() starts the agent again")
