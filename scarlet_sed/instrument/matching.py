"""Images of all bands as if seen through one PSF, with the noise that this leaves in them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len
from scipy.ndimage import map_coordinates, minimum_filter

from scarlet_sed.errors import DataError
from scarlet_sed.instrument.correlated import CorrelatedNoise
from scarlet_sed.instrument.geometry import PixelGrid
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
    """Images that were convolved to the PSF of one band, on its pixels.

    Args:
        images: (band, H, W) nJy a pixel, without sky, corrected for calibration and Milky Way; NaN where not known.
        sigma: (band, H, W) standard deviation of single pixels; infinite where not known.
        correlation: (band, 2 lags + 1, 2 lags + 1) of the noise of neighbouring pixels, one in the middle.
        bands: names.
        band: whose PSF and pixels they are.
        mismatch: (band,) largest difference of a matched PSF from that of `band`, over the latter's peak.
        grid: the pixels.
    """

    images: HostArray
    sigma: HostArray
    correlation: HostArray
    bands: tuple[str, ...]
    band: str
    mismatch: HostArray
    grid: PixelGrid


def match_psfs(
    observations: Observation | Sequence[Observation], band: str | None = None, *, lags: int = 12
) -> Matched:
    """Convolve every band with the kernel that turns its PSF into that of one band, and read it on that band's pixels.

    The kernel is the ratio of the PSFs' transforms, regularised where a PSF holds next to nothing (Wiener; Boucaud et
    al. 2016); shifts between bands are part of it. Other pixel grids are met by quintic splines through the convolved
    images, whose pixels are scaled by area; their error is not in `mismatch` (1e-3 of the peak for a PSF of three
    pixels). Pixels with more than 2 % of the kernel's weight on masked pixels, or beyond the edges, are not known.

    Args:
        observations: one, or several of the same sky.
        band: to match the others to; by default the one with the widest PSF.
        lags: pixels over which the correlation of noise is kept.

    Raises:
        DataError: if there is no observation or no such band, a band comes twice, or noise has no variances.
        WCSError: if grids with a WCS are mixed with others.
    """
    every = (observations,) if isinstance(observations, Observation) else tuple(observations)
    if not every:
        raise DataError("there is no observation", fix="give one at least")
    bands = tuple(name for o in every for name in o.bands)
    twice = sorted({name for name in bands if bands.count(name) > 1})
    if twice:
        raise DataError(f"the band {twice[0]!r} comes twice", fix="leave one of them out")
    place = int(np.argmax(np.concatenate([o.fwhm for o in every]))) if band is None else _index(bands, band)
    owners = [(o, row) for o in every for row in range(len(o.bands))]
    base, target = owners[place]
    for o in every:
        if not isinstance(o.noise, (GaussianNoise, CorrelatedNoise)):
            raise DataError(
                f"noise that is {type(o.noise).__name__} has no variances after matching",
                fix="use observation.with_noise(ss.GaussianNoise())",
            )
    lags = min(lags, (min(base.shape[1:]) - 1) // 2)
    origin = np.asarray(resolve(base).shift, float)[target]
    parts = [_matched(o, base, target, origin, lags) for o in every]
    images, sigmas, correlations, mismatch = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Matched(images, sigmas, correlations, bands, bands[place], mismatch, base.grid)


def _matched(
    observation: Observation, base: Observation, target: int, origin: HostArray, lags: int
) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """Images, standard deviations, correlations and mismatches of one observation's bands on the pixels of another."""
    grid = observation.grid
    to_own = grid.matrix @ np.linalg.inv(base.grid.matrix)
    height, width = observation.shape[1:]
    kernels = [real_kernel(difference_spectrum(psf, 0.0, np.eye(2))) for psf in observation.psfs]
    kernels.append(real_kernel(difference_spectrum(base.psfs[target], 0.0, to_own)))
    reach = max(k.shape[0] // 2 for k in kernels)
    canvas = (next_fast_len(height + reach, True), next_fast_len(width + reach, True))
    *seen, goal = (on_canvas(kernel, (reach, reach), (0, 0), canvas) for kernel in kernels)
    data, weights = (np.asarray(a, np.float64) for a in (observation.data, observation.weights))
    plain = resolve(observation)
    sky, shift = np.asarray(plain.sky, float), np.asarray(plain.shift, float)
    factor = 10.0 ** (0.4 * np.asarray(plain.foreground, float)) / np.asarray(plain.calibration, float)
    # beyond half of the canvas, lags would be those of the other side
    own_lags = min(math.ceil(lags * np.abs(to_own).sum(axis=1).max()) + 2, (min(canvas) - 1) // 2)
    cycles = np.fft.fftfreq(canvas[0])[:, None], np.fft.rfftfreq(canvas[1])
    rows = []
    for each, transfer in enumerate(seen):
        same = observation is base and each == target
        kernel = np.ones_like(goal) if same else _changed(transfer, goal)
        dx, dy = grid.matrix @ (shift[each] - origin)
        moved = np.exp(2j * np.pi * (cycles[0] * dy + cycles[1] * dx))
        used = weights[each] > 0
        variance = np.where(used, 1 / np.where(used, weights[each], 1.0), 0.0)
        noise = observation.noise
        correlation = np.asarray(noise.correlation[each]) if isinstance(noise, CorrelatedNoise) else np.ones((1, 1))
        image, sigma, known, covariance = _convolved(
            np.where(used, data[each] - sky[each], 0.0), variance, used, kernel * moved, correlation, canvas
        )
        if grid == base.grid:
            near = np.arange(-lags, lags + 1)
            shared = covariance[np.ix_(near, near)]
        else:
            image, sigma, known = _read(image, sigma, known, base, grid)
            area = abs(np.linalg.det(to_own))
            image, sigma = image * area, sigma * area
            shared = _at_lags(covariance, to_own, lags, own_lags)
        image, sigma = np.where(known, image, np.nan), np.where(known, sigma, np.inf)
        spread = np.fft.irfft2(kernel * transfer - goal, canvas)
        peak = np.fft.irfft2(goal, canvas).max()
        rows.append((image * factor[each], sigma * factor[each], shared, np.abs(spread).max() / peak))
    images, sigmas, correlations, mismatch = (np.stack(column) for column in zip(*rows, strict=True))
    return images, sigmas, correlations, mismatch


def _read(
    image: HostArray, sigma: HostArray, known: np.ndarray, base: Observation, grid: PixelGrid
) -> tuple[HostArray, HostArray, np.ndarray]:
    """An image, its standard deviations, and what is known of it, where another observation has its pixels.

    Args:
        image, sigma: (h, w) convolved.
        known: (h, w) where they are known.
        base: whose pixels.
        grid: of the image.
    """
    y, x = np.indices(base.shape[1:])
    own = grid.pixels(base.grid.offsets(x, y, base.grid.reference), base.grid.reference)
    points = np.moveaxis(own[..., ::-1], -1, 0)
    # neither a spline nor a straight line reaches over what is not known
    safe = minimum_filter(known.astype(np.uint8), 3, mode="constant", cval=0)
    inside = map_coordinates(safe, points, order=0, mode="constant", cval=0) > 0
    found: HostArray = map_coordinates(image, points, order=5, mode="mirror")
    level: HostArray = map_coordinates(sigma, points, order=1, mode="nearest")
    return found, level, inside


def _at_lags(covariance: HostArray, to_own: HostArray, lags: int, own_lags: int) -> HostArray:
    """(2 lags + 1, 2 lags + 1) correlation at lags in pixels of another grid.

    Args:
        covariance: by lags in own pixels; it wraps around.
        to_own: (2, 2) d(own x, y) / d(other x, y).
        lags: of the other pixels.
        own_lags: that hold all of them.
    """
    near = np.arange(-own_lags, own_lags + 1)
    here = covariance[np.ix_(near, near)]
    dy, dx = np.indices((2 * lags + 1, 2 * lags + 1)) - lags
    x, y = np.einsum("ij,jyx->iyx", to_own, np.stack([dx, dy]).astype(float))
    found: HostArray = map_coordinates(here, [y + own_lags, x + own_lags], order=3, mode="constant")
    return found / found[lags, lags]


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
) -> tuple[HostArray, HostArray, np.ndarray, HostArray]:
    """(H, W) image, standard deviations and what is known, and the correlation of noise by lags, which wrap around."""
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
    good = known & (blurred > 0)
    return (
        through(image, transfer),
        np.sqrt(blurred),
        good,
        covariance / covariance[0, 0],
    )
