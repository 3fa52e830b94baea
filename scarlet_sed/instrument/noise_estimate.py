"""The noise of an image, measured from its own blank sky. Host code: numpy and scipy."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy import ndimage

from scarlet_sed.errors import DataError
from scarlet_sed.instrument.sky_noise import local_sigma, near_value, noise_correlation, pixel_share, sky_part
from scarlet_sed.typing import HostArray

_MAD_TO_SIGMA = 1.482602218505602  # 1 / Phi^-1(3/4): the median absolute deviation of a unit Gaussian, inverted
_MIN_BLANK = 50
_MIN_BRIGHT = 20
_ROUNDS = 8


@final
@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """Noise of each band: variance = sky_sigma^2 + gain * flux.

    Args:
        sky: (band,) level of the blank sky, in the unit of the data.
        sigma: (band,) standard deviation of a blank pixel, over the whole image.
        sky_sigma: (band, H, W) the same pixel by pixel: it follows steps of the exposure time.
        lag1: (band,) correlation of neighbouring blank pixels (mean of the two axes).
        gain: (band,) variance per unit of flux that sources add; zero where no noise map or model told.
        blank: (band, H, W) True where the sky was taken.
    """

    sky: HostArray
    sigma: HostArray
    sky_sigma: HostArray
    lag1: HostArray
    gain: HostArray
    blank: np.ndarray

    def variance(self, flux: Any) -> HostArray:
        """(band, H, W) variance of pixels with the given noise-free flux above the sky (a model, or smoothed data)."""
        flux = np.maximum(np.asarray(flux, dtype=float), 0.0)
        return self.sky_sigma**2 + self.gain[:, None, None] * flux


def estimate_noise(
    data: Any, mask: Any = None, *, variance: Any = None, model: Any = None, threshold: float = 3.0, grow: int = 4
) -> NoiseEstimate:
    """Measure sky level, noise, its correlation and the noise that sources add.

    Blank sky is what stays below `threshold` sigma in the image smoothed with a Gaussian of 2 pixels, found in rounds,
    with a rim of `grow` pixels; its level is the median and its scatter the median absolute deviation.

    Args:
        data: (band, H, W) or (H, W) images.
        mask: True where pixels are excluded, of the same shape.
        variance: noise map squared, in the unit of the data squared; any factor of it is measured anew. From it come
            the gain (the slope of variance against flux in source pixels) and the sharp edges of `sky_sigma`.
        model: noise-free images without sky; the gain then comes from the squared residuals. With neither, it is zero.
        threshold: in sigma of the smoothed image.
        grow: pixels.

    Raises:
        DataError: if pixels that are not masked are not finite, or too little blank sky is left.
    """
    images = _cube(data)
    masks = np.zeros(images.shape, bool) if mask is None else np.broadcast_to(np.asarray(mask) != 0, images.shape)
    if np.any(~np.isfinite(images) & ~masks):
        raise DataError("the data have NaN or infinite pixels that are not masked", fix="pass mask=~np.isfinite(data)")
    parts = [_blank_sky(image, excluded, threshold, grow) for image, excluded in zip(images, masks, strict=True)]
    blank = np.stack([part[2] for part in parts])
    sky, sigma = np.array([part[0] for part in parts]), np.array([part[1] for part in parts])
    lag1 = np.array([_lag1(i - s, b) for i, s, b in zip(images, sky, blank, strict=True)])
    level = np.where(masks, 0.0, images - sky[:, None, None])
    noise = None if variance is None else np.where(masks, 0.0, _cube(variance))
    gain, local = np.zeros(len(images)), np.empty_like(images)
    for i, (image, where) in enumerate(zip(level, blank, strict=True)):
        if model is not None:
            gain[i] = _gain_of_residuals(_cube(model)[i], image, masks[i] | where, sigma[i])
        elif noise is not None:
            gain[i] = _gain_of_map(image, noise[i] - near_value(noise[i], where), masks[i] | where, sigma[i])
            correlation = noise_correlation(image / sigma[i], where)
            gain[i] *= pixel_share(noise[i][~masks[i]], noise[i][where], sigma[i] ** 2, correlation)[0]
        source = gain[i] * np.maximum(ndimage.gaussian_filter(image, 1.0), 0.0)
        base = sky_part(noise[i], where, source) if noise is not None and np.all(noise[i][where] > 0) else None
        local[i] = local_sigma(image, where, base)
    return NoiseEstimate(sky, sigma, local, lag1, gain, blank)


def _cube(images: Any) -> HostArray:
    array = np.asarray(images, dtype=float)
    return array[None] if array.ndim == 2 else array


def _blank_sky(image: HostArray, mask: np.ndarray, threshold: float, grow: int) -> tuple[float, float, np.ndarray]:
    """(level, scatter, where) of the blank sky."""
    if np.sum(~mask) < _MIN_BLANK:
        raise DataError(f"only {int(np.sum(~mask))} pixels are not masked", fix="mask less, or give the noise")
    near = _smooth(~mask)
    blank = ~mask
    for _ in range(_ROUNDS):
        level, scatter = _median_mad(image[blank])
        smooth = _smooth(np.where(mask, 0.0, image - level)) / np.maximum(near, 0.1)
        _, smooth_scatter = _median_mad(smooth[blank])
        # sources are positive, but a negative hole is no blank sky either
        source = (np.abs(smooth) > threshold * smooth_scatter) & ~mask
        core = ndimage.binary_opening(source, iterations=1)
        new = ~mask & ~ndimage.binary_dilation(core, iterations=grow)
        new &= np.abs(image - level) < 5 * max(scatter, np.finfo(float).tiny)
        if np.sum(new) < _MIN_BLANK or np.array_equal(new, blank):
            break
        blank = new
    level, scatter = _median_mad(image[blank])
    if not scatter > 0:
        raise DataError(
            "the blank sky has no scatter", fix="give the noise: the image seems to be noiseless or constant"
        )
    return level, scatter, blank


def _smooth(image: np.ndarray) -> HostArray:
    return np.asarray(ndimage.gaussian_filter(image.astype(float), 2.0))


def _median_mad(values: HostArray) -> tuple[float, float]:
    level = float(np.median(values))
    return level, _MAD_TO_SIGMA * float(np.median(np.abs(values - level)))


def _lag1(image: HostArray, blank: np.ndarray) -> float:
    """Mean correlation of blank pixels with their neighbours along both axes."""
    variance = np.mean(np.square(image[blank]))
    products = []
    for axis in (0, 1):
        first, second = (np.take(image, range(start, image.shape[axis] - 1 + start), axis) for start in (0, 1))
        both = np.take(blank, range(image.shape[axis] - 1), axis) & np.take(blank, range(1, image.shape[axis]), axis)
        products.append(np.mean((first * second)[both]) if np.any(both) else 0.0)
    return float(np.mean(products) / variance)


def _gain_of_map(flux: HostArray, excess: HostArray, excluded: np.ndarray, sigma: float) -> float:
    """Slope of the variance that a noise map has above its sky against flux, where sources shine; never negative."""
    bright = ~excluded & (flux > 3 * sigma) & np.isfinite(excess)
    if np.sum(bright) < _MIN_BRIGHT:
        return 0.0
    # the brightest half, with an intercept: near the sky a floor of the noise map would flatten the slope
    use = bright & (flux >= np.median(flux[bright]))
    x, y = flux[use], excess[use]
    slope = np.sum((x - x.mean()) * (y - y.mean())) / max(np.sum((x - x.mean()) ** 2), np.finfo(float).tiny)
    return max(float(slope), 0.0)


def _gain_of_residuals(flux: HostArray, image: HostArray, excluded: np.ndarray, sigma: float) -> float:
    """Slope of the squared residuals against flux where sources shine; never negative."""
    bright = ~excluded & (flux > 3 * sigma)
    if np.sum(bright) < _MIN_BRIGHT:
        return 0.0
    # squared residuals are chi-square with one degree of freedom, of median 0.455: bins of flux, median in each
    order = np.argsort(flux[bright])
    squares = np.square(image - flux)[bright]
    bins = np.array_split(order, max(min(len(order) // 50, 20), 1))
    x = np.array([np.median(flux[bright][part]) for part in bins])
    y = np.array([np.median(squares[part]) for part in bins]) / 0.454936
    slope = 0.0
    for _ in range(10):
        # every bin is known to the same relative accuracy, so its weight is its expected variance
        weight = (sigma**2 + slope * x) ** -2.0
        slope = max(float(np.sum(weight * x * (y - sigma**2)) / np.sum(weight * x * x)), 0.0)
    return slope
