"""Runs the agent from a ROMFS image: chip_start.py IMAGE CONFIG."""

import sys

import vfs

with open(sys.argv.pop(1), "rb") as image:
    vfs.mount(vfs.VfsRom(image.read()), "/rom")
sys.path.insert(0, "/rom")

from agent.__main__ import main  # noqa: E402

main()
