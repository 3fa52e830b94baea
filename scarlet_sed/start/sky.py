"""Blank sky: its level, its scatter and how far neighbouring pixels share their noise.

Noise maps that come with images are often conservative (floored) or ignore that drizzling correlates pixels, so the
scatter that a residual should show is measured where there are no sources.
"""

from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage

from scarlet_sed.errors import DataError
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.sky_noise import noise_correlation, pixel_share
from scarlet_sed.typing import HostArray

MAD = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class BlankSky:
    """What one band's image looks like away from sources.

    Args:
        level: median of the blank pixels, in the image's unit.
        rms: (h, w) scatter of single pixels, smooth over the image, infinite where there are no data.
        correlation: sum of the noise's autocorrelation over all lags: 1 for white noise, the ratio of the variance of
            a sum over many pixels to that of independent pixels.
        blank: (h, w) true where a pixel is valid and shows no source.
    """

    level: float
    rms: HostArray
    correlation: float
    blank: NDArray[np.bool_]


def blank_sky(image: HostArray, valid: NDArray[np.bool_], mesh: int | None = None) -> BlankSky:
    """Measure the blank sky of an image, masking sources in three rounds.

    Args:
        image: (h, w).
        valid: (h, w) true where there are data.
        mesh: size in pixels of the cells in which the scatter is measured; a sixth of the image, 16 to 48 pixels,
            by default.

    Raises:
        DataError: if fewer than 100 pixels are valid.
    """
    if np.count_nonzero(valid) < 100:
        raise DataError("fewer than 100 valid pixels: the sky cannot be measured", fix="check the mask and the weights")
    mesh = mesh or int(np.clip(min(image.shape) // 6, 16, 48))
    filled = np.ascontiguousarray(np.where(valid, image, np.median(image[valid])), dtype=np.float64)
    blank = valid
    for _ in range(3):
        blank = _without_sources(filled, valid, blank)
    level = float(np.median(filled[blank]))
    background = sep.Background(filled - level, mask=~blank, bw=mesh, bh=mesh, fw=3, fh=3)
    rms = np.asarray(background.rms(), dtype=np.float64)
    scatter = MAD * np.median(np.abs(filled[blank] - level))
    # the cells' clipping biases their scatter by a few per cent; the robust overall scatter of z fixes the scale
    rms = np.where(rms > 0, rms, scatter)
    rms *= MAD * np.median(np.abs((filled - level) / rms)[blank])
    correlation = noise_correlation((filled - level) / rms, blank)
    return BlankSky(level, np.where(valid, rms, np.inf), correlation, blank)


def _without_sources(image: HostArray, valid: NDArray[np.bool_], blank: NDArray[np.bool_]) -> NDArray[np.bool_]:
    level = np.median(image[blank])
    smooth = ndimage.gaussian_filter(np.where(valid, image - level, 0.0), 1.5, mode="reflect")
    middle = np.median(smooth[blank])
    scatter = MAD * np.median(np.abs(smooth[blank] - middle))
    bright = ndimage.binary_opening(smooth > middle + 2.5 * scatter, iterations=1)
    found: NDArray[np.bool_] = valid & ~ndimage.binary_dilation(bright, iterations=4)
    # a crowded or tiny image: keep the fainter half rather than nothing
    if np.count_nonzero(found) < 0.1 * np.count_nonzero(valid):
        found = valid & (smooth <= np.median(smooth[valid]))
    return found


def observed_sky(observation: Observation) -> list[BlankSky]:
    """The blank sky of each band of an observation, in nJy per pixel."""
    data = np.asarray(observation.data, dtype=np.float64)
    valid = np.asarray(observation.weights) > 0
    return [blank_sky(image, good) for image, good in zip(data, valid, strict=True)]


def expected_variance(observation: Observation, model: HostArray, skies: list[BlankSky] | None = None) -> HostArray:
    """The variance that single pixels of a residual should show: blank sky plus the sources' own photon noise.

    The source term is the slope of the given variance with brightness (above any floor of the noise map), scaled by
    the share of the variance that survives in single pixels when drizzling has spread it over neighbours.

    Args:
        observation: with data and weights.
        model: (band, h, w) expected brightness without the sky, nJy per pixel.
        skies: from `observed_sky`; measured here by default.

    Returns:
        (band, h, w) in nJy^2, infinite where the weight is zero.
    """
    skies = observed_sky(observation) if skies is None else skies
    weights = np.asarray(observation.weights, dtype=np.float64)
    variance = np.stack([sky.rms**2 for sky in skies])
    for band, sky in enumerate(skies):
        slope = photon_slope(np.asarray(observation.data[band], dtype=np.float64), weights[band], sky)
        variance[band] += slope * np.maximum(model[band], 0.0)
    return variance


def photon_slope(image: HostArray, weights: HostArray, sky: BlankSky) -> float:
    """Variance of a single pixel per unit of source brightness, from the given noise; 0 where it shows none."""
    valid = weights > 0
    given = np.where(valid, 1.0 / np.where(valid, weights, 1.0), np.nan)
    scatter = float(np.median(sky.rms[sky.blank] ** 2))
    share, floored = pixel_share(given[valid], given[sky.blank], scatter, sky.correlation)
    floor, base = np.nanmin(given), np.median(given[sky.blank])
    excess = given - (0.0 if floored else base)
    bright = valid & (image - sky.level > 20 * sky.rms) & (given > 1.1 * (floor if floored else base))
    if np.count_nonzero(bright) < 10:
        return 0.0
    slope = max(0.0, float(np.median(excess[bright] / (image[bright] - sky.level))))
    return slope * share
