"""boot.py and main.py of the ESP32 on a desktop's MicroPython: starting.py FOLDER HOW.

/device is FOLDER; HOW is what the agent does: return, raise, exit, quit, or be interrupted.
Prints JSON.
"""

import json
import os
import sys

from tests.boards import fakes

fakes.install()


from agent import __main__ as agent_main  # noqa: E402
from boards._esp32 import board, storage  # noqa: E402
from tests.boards.fakes import machine  # noqa: E402

FOLDER, HOW = sys.argv[1], sys.argv[2]
ran = []


def main():
    ran.append(sys.argv[1:])
    board._watchdog = machine.WDT(timeout=90000)
    if HOW == "raise":
        raise RuntimeError("no such luck")
    if HOW == "exit":
        sys.exit(2)
    if HOW == "quit":
        sys.exit(0)
    if HOW == "interrupt":
        raise KeyboardInterrupt


agent_main.main = main


def run(name):
    with open("boards/_esp32/" + name) as f:
        source = f.read().replace('"/device', '"' + FOLDER).replace("PAUSE_S = 30", "PAUSE_S = 0")
    exec(source, {"__name__": "__main__"})


def stat(path):
    try:
        return os.stat(path)
    except OSError:
        return None


if HOW == "boot":

    def broken():
        raise OSError(5)

    storage.mount_data = broken
    run("boot.py")
    print(json.dumps("went on"))
    sys.exit()
reset = False
try:
    run("main.py")
except machine.Reset:
    reset = True
reason = None
if stat(FOLDER + "/journal/reason.txt"):
    with open(FOLDER + "/journal/reason.txt") as f:
        reason = f.read()
print(json.dumps({"ran": ran, "reset": reset, "reason": reason, "dogs": machine.watchdogs}))
