"""How the noise of the blank sky varies over an image: exposure maps have steps that one number would miss."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scarlet_sed.typing import HostArray

_WIDTH = 16.0  # pixels: about 3000 pixels share in each local value, so that it is good to a few per cent
_PRIOR = 0.05  # of the weight of a kernel that is all blank: where little sky is near, the global value counts
_CLIP = 3.0
# mean of min(x^2, 9) for a unit Gaussian
_CLIPPED = math.erf(_CLIP / math.sqrt(2)) - _CLIP * math.sqrt(2 / math.pi) * math.exp(-(_CLIP**2) / 2)
_CLIPPED += _CLIP**2 * math.erfc(_CLIP / math.sqrt(2))
_MAD_TO_SIGMA = 1.482602218505602
_LAGS = 3


def local_sigma(residual: HostArray, blank: np.ndarray, shape_of_noise: HostArray | None) -> HostArray:
    """(H, W) standard deviation that blank sky has, or would have, at each pixel.

    Args:
        residual: (H, W) image without its sky level.
        blank: (H, W) True on blank sky; elsewhere the neighbourhood decides.
        shape_of_noise: (H, W) noise map of the sky up to a factor, kept where it explains the scatter better than one
            number does (it has the sharp edges that the scatter itself cannot show).
    """
    flat = _scaled(residual, blank, np.ones_like(residual))
    if shape_of_noise is None:
        return flat
    mapped = _scaled(residual, blank, shape_of_noise)
    return mapped if _log_likelihood(residual, blank, mapped) > _log_likelihood(residual, blank, flat) else flat


def sky_part(variance: HostArray, blank: np.ndarray, source: HostArray | float = 0.0) -> HostArray:
    """(H, W) the part of a variance map that does not come from sources, as a standard deviation.

    Pixel-to-pixel noise of the map is smoothed away, because it follows the noise of the image itself. Off the blank
    sky the variance of the sources is subtracted and the rest held to the range that blank sky has.

    Args:
        variance: (H, W) noise map squared; finite.
        blank: (H, W) True on blank sky.
        source: (H, W) variance that sources add.
    """
    low, high = np.quantile(variance[blank], [0.005, 0.995])
    sky = np.clip(variance - source, low, high)
    return np.sqrt(ndimage.gaussian_filter(sky, 1.0))


def near_value(values: HostArray, where: np.ndarray, width: float = _WIDTH) -> HostArray:
    """(H, W) mean of the values near each pixel, over the pixels `where`."""
    weight = ndimage.gaussian_filter(where.astype(float), width)
    total = ndimage.gaussian_filter(np.where(where, values, 0.0), width)
    everywhere = float(np.mean(values[where]))
    return np.asarray((total + _PRIOR * everywhere) / (weight + _PRIOR))


def _scaled(residual: HostArray, blank: np.ndarray, base: HostArray) -> HostArray:
    ratio = np.where(blank, residual, 0.0) / base
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(ratio[blank])))
    # twice, so that regions much noisier than the whole are clipped at their own level
    level = np.full_like(base, spread)
    for _ in range(2):
        clipped = np.minimum(np.square(ratio / level), _CLIP**2) / _CLIPPED
        level = level * np.sqrt(near_value(clipped, blank))
    return base * level


def _log_likelihood(residual: HostArray, blank: np.ndarray, sigma: HostArray) -> float:
    """Mean Gaussian log-density of the blank sky, outliers clipped."""
    ratio = residual[blank] / sigma[blank]
    return float(np.mean(-np.log(sigma[blank]) - 0.5 * np.minimum(np.square(ratio), _CLIP**2)))


def noise_correlation(noise: HostArray, blank: NDArray[np.bool_]) -> float:
    """Sum of the autocorrelation of noise over lags of up to three pixels, from its blank pixels; at least 1."""
    noise = np.where(blank, np.clip(noise, -4, 4), 0.0)
    noise = np.where(blank, noise - noise[blank].mean(), 0.0)
    pad = [size + 2 * _LAGS for size in noise.shape]
    power = np.abs(np.fft.rfft2(noise, pad)) ** 2
    pairs = np.fft.irfft2(np.abs(np.fft.rfft2(blank.astype(float), pad)) ** 2, pad)
    shared = np.fft.irfft2(power, pad) / np.maximum(pairs, 1.0)
    lags = np.arange(-_LAGS, _LAGS + 1)
    near = shared[np.ix_(lags, lags)] / shared[0, 0]
    return float(max(1.0, near.sum()))


def pixel_share(given: HostArray, given_sky: HostArray, scatter: float, correlation: float) -> tuple[float, bool]:
    """The share of a noise map's photon variance that single pixels show, and whether the map has a floor.

    Noise maps of drizzled images often hold the variance that white noise of the same large-scale power would have;
    drizzling has spread part of it over neighbours, and a floor hides even the sky's level.

    Args:
        given: (n,) variances of the map where it is valid.
        given_sky: (m,) those of blank sky.
        scatter: variance of single pixels of blank sky.
        correlation: from `noise_correlation`.
    """
    floor = float(np.nanmin(given))
    at_least = np.count_nonzero(given <= 1.002 * floor) > 0.2 * given.size
    floored = bool(at_least and floor > 1.5 * scatter * correlation)
    return (1.0 / correlation if floored else min(1.0, scatter / float(np.median(given_sky)))), floored
