# Starts the agent on an emulated board that is provisioned, as boards/_esp32/main.py does.
import os
import sys


def exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


if exists("/device/config.json") and not exists("/device/provisioning"):
    sys.argv[:] = ["agent", "/device/config.json"]
    from agent.__main__ import main

    main()
