"""Distributions that numpyro lacks: of ellipticities, redshifts and images, the priors of a scene's parameters."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from scarlet_sed.constraints import ImageSimplex, ellipse
from scarlet_sed.typing import Array


class EllipticityPrior(dist.Distribution):
    """A Gaussian in ellipticity, cut at the unit circle: p(e) proportional to exp(-|e|^2 / 2 scale^2), |e| < 1.

    Args:
        scale: dispersion per component. Deep fields show 0.2-0.3 (e.g. Leauthaud et al. 2007, figure 6).
    """

    arg_constraints: ClassVar = {"scale": constraints.positive}
    support = ellipse
    pytree_data_fields = ("scale",)

    def __init__(self, scale: float | Array = 0.3, *, validate_args: bool | None = None) -> None:
        self.scale = scale
        super().__init__(batch_shape=jnp.shape(scale), event_shape=(2,), validate_args=validate_args)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        variance = jnp.square(self.scale)
        log_norm = jnp.log(2 * jnp.pi * variance) + jnp.log1p(-jnp.exp(-0.5 / variance))
        return -0.5 * jnp.sum(jnp.square(value), axis=-1) / variance - log_norm

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        shape = sample_shape + self.batch_shape
        uniform_key, angle_key = jax.random.split(key)
        mass = -jnp.expm1(-0.5 / jnp.square(self.scale))
        radius = self.scale * jnp.sqrt(-2 * jnp.log1p(-mass * jax.random.uniform(uniform_key, shape)))
        angle = 2 * jnp.pi * jax.random.uniform(angle_key, shape)
        return radius[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)

    @property
    def mean(self) -> Array:
        return jnp.zeros((*self.batch_shape, 2))


class LogUniformRedshift(dist.Distribution):
    """A redshift whose ln(1 + z) is uniform: no scale of the universe is preferred.

    Args:
        low: lowest redshift, above -1.
        high: highest redshift.
    """

    arg_constraints: ClassVar = {"low": constraints.greater_than(-1.0), "high": constraints.greater_than(-1.0)}
    pytree_data_fields = ("low", "high")

    def __init__(
        self, low: float | Array = 0.02, high: float | Array = 12.0, *, validate_args: bool | None = None
    ) -> None:
        self.low, self.high = low, high
        shape = jnp.broadcast_shapes(jnp.shape(low), jnp.shape(high))
        super().__init__(batch_shape=shape, event_shape=(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.interval(self.low, self.high)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        return -jnp.log1p(value) - jnp.log(jnp.log1p(self.high) - jnp.log1p(self.low))

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        share = jax.random.uniform(key, sample_shape + self.batch_shape)
        return jnp.expm1(jnp.log1p(self.low) + share * (jnp.log1p(self.high) - jnp.log1p(self.low)))

    @property
    def mean(self) -> Array:
        width = jnp.log1p(self.high) - jnp.log1p(self.low)
        return (self.high - self.low) / width - 1.0


_NOTHING = 1e-30
"""A pixel as good as empty; the derivative of its logarithm is still a number in float32."""


class OnImages(dist.Distribution):
    """A distribution of images that sum to one, likeliest where they are even: a subclass has its density and width.

    Args:
        image_shape: (height, width).
        widths: of the distribution, whose shape is that of its batch.
    """

    def __init__(self, image_shape: tuple[int, int], widths: float | Array, validate_args: bool | None = None) -> None:
        self.image_shape = (int(image_shape[0]), int(image_shape[1]))
        super().__init__(batch_shape=jnp.shape(widths), event_shape=self.image_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=2)
    def support(self) -> constraints.Constraint:
        """Images that sum to one."""
        return ImageSimplex(self.image_shape)

    @property
    def mean(self) -> Array:
        """The even image: not the average of what is uneven at borders, but the likeliest."""
        pixels = math.prod(self.image_shape)
        return jnp.full((*self.batch_shape, *self.image_shape), 1.0 / pixels)


class SmoothImage(OnImages):
    """A prior on images that sum to one: the logarithms of neighbouring pixels differ by about `scale`.

    p(image) is proportional to exp(-sum (ln p_i - ln p_j)^2 / 2 scale^2) over neighbours along rows and columns: an
    intrinsic Gaussian Markov random field (Rue & Held 2005, section 3.3.2) in the logarithm. Light that the data ask
    for costs little; a pixel raised to follow the noise costs its four edges. It is left unnormalised, so the scale
    must stay fixed.

    Args:
        image_shape: (height, width).
        scale: typical difference of neighbours' natural logarithms. Galaxies on the scale of a PSF have 0.3 to 1.
    """

    arg_constraints: ClassVar = {"scale": constraints.positive}
    constructor_arguments = ("image_shape", "scale")
    pytree_data_fields = ("scale",)
    pytree_aux_fields = ("image_shape",)

    def __init__(
        self, image_shape: tuple[int, int], scale: float | Array = 0.5, *, validate_args: bool | None = None
    ) -> None:
        self.scale = scale
        super().__init__(image_shape, scale, validate_args)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        logarithm = jnp.log(jnp.maximum(value, _NOTHING))
        down, right = jnp.diff(logarithm, axis=-2), jnp.diff(logarithm, axis=-1)
        roughness = sum(jnp.sum(jnp.sum(jnp.square(d), axis=-1), axis=-1) for d in (down, right))
        return -0.5 * roughness / jnp.square(self.scale)
