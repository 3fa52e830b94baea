"""How profiles become pixels without aliasing: mixtures of Gaussians, or quadrature, both convolved exactly.

A Gaussian convolved with the model PSF (a Gaussian that contains the pixel) is a Gaussian again, so a mixture is
exact in closed form; it has no cusp and no singular derivative at the centre.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import DomainError
from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.morphology.lattice import gaussians
from scarlet_sed.morphology.shape import shape_matrix
from scarlet_sed.typing import Array


def gaussian_mixture(grid: PixelGrid, amplitudes: Array, sigmas: Array, ellipticity: Array) -> Array:
    """(h, w) flux per model pixel of concentric Gaussians of one ellipticity, convolved with the model PSF.

    With B = matrix @ shape, component j has the covariance sigma_j^2 B B^T + psf_sigma^2. Its inverse is
    (psf_sigma^2 + sigma_j^2 adj(B)^T adj(B)) / det_j, so that every component's exponent is a sum of the same two
    images, |x|^2 and |adj(B) x|^2, with positive weights: cheap, and no cancellation for the thinnest ellipses.

    Args:
        grid: where to render.
        amplitudes: (component,) flux of each; any sign.
        sigmas: (component,) dispersion of each in arcsec, circularised.
        ellipticity: (2,).
    """
    stretch = grid.matrix @ shape_matrix(ellipticity)
    x, y = grid.x[None, :], grid.y[:, None]
    round_image = jnp.square(x) + jnp.square(y)
    long_image = jnp.square(stretch[1, 1] * x - stretch[0, 1] * y) + jnp.square(stretch[0, 0] * y - stretch[1, 0] * x)

    seeing, variance = jnp.square(grid.psf_sigma), jnp.square(sigmas)
    area = stretch[0, 0] * stretch[1, 1] - stretch[0, 1] * stretch[1, 0]
    determinant = jnp.square(seeing) + seeing * variance * jnp.sum(jnp.square(stretch)) + jnp.square(variance * area)
    components = (
        amplitudes / (2 * np.pi * jnp.sqrt(determinant)),
        -0.5 * seeing / determinant,
        -0.5 * variance / determinant,
    )

    # one component at a time, recomputed in reverse: no (component, h, w) array is ever stored, and the compiled
    # program does not grow with their number. Measured 2-10x faster than a batched sum on CPU.
    @partial(jax.checkpoint, prevent_cse=False)
    def add(image: Array, component: tuple[Array, Array, Array]) -> tuple[Array, None]:
        height, round_weight, long_weight = component
        return image + height * jnp.exp(round_weight * round_image + long_weight * long_image), None

    blank = jnp.zeros_like(round_image, dtype=jnp.result_type(round_image, *components))
    return jax.lax.scan(add, blank, components)[0]


def oversampled(profile: Callable[[Array, Array], Array], grid: PixelGrid, factor: int = 5) -> Array:
    """(h, w) flux per model pixel of any surface brightness, by quadrature on a finer lattice.

    The profile is sampled `factor` times a pixel along each axis, over the grid and a margin, and each sample is
    spread by the model PSF exactly. Good when the profile is smooth on the scale of pixel / factor; a cusp at the
    centre needs a larger factor, or a mixture of Gaussians.

    Args:
        profile: surface brightness in flux per arcsec^2 at arrays (east, north) in arcsec from the centre, for a
            total flux of one.
        grid: where to render; its points must be one pixel apart.
        factor: samples per pixel and axis.

    Raises:
        DomainError: if the factor is not a positive whole number.
    """
    if factor != int(factor) or factor < 1:
        raise DomainError(f"oversampling factor {factor}", fix="give a whole number >= 1")
    margin = 4  # pixels: what lies farther out is spread into the box by less than 1e-7 for psf_sigma <= 0.8
    x, y = (_fine(axis, margin, int(factor)) for axis in (grid.x, grid.y))
    to_sky = jnp.linalg.inv(grid.matrix)
    east = to_sky[0, 0] * x[None, :] + to_sky[0, 1] * y[:, None]
    north = to_sky[1, 0] * x[None, :] + to_sky[1, 1] * y[:, None]
    flux = profile(east, north) * jnp.square(grid.pixel_scale / factor)
    return gaussians(grid.y, y, grid.psf_sigma) @ flux @ gaussians(grid.x, x, grid.psf_sigma).T


def _fine(axis: Array, margin: int, factor: int) -> Array:
    count = (axis.shape[0] + 2 * margin) * factor
    return axis[0] + (np.arange(count) + 0.5) / factor - 0.5 - margin
