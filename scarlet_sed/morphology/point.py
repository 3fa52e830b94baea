"""Point sources."""

from typing import final

import jax.numpy as jnp

from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.lattice import gaussians
from scarlet_sed.typing import Array


@final
class Point(Morphology):
    """A star, a quasar: all the light at the source's position."""

    def evaluate(self, grid: PixelGrid) -> Array:
        """(h, w) the model PSF at the source's position."""
        here = jnp.zeros(1, dtype=grid.x.dtype)
        return gaussians(grid.y, here, grid.psf_sigma) * gaussians(grid.x, here, grid.psf_sigma).T

    def extent(self, fraction: float) -> float:
        """Zero: a point has no size before the PSF."""
        return 0.0
