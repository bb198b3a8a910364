"""The technician's menu: a full-screen guide from the kit to the export.

It only asks, and composes the arguments of a verb; the verb does the work. `keys` reads the
keyboard, `screen` draws, `trip` knows the kit and its villages, `entries` is the table of what can
be done, `menu` shows it.

rich and a reader of keys of our own, not Textual: rich is on the stick already, Textual adds
0.8 MB of packages and 0.3 s of computing to every start (measured on 2026-11-26).
"""
