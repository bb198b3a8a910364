"""The folder that a technician takes along: desalink, its packages, the guide, the kit.

`create` puts it together on the office's machine, with `wheels` from pip and `interpreter` from
the province. `files/` is copied as it is: the start scripts and the guide's text.
"""
