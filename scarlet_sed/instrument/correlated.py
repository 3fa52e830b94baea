"""Gaussian noise that is correlated between pixels, as drizzling makes it."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.fft import next_fast_len

from scarlet_sed.errors import DataError, ShapeError
from scarlet_sed.instrument.noise import Noise, band_sum, deviation, gaussian_normalization
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array, HostArray

_FLOOR = 0.02  # of the mean power: an estimated spectrum may touch zero, where whitening would blow up
_MIN_PAIRS = 100
_EXACT = 4.0  # pixels up to which drizzling correlates noise, differently along rows, columns and diagonals
_CLIP = 5.0  # sigma


@final
class CorrelatedNoise(Noise):
    """Noise that is `1 / sqrt(weights)` times a stationary Gaussian field of known correlation, per band.

    Chi-square is r^T P^-1 r of the residual r in units of the weights' standard deviation, with P applied in Fourier
    space on a padded canvas. Masked pixels and the padding take the values that a conditional Gaussian would expect
    (found by `fill_steps` Chebyshev iterations), which makes this the exact likelihood of the unmasked pixels. With
    `fill_steps=0` they are taken as zero: cheaper, and chi-square comes out too high along edges and masks.
    The determinant is taken to leading order (Szego): it is a constant and does not affect fits.

    Args:
        correlation: (band, 2 lags + 1, 2 lags + 1) covariance of the standardized noise at each (y, x) lag, zero lag in
            the middle. Its middle is 1 where the weights are right, and rescales them otherwise.
        shape: (height, width) of the images.
        fill_steps: iterations; each costs a pair of FFTs. The error falls 2-fold a step for a power spectrum with a
            range of 10 (drizzled NIRCam images), and from 0 to 6 steps chi-square changed by 1 % there.

    Raises:
        ShapeError, DataError: if that is no correlation, or the images are smaller than it.
    """

    correlation: Array
    power: Array
    shape: tuple[int, int] = eqx.field(static=True)
    canvas: tuple[int, int] = eqx.field(static=True)
    fill_steps: int = eqx.field(static=True)

    def __init__(self, correlation: Any, shape: tuple[int, int], *, fill_steps: int = 6) -> None:
        covariance = np.asarray(correlation, dtype=float)
        if covariance.ndim != 3 or covariance.shape[1] != covariance.shape[2] or covariance.shape[1] % 2 == 0:
            raise ShapeError(f"a correlation of shape {covariance.shape}", fix="give (band, 2 lags + 1, 2 lags + 1)")
        lags = covariance.shape[1] // 2
        if min(shape) < covariance.shape[1]:
            raise ShapeError(f"images of {shape} pixels for a correlation over {lags} lags", fix="use fewer lags")
        middle = covariance[:, lags, lags]
        if not np.all(np.isfinite(covariance)) or np.any(middle <= 0):
            raise DataError(
                "the correlation is not finite and positive at lag zero", fix="estimate it from more blank sky"
            )
        self.shape = (int(shape[0]), int(shape[1]))
        self.canvas = (int(next_fast_len(shape[0] + lags, True)), int(next_fast_len(shape[1] + lags, True)))
        self.correlation = as_float(covariance)
        self.power = as_float(_power_of(covariance, self.canvas))
        self.fill_steps = int(fill_steps)

    @staticmethod
    def estimate(
        data: Any, blank: Any, *, weights: Any = None, lags: int = 6, fill_steps: int = 6
    ) -> "CorrelatedNoise":
        """Measure the correlation in blank sky.

        Args:
            data: (band, H, W) images; the median of the blank sky is taken off.
            blank: True where there is blank sky, e.g. `estimate_noise(data).blank`.
            weights: inverse variances of the data. With them the level of the noise is measured too, so that too
                cautious noise maps are scaled down; without, the weights are trusted and only the shape is measured.
            lags: largest separation in pixels; beyond half of it correlations fade to zero, and beyond 4 pixels they
                are taken to be the same in all directions.
            fill_steps: see the class.

        Raises:
            DataError: if there is too little blank sky.
        """
        images = np.asarray(data, dtype=float)
        where = np.broadcast_to(np.asarray(blank) != 0, images.shape)
        scale = (
            np.ones_like(images)
            if weights is None
            else np.sqrt(np.broadcast_to(np.asarray(weights, float), images.shape))
        )
        covariance = np.stack(
            [_covariance(*band, lags) for band in zip(images, where & (scale > 0), scale, strict=True)]
        )
        if weights is None:
            covariance = covariance / covariance[:, lags : lags + 1, lags : lags + 1]
        return CorrelatedNoise(covariance, images.shape[1:], fill_steps=fill_steps)

    def for_shape(self, shape: tuple[int, int, int]) -> "CorrelatedNoise":
        """The same correlation for images of another shape (band, H, W)."""
        if shape[0] != self.correlation.shape[0]:
            raise ShapeError(
                f"the noise model is for {self.correlation.shape[0]} bands, and the data have {shape[0]}",
                fix="estimate the noise for these bands",
            )
        if shape[1:] == self.shape:
            return self
        return CorrelatedNoise(self.correlation, shape[1:], fill_steps=self.fill_steps)

    def whiten(self, residual: Array, weights: Array) -> Array:
        """(band, H', W') on the padded canvas; see `Noise.whiten`."""
        pads = [(0, 0), *((0, full - part) for full, part in zip(self.canvas, self.shape, strict=True))]
        known = jnp.pad(weights > 0, pads)
        field = jnp.pad(residual * jnp.sqrt(weights), pads)
        return self._filter(self._filled(field, known), -0.5)

    def terms(self, residual: Array, weights: Array) -> Array:
        """(band, H', W') on the padded canvas."""
        return -0.5 * jnp.square(self.whiten(residual, weights))

    def normalization(self, weights: Array) -> Array:
        log_power = jnp.log(self.power)
        # the real transform stores every column but the first (and, for even widths, the last) once for two
        doubled = jnp.full(log_power.shape[-1], 2.0).at[0].set(1.0)
        doubled = doubled.at[-1].set(1.0 if self.canvas[1] % 2 == 0 else 2.0)
        mean_log = band_sum(log_power * doubled) / (self.canvas[0] * self.canvas[1])
        count = band_sum((weights > 0).astype(log_power.dtype))
        return -0.5 * jnp.sum(count * mean_log) + gaussian_normalization(weights)

    def sample(self, key: Array, weights: Array) -> Array:
        white = jax.random.normal(key, (weights.shape[0], *self.canvas), weights.dtype)
        return self._filter(white, 0.5)[:, : self.shape[0], : self.shape[1]] * deviation(weights)

    def _filter(self, field: Array, exponent: float) -> Array:
        """The field with its Fourier modes multiplied by power ** exponent."""
        return jnp.fft.irfft2(jnp.fft.rfft2(field) * self.power**exponent, s=self.canvas)

    def _filled(self, field: Array, known: Array) -> Array:
        """The field with unknown pixels at their conditional mean: where P^-1 field vanishes (Chebyshev iteration).

        Saad 2003, Iterative Methods for Sparse Linear Systems, algorithm 12.1; unlike conjugate gradients it is linear
        in the field, so derivatives of every kind pass through it.
        """
        if self.fill_steps == 0:
            return field
        largest, smallest = (1 / reduce(self.power, axis=(-2, -1), keepdims=True) for reduce in (jnp.min, jnp.max))
        centre, half = (largest + smallest) / 2, jnp.maximum((largest - smallest) / 2, 1e-3 * smallest)

        def inverse_power(x: Array) -> Array:
            return jnp.where(known, 0.0, self._filter(x, -1.0))

        def step(state: tuple[Array, Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array, Array], None]:
            x, remainder, direction, rho = state
            x, remainder = x + direction, remainder - inverse_power(direction)
            new_rho = 1 / (2 * centre / half - rho)
            return (x, remainder, new_rho * rho * direction + 2 * new_rho / half * remainder, new_rho), None

        remainder = -inverse_power(field)
        start = (field, remainder, remainder / centre, half / centre)
        (filled, _, last, _), _ = jax.lax.scan(step, start, None, length=self.fill_steps - 1)
        return filled + last


def _covariance(image: HostArray, blank: np.ndarray, scale: HostArray, lags: int) -> HostArray:
    """(2 lags + 1, 2 lags + 1) covariance of the standardized blank pixels at every lag, faded out from half way."""
    if np.sum(blank) < _MIN_PAIRS or not np.all(np.isfinite(image[blank])):
        raise DataError(
            "too little blank sky, or pixels in it that are not finite", fix="mask less, or give the correlation"
        )
    level = np.median(image[blank])
    field = np.where(blank, (np.where(blank, image, level) - level) * scale, 0.0)
    spread = 1.4826 * np.median(np.abs(field[blank]))
    field = np.clip(field, -_CLIP * spread, _CLIP * spread)
    shape = [next_fast_len(n + lags, True) for n in image.shape]
    pairs = np.fft.irfft2(np.abs(np.fft.rfft2(blank.astype(float), shape)) ** 2, shape)
    products = np.fft.irfft2(np.abs(np.fft.rfft2(field, shape)) ** 2, shape)
    near = np.ix_(*2 * [np.arange(-lags, lags + 1)])
    if np.min(pairs[near]) < _MIN_PAIRS:
        raise DataError("too few pairs of blank pixels", fix="use fewer lags, or mask less")
    distance = np.hypot(*np.mgrid[-lags : lags + 1, -lags : lags + 1])
    fade = np.cos(0.5 * np.pi * np.clip(2 * distance / (lags + 1) - 1, 0, 1)) ** 2
    return np.asarray(_round_beyond(products[near] / pairs[near], distance) * fade)


def _round_beyond(covariance: HostArray, distance: HostArray) -> HostArray:
    """The covariance with its means over rings beyond `_EXACT` pixels: a single one is lost in its scatter."""
    ring = np.rint(distance).astype(int)
    mean = np.bincount(ring.ravel(), covariance.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    return np.where(distance <= _EXACT, covariance, np.interp(distance, np.arange(len(mean)), mean))


def _power_of(covariance: HostArray, canvas: tuple[int, int]) -> HostArray:
    """(band, H', W'//2 + 1) power spectrum, with a floor."""
    lags = covariance.shape[1] // 2
    spread = np.zeros((len(covariance), *canvas))
    offsets = np.arange(-lags, lags + 1)
    spread[:, offsets[:, None], offsets[None, :]] = covariance
    power = np.fft.rfft2(spread).real
    return np.maximum(power, _FLOOR * covariance[:, lags, lags][:, None, None])
