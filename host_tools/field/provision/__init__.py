"""From a bare board to an enrolled, tested, labelled device of one village.

`flow` is the way of one board, step by step; `batch` several side by side. `ports`, `flash` and
`chip` know the serial port and the bootloader, `repl` and `device` the running device, `payload`
what it is given, `journal` what was done, on the laptop.
"""
