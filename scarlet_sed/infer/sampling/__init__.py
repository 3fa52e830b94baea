"""Draws from the posterior: NUTS in whitened numbers, with checkpoints and diagnostics."""
