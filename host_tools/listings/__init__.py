"""Listings: a table is declared once, and shown on a terminal, in a page, or as a file."""
