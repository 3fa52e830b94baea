"""Spectra: one parameterisation a file."""
