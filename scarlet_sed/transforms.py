"""Smooth bijections from real numbers to the supports of priors, as fits and samplers walk them.

Those of `ellipse` and `image_simplex` are registered with `numpyro.distributions.biject_to`, so that NumPyro's own
samplers take priors on them; `bijection` chooses for ours.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import ndtr, ndtri
from numpyro.distributions import biject_to, constraints
from numpyro.distributions.transforms import ParameterFreeTransform, ZeroSumTransform

from scarlet_sed.constraints import ImageSimplex, base_support, ellipse, image_simplex
from scarlet_sed.errors import ParameterError
from scarlet_sed.typing import Array


class UnitDiscTransform(ParameterFreeTransform):
    """The plane onto the open unit disc, e = v / sqrt(1 + |v|^2): smooth everywhere, the identity near zero."""

    domain = constraints.real_vector
    codomain = ellipse

    def __call__(self, x: Array) -> Array:
        return x / jnp.sqrt(1.0 + jnp.sum(jnp.square(x), axis=-1, keepdims=True))

    def _inverse(self, y: Array) -> Array:
        return y / jnp.sqrt(1.0 - jnp.sum(jnp.square(y), axis=-1, keepdims=True))

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: None = None) -> Array:
        # radial stretch (1+r^2)^(-3/2) times tangential stretch (1+r^2)^(-1/2)
        return -2.0 * jnp.log1p(jnp.sum(jnp.square(x), axis=-1))


class OntoImages(dist.transforms.Transform):
    """Vectors of height*width - 1 numbers onto images that sum to one; a subclass says how.

    Args:
        shape: (height, width) of the image.
    """

    domain = constraints.real_vector
    codomain = image_simplex

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    def forward_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], *self.shape)

    def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-2], math.prod(shape[-2:]) - 1)


class ImageSimplexTransform(OntoImages):
    """Vectors of height*width - 1 numbers onto images that sum to one: a softmax of an isometric zero-sum basis.

    Without the zero-sum basis the softmax has a flat direction (add a constant), which no sampler likes.
    """

    def __call__(self, x: Array) -> Array:
        logits = ZeroSumTransform(1)(x)
        return jax.nn.softmax(logits, axis=-1).reshape(*x.shape[:-1], *self.shape)

    def _inverse(self, y: Array) -> Array:
        flat = y.reshape(*y.shape[:-2], -1)
        logits = jnp.log(jnp.maximum(flat, jnp.finfo(flat.dtype).tiny))
        return ZeroSumTransform(1).inv(logits - jnp.mean(logits, axis=-1, keepdims=True))

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: None = None) -> Array:
        # |det| of the additive log-ratio softmax is the product of the parts; the isometric basis adds sqrt(K)
        pixels = math.prod(self.shape)
        log_parts = jax.nn.log_softmax(ZeroSumTransform(1)(x), axis=-1)
        return jnp.sum(log_parts, axis=-1) + 0.5 * math.log(pixels)

    def tree_flatten(self) -> tuple:
        return (), ((), {"shape": self.shape})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageSimplexTransform) and other.shape == self.shape

    def __hash__(self) -> int:
        return hash((type(self), self.shape))


@biject_to.register(type(ellipse))
def _biject_to_disc(_: constraints.Constraint) -> UnitDiscTransform:
    return UnitDiscTransform()


@biject_to.register(ImageSimplex)
def _biject_to_images(support: ImageSimplex) -> dist.transforms.Transform:
    if support.coordinates is not None:
        return support.coordinates
    if support.image_shape is None:
        raise ParameterError(
            "image_simplex alone does not say how large its images are",
            fix="give the image a prior that does, such as ss.SmoothImage(shape)",
        )
    return ImageSimplexTransform(support.image_shape)


def bijection(prior: dist.Distribution, shape: tuple[int, ...]) -> dist.transforms.Transform:
    """The transform from unconstrained numbers to the support of a prior, for values of a given shape.

    Args:
        prior: any numpyro distribution. Of a truncated normal one, the numbers are standard normal, of Student's t
            nearly so; else the transform is NumPyro's for its support.
        shape: shape of the value, which the support of flat images needs.
    """
    support = base_support(prior)
    if isinstance(support, ImageSimplex):
        return support.coordinates or ImageSimplexTransform((shape[-2], shape[-1]))
    if type(prior) is dist.TwoSidedTruncatedDistribution and type(prior.base_dist) is dist.Normal:
        return TruncatedNormalTransform(prior.base_dist.loc, prior.base_dist.scale, prior.low, prior.high)
    if type(prior) is dist.StudentT:
        return StudentTTransform(prior.df, prior.loc, prior.scale)
    return biject_to(prior.support)


class TruncatedNormalTransform(dist.transforms.Transform):
    """From a standard normal number to a normal one between two ends: the quantile of one is that of the other.

    A logistic transform would send the neighbourhood of each end far out, where data tell nothing more and whatever was
    learnt elsewhere fails. Probabilities are taken from whichever side they are small on, which keeps their digits.

    Args:
        loc, scale: of the normal distribution.
        low, high: the ends.
    """

    domain = constraints.real

    def __init__(self, loc: Array, scale: Array, low: Array, high: Array) -> None:
        self.loc, self.scale, self.low, self.high = loc, scale, low, high

    @property
    def codomain(self) -> constraints.Constraint:
        """Between the ends."""
        return constraints.interval(self.low, self.high)

    def __call__(self, x: Array) -> Array:
        """Numbers between the ends."""
        return jnp.clip(self.loc + self.scale * _cut_normal(x, *self._ends), self.low, self.high)

    def _inverse(self, y: Array) -> Array:
        a, b = self._ends
        at = (y - self.loc) / self.scale
        below, above = _between(a, at), _between(at, b)
        whole = below + above
        lower = below < above
        share = jnp.where(lower, below, above) / whole
        return jnp.where(lower, 1.0, -1.0) * ndtri(share)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Any = None) -> Array:
        """Logarithm of the slope."""
        a, b = self._ends
        at = (y - self.loc) / self.scale
        return jnp.log(self.scale) + jnp.log(_between(a, b)) + 0.5 * (at**2 - x**2)

    def tree_flatten(self) -> tuple:
        """Its numbers are traced."""
        names = ("loc", "scale", "low", "high")
        return tuple(getattr(self, name) for name in names), (names, {})

    @property
    def _ends(self) -> tuple[Array, Array]:
        return (self.low - self.loc) / self.scale, (self.high - self.loc) / self.scale


def _between(a: Array, b: Array) -> Array:
    """Probability of a standard normal number between a and b."""
    return jnp.where(a > 0, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a))


@jax.custom_jvp
def _cut_normal(x: Array, a: Array, b: Array) -> Array:
    """The quantile, of a standard normal distribution cut at a and b, that x is of a whole one."""
    whole = _between(a, b)
    below, above = ndtr(a) + ndtr(x) * whole, ndtr(-b) + ndtr(-x) * whole
    lower = below < above
    return jnp.where(lower, 1.0, -1.0) * ndtri(jnp.where(lower, below, above))


@_cut_normal.defjvp
def _cut_normal_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (x, a, b), (dx, da, db) = primals, tangents
    y = _cut_normal(x, a, b)

    def times(share: Array, at: Array) -> Array:
        return share * jnp.exp(0.5 * (y**2 - at**2))

    # phi(y) dy = phi(a) (1 - Phi(x)) da + phi(b) Phi(x) db + phi(x) (Phi(b) - Phi(a)) dx
    return y, times(_between(a, b), x) * dx + times(ndtr(-x), a) * da + times(ndtr(x), b) * db


class StudentTTransform(dist.transforms.Transform):
    """From a nearly standard normal number to one under Student's t: heavy tails come within a sampler's reach.

    It is Wallace's approximation of the normal quantile (1959, Ann. Math. Stat. 30, 1121, eq. 2.10), taken as it is:
    normal within a few per cent, and a bijection with a Jacobian in closed form,

        x = sign(t) a sqrt(nu ln(1 + t^2 / nu)),    a = (8 nu + 1) / (8 nu + 3).

    Args:
        df: degrees of freedom nu.
        loc, scale: of the distribution.
    """

    domain = constraints.real
    codomain = constraints.real

    def __init__(self, df: Array, loc: Array, scale: Array) -> None:
        self.df, self.loc, self.scale = df, loc, scale

    def __call__(self, x: Array) -> Array:
        """Numbers under Student's t."""
        return self.loc + self.scale * x * jnp.exp(0.5 * self._log_stretch(x))

    def _inverse(self, y: Array) -> Array:
        t = (y - self.loc) / self.scale
        w = t**2 / self.df
        # ln(1 + w) / w, which is one at zero and has a slope there
        small = w < _SMALL
        inside = jnp.where(small, 1.0, w)
        ratio = jnp.where(small, 1 - w / 2 + w**2 / 3, jnp.log1p(inside) / inside)
        return t * self._shrink * jnp.sqrt(ratio)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Any = None) -> Array:
        """Logarithm of the slope: t dt = x exp(x^2 / (a^2 nu)) dx / a^2."""
        bend = (x / self._shrink) ** 2 / self.df
        return jnp.log(self.scale) - 2 * jnp.log(self._shrink) + bend - 0.5 * self._log_stretch(x)

    def tree_flatten(self) -> tuple:
        """Its numbers are traced."""
        names = ("df", "loc", "scale")
        return tuple(getattr(self, name) for name in names), (names, {})

    @property
    def _shrink(self) -> Array:
        return (8 * self.df + 1) / (8 * self.df + 3)

    def _log_stretch(self, x: Array) -> Array:
        """Logarithm of (t / x)^2 = (exp(w) - 1) / (w a^2), w = x^2 / (a^2 nu)."""
        w = (x / self._shrink) ** 2 / self.df
        small = w < _SMALL
        inside = jnp.where(small, 1.0, w)
        # exp(w) itself would leave the range of single precision
        grown = inside + jnp.log(-jnp.expm1(-inside)) - jnp.log(inside)
        return jnp.where(small, w / 2 + w**2 / 24, grown) - 2 * jnp.log(self._shrink)


_SMALL = 1e-2
"""Below, three terms of a series hold to single precision."""
