"""Images of few wavelets: the prior of classical deblenders."""

from functools import cache
from typing import ClassVar, final

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from scarlet_sed.distributions import OnImages
from scarlet_sed.errors import DomainError, ShapeError
from scarlet_sed.typing import Array, HostArray

_SMOOTH = 1e-2
"""Of the width of a coefficient's prior: nearer to zero, its corner is a parabola, which gradients need."""


@final
class SparsityPrior(OnImages):
    """p(image) is proportional to exp(-sum |w| / width) over the starlet coefficients w of its details.

    Coefficients are those of the isotropic undecimated wavelets (Starck, Murtagh & Fadili 2010, Sparse Image and
    Signal Processing, ch. 3), with nothing beyond the border, each over the L2 norm of its atom, so that noise is alike
    in all. It is a density a unit of pixels that sum to one, and proper, for these are bounded. It is left
    unnormalised, so the width must stay fixed.

    Args:
        image_shape: (height, width).
        width: typical coefficient, in units of the mean pixel.
        scales: of details; coarser light is free.

    Raises:
        DomainError: if the width is not positive.
        ShapeError: if the image is smaller than the coarsest details.
    """

    arg_constraints: ClassVar = {"width": constraints.positive}
    constructor_arguments: ClassVar = ("image_shape", "width", "scales")
    pytree_data_fields = ("width",)
    pytree_aux_fields = ("image_shape", "scales")

    def __init__(
        self,
        image_shape: tuple[int, int],
        width: float | Array = 1.0,
        scales: int = 3,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.width, self.scales = width, int(scales)
        if isinstance(width, (int, float)) and not width > 0:
            raise DomainError(f"a width of {width}", fix="give a positive one")
        if min(image_shape) < 2**self.scales or self.scales < 1:
            raise ShapeError(f"{scales} scales of details in {image_shape} pixels", fix="ask for fewer, from one")
        super().__init__(image_shape, width, validate_args)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Natural logarithm of the density, a unit of pixels."""
        mean = 1.0 / (self.image_shape[0] * self.image_shape[1])
        total: Array = jnp.zeros(value.shape[:-2])
        for details in starlets(value / mean, self.scales):
            size = jnp.abs(details) / jnp.asarray(self.width)[..., None, None]
            # |w| less its corner
            total = total + jnp.sum(size**2 / (size + _SMOOTH), axis=(-2, -1))
        return -total


def starlets(images: Array, scales: int) -> list[Array]:
    """(..., height, width) details of images, from fine to coarse, each over the L2 norm of its atom."""
    height, width = images.shape[-2:]
    found, smooth = [], images
    for scale in range(scales):
        rows, columns = (_smoothing(size, scale).astype(images.dtype) for size in (height, width))
        coarser = rows @ smooth @ columns.T
        found.append((smooth - coarser) / _norms(scales)[scale])
        smooth = coarser
    return found


@cache
def _smoothing(size: int, scale: int) -> HostArray:
    """(size, size) a B3 spline with holes, with nothing beyond the border."""
    matrix = np.zeros((size, size))
    for number, weight in enumerate(np.array([1, 4, 6, 4, 1]) / 16):
        matrix += weight * np.eye(size, k=(number - 2) * 2**scale)
    return matrix


@cache
def _norms(scales: int) -> tuple[float, ...]:
    """L2 norm of the details of a single bright pixel far from any border."""
    side = 2 ** (scales + 2) + 1
    smooth = np.zeros((side, side))
    smooth[side // 2, side // 2] = 1.0
    found = []
    for scale in range(scales):
        matrix = _smoothing(side, scale)
        coarser = matrix @ smooth @ matrix.T
        found.append(float(np.linalg.norm(smooth - coarser)))
        smooth = coarser
    return tuple(found)
