"""Shapes of unit flux, one to a file."""
