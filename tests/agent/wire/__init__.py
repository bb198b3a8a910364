"""agent/wire held to the standards' vectors, on both interpreters, and to others' code."""
