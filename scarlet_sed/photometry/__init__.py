"""Filters, band averages, units."""
