"""Images of all bands as if seen through one PSF, with the noise that this leaves in them."""

from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len

from scarlet_sed.errors import DataError
from scarlet_sed.instrument.correlated import CorrelatedNoise
from scarlet_sed.instrument.kernels import difference_spectrum, on_canvas, real_kernel
from scarlet_sed.instrument.noise import GaussianNoise
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.parameters import resolve
from scarlet_sed.typing import HostArray

_REGULAR = 1e-4
"""Of the PSF's power at zero frequency (Boucaud et al. 2016, A&A 596, A63)."""
_KNOWN = 0.98
"""Share of a kernel's weight that must lie on good pixels."""


class Matched(NamedTuple):
    """Images that were convolved to the PSF of one band.

    Args:
        images: (band, H, W) nJy a pixel, without sky, corrected for calibration and Milky Way; NaN where not known.
        sigma: (band, H, W) standard deviation of single pixels; infinite where not known.
        correlation: (band, 2 lags + 1, 2 lags + 1) of the noise of neighbouring pixels, one in the middle.
        bands: names.
        band: whose PSF it is.
        mismatch: (band,) largest difference of a matched PSF from that of `band`, over the latter's peak.
    """

    images: HostArray
    sigma: HostArray
    correlation: HostArray
    bands: tuple[str, ...]
    band: str
    mismatch: HostArray


def match_psfs(observation: Observation, band: str | None = None, *, lags: int = 12) -> Matched:
    """Convolve every band with the kernel that turns its PSF into that of one band.

    The kernel is the ratio of the PSFs' transforms, regularised where a PSF holds next to nothing (Wiener; Boucaud et
    al. 2016). Pixels with more than 2 % of the kernel's weight on masked pixels, or beyond the edges, are not known.

    Args:
        observation: bands on one pixel grid.
        band: to match the others to; by default the one with the widest PSF.
        lags: pixels over which the correlation of noise is kept.

    Raises:
        DataError: if there is no such band, or the noise model has no variances.
    """
    bands = observation.bands
    target = int(np.argmax(observation.fwhm)) if band is None else _index(bands, band)
    noise = observation.noise
    if not isinstance(noise, (GaussianNoise, CorrelatedNoise)):
        raise DataError(
            f"noise that is {type(noise).__name__} has no variances after matching",
            fix="use observation.with_noise(ss.GaussianNoise())",
        )
    height, width = observation.shape[1:]
    kernels = [real_kernel(difference_spectrum(psf, 0.0, np.eye(2))) for psf in observation.psfs]
    reach = max(k.shape[0] // 2 for k in kernels)
    canvas = (next_fast_len(height + reach, True), next_fast_len(width + reach, True))
    seen = [on_canvas(kernel, (reach, reach), (0, 0), canvas) for kernel in kernels]
    data, weights = (np.asarray(a, np.float64) for a in (observation.data, observation.weights))
    plain = resolve(observation)
    sky = np.asarray(plain.sky, float)
    factor = 10.0 ** (0.4 * np.asarray(plain.foreground, float)) / np.asarray(plain.calibration, float)
    lags = min(lags, (min(height, width) - 1) // 2)
    rows = []
    for each, transfer in enumerate(seen):
        own = _changed(transfer, seen[target])
        used = weights[each] > 0
        variance = np.where(used, 1 / np.where(used, weights[each], 1.0), 0.0)
        correlation = np.ones((1, 1)) if isinstance(noise, GaussianNoise) else np.asarray(noise.correlation[each])
        image, sigma, shared = _convolved(
            np.where(used, data[each] - sky[each], 0.0), variance, used, own, correlation, canvas, lags
        )
        spread = np.fft.irfft2(own * transfer - seen[target], canvas)
        peak = np.fft.irfft2(seen[target], canvas).max()
        rows.append((image * factor[each], sigma * factor[each], shared, np.abs(spread).max() / peak))
    images, sigmas, correlations, mismatch = (np.stack(column) for column in zip(*rows, strict=True))
    return Matched(images, sigmas, correlations, bands, bands[target], mismatch)


def _index(bands: tuple[str, ...], band: str) -> int:
    if band not in bands:
        raise DataError(f"there is no band {band!r}", fix=f"choose among {', '.join(bands)}")
    return bands.index(band)


def _changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Transform of the kernel, of unit sum, that turns one PSF into another."""
    if after is before:
        return np.ones_like(before)
    raw = after * before.conj() / (np.abs(before) ** 2 + _REGULAR)
    return np.asarray(raw / raw[0, 0].real)


def _convolved(
    image: HostArray,
    variance: HostArray,
    used: np.ndarray,
    transfer: np.ndarray,
    correlation: HostArray,
    canvas: tuple[int, int],
    lags: int,
) -> tuple[HostArray, HostArray, HostArray]:
    """(H, W) image and standard deviations, and (2 lags + 1, 2 lags + 1) correlation of the noise."""
    height, width = image.shape

    def through(values: HostArray, kernel: np.ndarray) -> HostArray:
        found: HostArray = np.fft.irfft2(np.fft.rfft2(values, canvas) * kernel, canvas)[:height, :width]
        return found

    kernel = np.fft.irfft2(transfer, canvas)
    size = np.abs(kernel)
    known = through(used.astype(float), np.fft.rfft2(size)) / size.sum() > _KNOWN
    spread = np.zeros(canvas)
    offsets = np.arange(correlation.shape[0]) - correlation.shape[0] // 2
    spread[np.ix_(offsets, offsets)] = correlation
    power = np.abs(transfer) ** 2 * np.maximum(np.fft.rfft2(spread).real, 0.0)
    covariance = np.fft.irfft2(power, canvas)
    level = covariance[0, 0] / np.sum(kernel**2)
    blurred = np.maximum(through(variance, np.fft.rfft2(kernel**2)), 0.0) * level
    near = np.arange(-lags, lags + 1)
    good = known & (blurred > 0)
    return (
        np.where(good, through(image, transfer), np.nan),
        np.where(good, np.sqrt(blurred), np.inf),
        covariance[np.ix_(near, near)] / covariance[0, 0],
    )
