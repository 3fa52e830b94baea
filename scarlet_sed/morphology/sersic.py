"""Sersic profiles."""

from collections.abc import Callable
from typing import final

import jax.numpy as jnp
from scipy.special import gammainc, gammaincinv

from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.checks import check_ellipticity, check_positive, on_host
from scarlet_sed.morphology.mixture import gaussian_mixture
from scarlet_sed.morphology.sersic_mixture import INDEX_RANGE, exponential_mixture, sersic_mixture
from scarlet_sed.morphology.shape import circle_holding
from scarlet_sed.parameters import parameter
from scarlet_sed.ranges import check_range
from scarlet_sed.typing import Array, HostArray


@final
class Sersic(Morphology):
    """A Sersic profile, exp(-b (r / radius)^(1 / index)), with elliptical isophotes, not truncated.

    Rendered as a mixture of Gaussians (`sersic_mixture`), convolved with the model PSF in closed form. Source of the
    profile: Graham & Driver 2005, PASA 22, 118; b solves gamma(2 index, b) = Gamma(2 index) / 2 exactly.

    Args:
        radius: half-light radius in arcsec, circularised (sqrt of semi-major times semi-minor axis).
        index: Sersic index, 0.3 to 8.
        ellipticity: (2,) see `scarlet_sed.ellipticity`.

    Raises:
        DomainError: if the radius is not positive, the index (or the support of its prior) not within 0.3 to 8, or
            the ellipticity not inside the unit circle.
    """

    radius: Array = parameter(unit="arcsec", doc="half-light radius, circularised")
    index: Array = parameter(doc="Sersic index")
    ellipticity: Array = parameter(doc="ellipticity (e1, e2)", shape=(2,), default=0.0)

    def __check_init__(self) -> None:
        check_positive(self.radius, "Sersic", "radius")
        check_range(self.index, "Sersic", "index", *INDEX_RANGE)
        check_ellipticity(self.ellipticity, "Sersic")

    def evaluate(self, grid: PixelGrid) -> Array:
        """(h, w) right to 3e-4 of the peak."""
        amplitudes, sigmas = sersic_mixture(self.index)
        return gaussian_mixture(grid, amplitudes, self.radius * sigmas, self.ellipticity)

    def extent(self, fraction: float) -> float:
        """Radius in arcsec of the circle that holds this fraction."""
        growth = growth_curve(float(on_host(self.index, "Sersic")))
        ellipticity = on_host(self.ellipticity, "Sersic")
        return float(on_host(self.radius, "Sersic")) * circle_holding(growth, fraction, ellipticity)


@final
class Exponential(Morphology):
    """An exponential disk: a Sersic profile of index one.

    Args:
        radius: half-light radius in arcsec, circularised; the scale length is radius / 1.678.
        ellipticity: (2,) see `scarlet_sed.ellipticity`.

    Raises:
        DomainError: if the radius is not positive, or the ellipticity not inside the unit circle.
    """

    radius: Array = parameter(unit="arcsec", doc="half-light radius, circularised")
    ellipticity: Array = parameter(doc="ellipticity (e1, e2)", shape=(2,), default=0.0)

    def __check_init__(self) -> None:
        check_positive(self.radius, "Exponential", "radius")
        check_ellipticity(self.ellipticity, "Exponential")

    def evaluate(self, grid: PixelGrid) -> Array:
        """(h, w) right to 1e-4 of the peak."""
        amplitudes, sigmas = (jnp.asarray(v, dtype=jnp.result_type(self.radius)) for v in exponential_mixture())
        return gaussian_mixture(grid, amplitudes, self.radius * sigmas, self.ellipticity)

    def extent(self, fraction: float) -> float:
        """Radius in arcsec of the circle that holds this fraction."""
        ellipticity = on_host(self.ellipticity, "Exponential")
        return float(on_host(self.radius, "Exponential")) * circle_holding(growth_curve(1.0), fraction, ellipticity)


def growth_curve(index: float) -> Callable[[HostArray], HostArray]:
    """The fraction of a Sersic profile's flux within a radius, given in half-light radii."""
    b = gammaincinv(2 * index, 0.5)
    return lambda radius: gammainc(2 * index, b * radius ** (1 / index))
