"""Talking to an installed device, on the spot.

visitor.py says how a device is asked, over_serial.py and over_ssh.py ask it. about.py has what it
says of itself; rounds.py measures its link; advice.py says what to look at where the link is down.
"""
