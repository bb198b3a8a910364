"""The evidence file: what a month's figures follow from, in one file that a stranger can check."""
