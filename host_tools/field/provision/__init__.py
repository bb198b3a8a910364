"""From a bare board to an enrolled, tested, labelled device of one village.

`flow` has the steps for one device, `batch` runs several side by side. `ports`, `flash` and `chip`
use the serial port and the bootloader, `repl` and `serial_device` the running board, `ssh` and
`linux` a Linux device. `payload` is what a device gets; `journal` records the steps on the laptop.
"""
