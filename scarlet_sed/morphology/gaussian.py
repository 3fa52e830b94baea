"""Elliptical Gaussians."""

import math
from typing import final

import jax.numpy as jnp
import numpy as np

from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.checks import check_ellipticity, check_positive, on_host
from scarlet_sed.morphology.mixture import gaussian_mixture
from scarlet_sed.morphology.shape import circle_holding
from scarlet_sed.parameters import parameter
from scarlet_sed.typing import Array, HostArray

SIGMA_PER_HALF_LIGHT = 1 / math.sqrt(2 * math.log(2))


@final
class Gaussian(Morphology):
    """An elliptical Gaussian.

    Args:
        radius: half-light radius in arcsec, circularised (sqrt of semi-major times semi-minor axis).
        ellipticity: (2,) see `scarlet_sed.ellipticity`.

    Raises:
        DomainError: if the radius is not positive, or the ellipticity not inside the unit circle.
    """

    radius: Array = parameter(unit="arcsec", doc="half-light radius, circularised")
    ellipticity: Array = parameter(doc="ellipticity (e1, e2)", shape=(2,), default=0.0)

    def __check_init__(self) -> None:
        check_positive(self.radius, "Gaussian", "radius")
        check_ellipticity(self.ellipticity, "Gaussian")

    def evaluate(self, grid: PixelGrid) -> Array:
        """(h, w) exact: a Gaussian convolved with a Gaussian."""
        sigma = jnp.reshape(self.radius * SIGMA_PER_HALF_LIGHT, (1,))
        return gaussian_mixture(grid, jnp.ones_like(sigma), sigma, self.ellipticity)

    def extent(self, fraction: float) -> float:
        """Radius in arcsec of the circle that holds this fraction."""
        return float(on_host(self.radius, "Gaussian")) * circle_holding(
            _growth, fraction, on_host(self.ellipticity, "Gaussian")
        )


def _growth(radius: HostArray) -> HostArray:
    return -np.expm1(-math.log(2) * radius**2)
