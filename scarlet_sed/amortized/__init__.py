"""Posteriors of spectra from fluxes by networks that were trained on draws from the priors."""
