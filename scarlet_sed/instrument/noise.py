"""Noise models: how probable a residual is.

`weights` are inverse variances (1 / nJy^2), zero where a pixel is masked; a masked pixel never counts.
"""

from abc import abstractmethod
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from scarlet_sed.parameters import parameter, resolve
from scarlet_sed.typing import Array


class Noise(eqx.Module):
    """The distribution of a residual (data minus model) of shape (band, height, width) in nJy.

    To add a noise model, write a final class with `whiten`, `terms`, `normalization` and `sample`. Slots made by
    `parameter(...)` are fitted like any other once they are free; call `resolve(self)` before using them.
    """

    @abstractmethod
    def whiten(self, residual: Array, weights: Array) -> Array:
        """(band, H', W') residual in units in which its Fisher information is one; linear in the residual.

        Its square sum is chi-square for Gaussian models; Gauss-Newton uses it. (H', W') are those of the residual,
        with masked pixels at zero, unless noise is correlated: then they are those of a padded canvas.
        """

    @abstractmethod
    def terms(self, residual: Array, weights: Array) -> Array:
        """(band, H', W') what each pixel adds to the log-density, zero where it is masked.

        Samplers sum differences of terms, which float32 knows far better than differences of sums.
        """

    @abstractmethod
    def normalization(self, weights: Array) -> Array:
        """Scalar: the rest of the log-density, which depends neither on the residual nor on free parameters."""

    @abstractmethod
    def sample(self, key: Array, weights: Array) -> Array:
        """(band, height, width) noise in nJy drawn from the model, zero where it is masked."""

    @final
    def log_likelihood(self, residual: Array, weights: Array) -> Array:
        """Scalar log-density of the unmasked residual, all constants included."""
        return jnp.sum(band_sum(self.terms(residual, weights))) + self.normalization(weights)

    def chi2(self, residual: Array, weights: Array) -> Array:
        """(band,) square sum of the residual over its standard deviation."""
        return band_sum(jnp.square(self.whiten(residual, weights)))

    def for_shape(self, shape: tuple[int, int, int]) -> "Noise":
        """The noise model for images of this shape (band, H, W); most do not depend on it."""
        return self


@final
class GaussianNoise(Noise):
    """Independent Gaussian noise with the variances of the weights."""

    def whiten(self, residual: Array, weights: Array) -> Array:
        return residual * jnp.sqrt(weights)

    def terms(self, residual: Array, weights: Array) -> Array:
        return -0.5 * weights * jnp.square(residual)

    def normalization(self, weights: Array) -> Array:
        return gaussian_normalization(weights)

    def sample(self, key: Array, weights: Array) -> Array:
        return jax.random.normal(key, weights.shape, weights.dtype) * deviation(weights)


@final
class StudentT(Noise):
    """Independent Student-t noise: a robust stand-in where outliers (cosmic rays, unmodelled neighbours) remain.

    The scale is the standard deviation of the weights, so the core matches a Gaussian's and the variance is
    dof / (dof - 2) times larger. Only pulls on the far pixels are weakened: under the log-likelihood a residual of n
    sigma counts like one of n / (1 + n^2 / dof).

    Args:
        dof: degrees of freedom; 4 is robust, 30 nearly Gaussian.
    """

    dof: Array = parameter(doc="degrees of freedom", default=4.0)

    def whiten(self, residual: Array, weights: Array) -> Array:
        # Fisher information of the location of a t distribution (Lange, Little & Taylor 1989, section 3)
        dof = resolve(self).dof
        return residual * jnp.sqrt(weights * (dof + 1) / (dof + 3))

    def terms(self, residual: Array, weights: Array) -> Array:
        dof = resolve(self).dof
        constant = gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * jnp.log(dof / 2)
        tails = -0.5 * (dof + 1) * jnp.log1p(weights * jnp.square(residual) / dof)
        return jnp.where(weights > 0, tails + constant, 0.0)

    def normalization(self, weights: Array) -> Array:
        return gaussian_normalization(weights)

    def sample(self, key: Array, weights: Array) -> Array:
        return jax.random.t(key, resolve(self).dof, weights.shape, weights.dtype) * deviation(weights)

    def chi2(self, residual: Array, weights: Array) -> Array:
        return band_sum(weights * jnp.square(residual))


def deviation(weights: Array) -> Array:
    """Standard deviations of inverse variances, zero where they are."""
    return jnp.where(weights > 0, 1 / jnp.sqrt(jnp.where(weights > 0, weights, 1.0)), 0.0)


def band_sum(values: Array) -> Array:
    """(band,) sum over pixels, row by row first: in float32 a single running sum of a million terms drifts."""
    return jnp.sum(jnp.sum(values, axis=-1), axis=-1)


def gaussian_normalization(weights: Array) -> Array:
    """Scalar log of the Gaussian normalisation of all unmasked pixels; it does not depend on the model."""
    used = weights > 0
    log_weights = jnp.log(jnp.where(used, weights, 1.0))
    return 0.5 * jnp.sum(band_sum(jnp.where(used, log_weights - jnp.log(2 * jnp.pi), 0.0)))
