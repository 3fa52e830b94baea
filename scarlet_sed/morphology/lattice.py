"""Square lattices of round Gaussian blobs: separable, so rendering is two matrix products, exact and alias-free."""

import jax.numpy as jnp
import numpy as np

from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.typing import Array, ArrayLike, HostArray

BLOB = 0.7
"""Dispersion of a lattice point's blob in lattice spacings: a flat image then ripples by 2.5e-4 (Poisson summation)."""


def gaussians(points: Array, centres: ArrayLike, sigma: Array) -> Array:
    """(point, centre) unit-integral Gaussians at `points` around `centres`, all in the same unit."""
    offset = (points[:, None] - jnp.asarray(centres)[None, :]) / sigma
    return jnp.exp(-0.5 * jnp.square(offset)) / (np.sqrt(2 * np.pi) * sigma)


def centred(count: int) -> HostArray:
    """(count,) integer steps about zero: half-integers where the count is even."""
    return np.arange(count) - (count - 1) / 2


def blob_matrices(grid: PixelGrid, shape: tuple[int, ...], pixel_scale: Array) -> tuple[Array, Array]:
    """(h, lattice rows) and (w, lattice columns): what each lattice line gives to each line of the grid.

    The lattice lies along the grid's rows and columns with its centre on the source. Blobs have a dispersion of
    `BLOB` spacings, model PSF included, and are never narrower than the model PSF.

    Args:
        grid: where to render.
        shape: lattice rows, columns.
        pixel_scale: lattice spacing in arcsec.
    """
    spacing = pixel_scale / grid.pixel_scale
    sigma = jnp.maximum(BLOB * spacing, grid.psf_sigma)
    return (
        gaussians(grid.y, centred(shape[0]) * spacing, sigma),
        gaussians(grid.x, centred(shape[1]) * spacing, sigma),
    )


def lattice_extent(shape: tuple[int, ...], spacing: float, fraction: float) -> float:
    """Half-width in arcsec of the box around a lattice, with the tail of an edge blob down to 1 - fraction."""
    tail = BLOB * np.sqrt(-2 * np.log(max(1 - fraction, 1e-12)))
    return float(spacing * ((max(shape) - 1) / 2 + tail))
