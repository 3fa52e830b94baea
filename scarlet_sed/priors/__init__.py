"""Priors on the images of galaxies: learnt from others, with a density that fits and samplers alike may use."""
