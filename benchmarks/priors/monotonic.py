"""Images that do not rise outwards: the constraint of scarlet, as a prior that can be tuned like others."""

from functools import cache
from typing import ClassVar, final

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from scarlet_sed.distributions import OnImages
from scarlet_sed.typing import Array, HostArray

_SMOOTH = 1e-2
"""Of the width: nearer to the limit, the corner of a penalty is a parabola, which gradients need."""


@final
class MonotonicPrior(OnImages):
    """p(image) is proportional to exp(-sum max(pixel - inward, 0) / width).

    Inward is the mean of a pixel's neighbours nearer to the middle, weighted by the cosine of their direction to the
    middle's, as in scarlet (Melchior et al. 2018, Astronomy and Computing 24, 129), which forbids what is penalised
    here. It is left unnormalised, so the width must stay fixed.

    Args:
        image_shape: (height, width).
        width: typical excess of a pixel over those inward, in units of the mean pixel.
    """

    arg_constraints: ClassVar = {"width": constraints.positive}
    constructor_arguments: ClassVar = ("image_shape", "width")
    pytree_data_fields = ("width",)
    pytree_aux_fields = ("image_shape",)

    def __init__(self, image_shape: tuple[int, int], width: float | Array, *, validate_args: bool | None = None):
        self.width = width
        super().__init__(image_shape, width, validate_args)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Natural logarithm of the density, a unit of pixels."""
        height, width = self.image_shape
        pixels = value.reshape(*value.shape[:-2], height * width) * (height * width)
        inward = pixels @ inward_weights(self.image_shape).astype(pixels.dtype).T
        excess = jnp.maximum(pixels - inward, 0.0) / jnp.asarray(self.width)[..., None]
        return -jnp.sum(excess**2 / (excess + _SMOOTH), axis=-1)


@cache
def inward_weights(shape: tuple[int, int]) -> HostArray:
    """(pixel, pixel) weight of every neighbour in a pixel's inward mean; the innermost pixels have themselves."""
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in shape)
    place = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    step = place[None, :, :] - place[:, None, :]
    length, distance = np.linalg.norm(step, axis=-1), np.linalg.norm(place, axis=-1)
    near = (length > 0) & (length < 1.5) & (distance[None, :] < distance[:, None] - 1e-6)
    cosine = -np.einsum("pqi,pi->pq", step, place) / np.maximum(length * distance[:, None], 1e-6)
    weights = np.where(near, np.maximum(cosine, 0.0), 0.0)
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, weights / np.maximum(total, 1e-6), np.eye(len(place)))
