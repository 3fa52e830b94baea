"""Stellar population synthesis: grids, histories, exact and emulated spectra, intergalactic absorption."""
