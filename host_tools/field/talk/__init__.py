"""Talking to an installed device, on the spot.

visitor.py asks the device, over its serial line or SSH; about.py has what it says of itself;
rounds.py measures its link; advice.py says what to look at where the link is down.
"""
