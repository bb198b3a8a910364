# ruff: noqa: F821
# mypy: disable-error-code=name-defined
# What is frozen into the firmware: MicroPython's own start, asyncio, and the loader with the two
# files that start the agent. build.sh puts these beside this file.
freeze("$(PORT_DIR)/modules")
include("$(MPY_DIR)/extmod/asyncio")
module("boot.py")
module("loader.py")
module("main.py")
