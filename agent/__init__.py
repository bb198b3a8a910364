VERSION = "0.1.0"
RELEASED = 1795564800  # Unix time before which this version was not there: 2026-11-25
