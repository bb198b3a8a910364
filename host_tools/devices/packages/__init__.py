"""Packages for the systems of Linux devices."""
