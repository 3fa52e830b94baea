"""What a morphology is, and the pixels it is evaluated on."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp

from scarlet_sed.parameters import resolve
from scarlet_sed.typing import Array


class PixelGrid(eqx.Module):
    """A box of model pixels, seen from the centre of a source.

    Args:
        x: (w,) pixel coordinate of each column minus that of the source centre, in model pixels.
        y: (h,) the same for rows.
        matrix: (2, 2) d(x, y in model pixels) / d(east, north in arcsec).
        psf_sigma: dispersion of the model PSF (a round Gaussian, the model pixel included), in model pixels.
    """

    x: Array
    y: Array
    matrix: Array
    psf_sigma: Array

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in model pixels."""
        return self.y.shape[0], self.x.shape[0]

    def moved(self, offset: Array) -> "PixelGrid":
        """The same pixels, seen from a point (2,) arcsec (east, north) off the centre."""
        x, y = self.matrix @ offset
        return PixelGrid(self.x - x, self.y - y, self.matrix, self.psf_sigma)

    @property
    def pixel_scale(self) -> Array:
        """Arcsec per model pixel (the root of the pixel's area)."""
        return 1.0 / jnp.sqrt(jnp.abs(jnp.linalg.det(self.matrix)))


class Morphology(eqx.Module):
    """How a component's light is spread over the sky, with a total flux of one over the plane.

    To add one, write a final class with slots made by `parameter(...)` (lengths in arcsec, directions on the sky)
    and two methods:

    - `evaluate(grid)`: the light in each model pixel *after convolution with the model PSF*, a round Gaussian of
      `grid.psf_sigma` pixels that already contains the pixel; so values are samples of a smooth function at
      pixel centres, and nothing aliases. One source, no batch axis: batching is done elsewhere.
      `mixture.gaussian_mixture` and `mixture.oversampled` do the work for most shapes.
    - `extent(fraction)`: the radius in arcsec of the circle that holds this fraction of the flux (never less),
      from concrete values; box sizes come from it.

    Then `spectrum * MyMorphology(...)` works everywhere, free or fixed, and one line in `tests/registry.py` runs
    every law of the interface over it.

    Shapes whose brightest point may lie elsewhere than at their centre override `peak` too.
    """

    @abstractmethod
    def evaluate(self, grid: PixelGrid) -> Array:
        """(h, w) flux per model pixel for a total flux of one; every slot holds a plain array here."""

    @abstractmethod
    def extent(self, fraction: float) -> float:
        """Radius in arcsec that holds at least `fraction` (below one) of the flux."""

    def peak(self, grid: PixelGrid) -> Array:
        """The largest light of a model pixel that `evaluate` gives, wherever pixels lie: here that at the centre.

        Args:
            grid: whose model PSF and orientation count, not its pixels.
        """
        middle = jnp.zeros(1)
        return self.evaluate(PixelGrid(middle, middle, grid.matrix, grid.psf_sigma))[0, 0]

    def __call__(self, grid: PixelGrid) -> Array:
        """Evaluate with free parameters at their present values."""
        return resolve(self).evaluate(grid)
