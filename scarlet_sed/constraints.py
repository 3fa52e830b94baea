"""Supports that numpyro lacks, and what a prior's support says of its values.

`ellipse` (the open unit disc) holds ellipticities; `image_simplex` holds non-negative images that sum to one.
"""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from scarlet_sed.typing import Array, HostArray


class _UnitDisc(constraints.ParameterFreeConstraint):
    """Vectors of two numbers inside the open unit circle."""

    event_dim = 1

    def __call__(self, x: Array) -> Array:
        return (x * x).sum(axis=-1) < 1.0

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.zeros_like(prototype)


class ImageSimplex(constraints.Constraint):
    """Images (height, width) of non-negative pixels that sum to one.

    Args:
        image_shape: (height, width), for numpyro, which asks the support alone for its bijection; None where the value
            says it.
        coordinates: the bijection from real numbers; None for `ImageSimplexTransform`.
    """

    event_dim = 2

    def __init__(
        self, image_shape: tuple[int, int] | None = None, coordinates: dist.transforms.Transform | None = None
    ) -> None:
        self.image_shape = image_shape
        self.coordinates = coordinates

    def tree_flatten(self) -> tuple:
        return (self.coordinates,), (("coordinates",), {"image_shape": self.image_shape})

    def eq(self, other: object, static: bool = False) -> bool:
        return isinstance(other, ImageSimplex) and other.image_shape == self.image_shape

    def __hash__(self) -> int:
        return hash((type(self), self.image_shape))

    def __call__(self, x: Array) -> Array:
        return (x >= 0).all(axis=(-2, -1)) & (abs(x.sum(axis=(-2, -1)) - 1) < 1e-4)

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.full_like(prototype, 1.0 / (prototype.shape[-1] * prototype.shape[-2]))


ellipse = _UnitDisc()

image_simplex = ImageSimplex()

_Independent = type(constraints.independent(constraints.real, 0))


def keeps_unit_sum(prior: dist.Distribution) -> bool:
    """Whether a prior lives on images that sum to one (`image_simplex`)."""
    return isinstance(base_support(prior), ImageSimplex)


def base_support(prior: dist.Distribution) -> constraints.Constraint:
    """The support of one value of a prior; numpyro wraps that of an improper prior."""
    support = prior.support
    while isinstance(support, _Independent):
        support = support.base_constraint
    return support


def lowest(prior: dist.Distribution) -> HostArray:
    """The lower end of a prior's support: minus infinity for real numbers."""
    return np.asarray(getattr(base_support(prior), "lower_bound", -np.inf))
