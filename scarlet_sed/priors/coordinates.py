"""Coordinates of images that sum to one: real numbers in which light is linear and darkness is a logarithm.

An image x of n pixels is knee * softplus(u) pixel by pixel, so that bright pixels are linear in u, as their noise is,
and faint ones exponential, as outskirts of galaxies are. That the image sums to one leaves n - 1 numbers free: u less
its mean, in an isometric basis. The mean follows from the sum.
"""

import math
from typing import Protocol

import jax
import jax.numpy as jnp
from numpyro.distributions.transforms import ZeroSumTransform

from scarlet_sed.transforms import OntoImages
from scarlet_sed.typing import Array

_STEPS = 40
"""Newton steps to the mean at most; six do where one step is enough to see it."""
_DARK = 1e-20
"""In units of the knee: pixels below are as good as empty. Samplers must not come there: densities have an edge."""


class StatedNumbers(OntoImages):
    """Numbers that densities of images are stated in: one a unit of these, for fits and samplers alike.

    That is why it has no Jacobian. A subclass says how images follow.
    """

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: None = None) -> Array:
        """Zero: densities are stated in the numbers."""
        return jnp.zeros(x.shape[:-1])


class LearntImages(Protocol):
    """What turns standard normal numbers into images and back."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""

    def image(self, normal: Array) -> Array:
        """(..., height, width) images of (..., n - 1) standard normal numbers."""

    def normal(self, image: Array) -> Array:
        """(..., n - 1) standard normal numbers of images."""


class NormalNumbers(StatedNumbers):
    """Standard normal numbers onto images.

    Args:
        images: which know how.
    """

    def __init__(self, images: LearntImages) -> None:
        super().__init__(images.shape)
        self.images = images

    def __call__(self, x: Array) -> Array:
        """(..., height, width) images of (..., n - 1) numbers."""
        return self.images.image(x)

    def _inverse(self, y: Array) -> Array:
        return self.images.normal(y)

    def tree_flatten(self) -> tuple:
        """Its images are traced."""
        return (self.images,), (("images",), {"shape": self.shape})


class ImageCoordinates(StatedNumbers):
    """n - 1 real numbers onto images of n positive pixels that sum to one.

    Args:
        shape: (height, width).
        knee: flux fraction where a pixel turns from linear to logarithmic; None for that of the mean pixel.
    """

    def __init__(self, shape: tuple[int, int], knee: float | None = None) -> None:
        super().__init__(shape)
        self.knee = 1.0 / math.prod(shape) if knee is None else knee

    def __call__(self, x: Array) -> Array:
        """(..., height, width) images of (..., n - 1) numbers."""
        away = ZeroSumTransform(1)(x)
        u = away + _mean(away, jnp.asarray(1.0 / self.knee, away.dtype))[..., None]
        return self.knee * jax.nn.softplus(u).reshape(*x.shape[:-1], *self.shape)

    def _inverse(self, y: Array) -> Array:
        light = jnp.maximum(y.reshape(*y.shape[:-2], -1) / self.knee, _DARK)
        # softplus backwards, without overflow where light is much and without loss where it is little
        u = light + jnp.log(-jnp.expm1(-light))
        return ZeroSumTransform(1).inv(u - jnp.mean(u, axis=-1, keepdims=True))

    def tree_flatten(self) -> tuple:
        """It holds nothing that could be traced."""
        return (), ((), {"shape": self.shape, "knee": self.knee})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageCoordinates) and (other.shape, other.knee) == (self.shape, self.knee)

    def __hash__(self) -> int:
        return hash((type(self), self.shape, self.knee))


@jax.custom_jvp
def _mean(away: Array, total: Array) -> Array:
    """(...,) what to add to (..., n) numbers of zero mean so that their softplus sums to a total.

    The sum rises with it and is convex, and at total / n it is too large: Newton's steps from there never overshoot.
    """

    def unsettled(now: tuple[Array, Array, Array]) -> Array:
        _, moved, steps = now
        return (steps < _STEPS) & jnp.any(moved)

    def step(now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        at, _, steps = now
        u = away + at[..., None]
        change = (jnp.sum(jax.nn.softplus(u), axis=-1) - total) / jnp.sum(jax.nn.sigmoid(u), axis=-1)
        # what is left after a step is of second order
        return at - change, jnp.abs(change) > enough * (1 + jnp.abs(at)), steps + 1

    enough = float(jnp.finfo(away.dtype).eps) ** 0.5
    first = jnp.full(away.shape[:-1], total / away.shape[-1], away.dtype)
    found, _, _ = jax.lax.while_loop(unsettled, step, (first, jnp.ones(first.shape, bool), jnp.zeros((), jnp.int32)))
    return found


@_mean.defjvp
def _mean_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (away, total), (change, more) = primals, tangents
    found = _mean(away, total)
    share = jax.nn.sigmoid(away + found[..., None])
    return found, (more - jnp.sum(share * change, axis=-1)) / jnp.sum(share, axis=-1)
