"""The command "names": the interpreter's own account of its pools of names (qstr)."""

import micropython


def install(unused, commands):
    commands["names\n"] = micropython.qstr_info
