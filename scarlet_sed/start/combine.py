"""One detection image from many bands and observations, on the native pixels of the finest observation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from scarlet_sed.errors import DataError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.geometry import PixelGrid
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.start.outliers import outlier_pixels
from scarlet_sed.start.sky import MAD, blank_sky, observed_sky
from scarlet_sed.typing import HostArray

_FWHM = 2.354820045


@dataclass(frozen=True, eq=False)
class Combined:
    """The inverse-variance mean of all bands, for a source of flat f_nu.

    Args:
        image: (h, w) brightness in nJy per pixel, at each band's own resolution, sky subtracted.
        noise: (h, w) its scatter from pixel to pixel.
        snr: (h, w) signal-to-noise of a point source centred there (matched filter).
        broad_snr: (h, w) the same for a round source three times as wide.
        sharp_snr: (h, w) the same for a filter of 0.6 of the PSF's width, which keeps close peaks apart.
        grid: the finest observation's grid.
        corner: (x, y) of the first pixel of these images on that grid.
        frame: the model grid, whose reference point positions refer to.
        fwhm: of the mean PSF, in pixels.
        outliers: (band, h, w) by observation's name, true where a pixel was left out as no source can make it.
    """

    image: HostArray
    noise: HostArray
    snr: HostArray
    broad_snr: HostArray
    sharp_snr: HostArray
    grid: PixelGrid
    corner: tuple[int, int]
    frame: Frame
    fwhm: float
    outliers: dict[str, NDArray[np.bool_]]

    def positions(self, x: HostArray, y: HostArray) -> HostArray:
        """(n, 2) offsets (east, north) in arcsec of pixels of these images."""
        return self.grid.offsets(x + self.corner[0], y + self.corner[1], self.frame.tangent_point)


def finest(observations: Sequence[Observation]) -> Observation:
    """The observation with the smallest pixels (the first of them)."""
    return min(observations, key=lambda observation: observation.grid.pixel_scale)


def combine(observations: Sequence[Observation], frame: Frame) -> Combined:
    """Combine all bands of all observations.

    Args:
        observations: at least one.
        frame: the model grid; the combined image covers it.

    Raises:
        DataError: if there is no observation.
    """
    if not observations:
        raise DataError("no observations to detect sources in", fix="pass at least one ss.Observation")
    grid = finest(observations).grid
    corner, shape = _extent(grid, frame)
    y, x = np.mgrid[: shape[0], : shape[1]]
    offsets = grid.offsets(x + corner[0], y + corner[1], frame.tangent_point)
    sums = {name: np.zeros(shape) for name in ("image", "weight")}
    filtered = {width: (np.zeros(shape), np.zeros(shape)) for width in (1.0, 3.0, 0.6)}
    outliers = {observation.name: np.zeros(observation.shape, dtype=bool) for observation in observations}
    for observation in observations:
        there = np.moveaxis(observation.grid.pixels(offsets, frame.tangent_point), -1, 0)[::-1]
        scale = observation.grid.pixel_scale / grid.pixel_scale
        for band, sky in enumerate(observed_sky(observation)):
            image = np.asarray(observation.data, dtype=np.float64)[band] - sky.level
            impossible = outlier_pixels(image, sky.rms, observation.psfs[band])
            outliers[observation.name][band] = impossible
            variance = np.where(impossible, np.inf, sky.rms**2)
            image = np.where(np.isfinite(variance), image, 0.0)
            # a coarse pixel is scale^2 fine ones that share their noise
            weight = _onto(1 / variance, there, 1) * scale**2
            sums["image"] += weight * _onto(image, there, 3) / scale**2
            sums["weight"] += weight
            fwhm = float(observation.psfs[band].fwhm)
            for width, sums_of_width in filtered.items():
                flux, precision = matched_filter(image, variance, fwhm * width / _FWHM)
                precision /= _spread(flux * np.sqrt(precision), sky.blank) ** 2
                precision = _onto(precision, there, 1)
                sums_of_width[0][:] += precision * _onto(flux, there, 1)
                sums_of_width[1][:] += precision
    seen = sums["weight"] > 0
    image = np.where(seen, sums["image"] / np.where(seen, sums["weight"], 1), 0.0)
    maps = [_unit_scatter(number / np.sqrt(np.where(d > 0, d, 1)), seen) for number, d in filtered.values()]
    return Combined(
        image=image,
        noise=blank_sky(image, seen).rms,
        snr=maps[0],
        broad_snr=maps[1],
        sharp_snr=maps[2],
        grid=grid,
        corner=corner,
        frame=frame,
        fwhm=_mean_fwhm(observations, grid),
        outliers=outliers,
    )


def stack(combined: Combined, observations: Sequence[Observation], images: Mapping[str, HostArray]) -> HostArray:
    """(h, w) inverse-variance mean, on the grid of a combined image, of other images such as residuals.

    Args:
        combined: made of these observations.
        observations: one or several; their astrometric shifts are undone.
        images: (band, h, w) nJy per pixel by observation's name.
    """
    shape = combined.image.shape
    y, x = np.mgrid[: shape[0], : shape[1]]
    offsets = combined.positions(x, y)
    total, weights = np.zeros(shape), np.zeros(shape)
    for observation in observations:
        scale = observation.grid.pixel_scale / combined.grid.pixel_scale
        shifts = np.asarray(observation.values["shift"], dtype=float)
        for image, sky, shift in zip(images[observation.name], observed_sky(observation), shifts, strict=True):
            there = np.moveaxis(observation.grid.pixels(offsets + shift, combined.frame.tangent_point), -1, 0)[::-1]
            weight = _onto(1 / sky.rms**2, there, 1) * scale**2
            total += weight * _onto(np.where(np.isfinite(sky.rms), image, 0.0), there, 3) / scale**2
            weights += weight
    return np.where(weights > 0, total / np.where(weights > 0, weights, 1.0), 0.0)


def matched_filter(image: HostArray, variance: HostArray, sigma: float) -> tuple[HostArray, HostArray]:
    """The least-squares flux of a Gaussian at every pixel, and the inverse of its variance for white noise.

    Args:
        image: (h, w), zero where there are no data.
        variance: (h, w), infinite there.
        sigma: dispersion of the Gaussian in pixels.
    """
    half = int(np.ceil(4 * sigma)) + 1
    r = np.arange(-half, half + 1)
    profile = np.exp(-0.5 * (r / sigma) ** 2)
    kernel = np.outer(profile, profile) / profile.sum() ** 2
    weight = 1 / variance
    precision = np.maximum(signal.fftconvolve(weight, kernel**2, mode="same"), 0.0)
    precision = np.where(precision > 1e-6 * precision.max(), precision, 0.0)
    flux = signal.fftconvolve(image * weight, kernel, mode="same")
    return np.divide(flux, precision, out=np.zeros_like(flux), where=precision > 0), precision


def _extent(grid: PixelGrid, frame: Frame) -> tuple[tuple[int, int], tuple[int, int]]:
    """First pixel (x, y) and shape, on the observation's grid, of what the frame covers."""
    height, width = frame.shape
    edge = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=float)
    pixels = grid.pixels(frame.position(edge), frame.tangent_point)
    low, high = np.ceil(pixels.min(axis=0) - 1e-3).astype(int), np.floor(pixels.max(axis=0) + 1e-3).astype(int)
    return (int(low[0]), int(low[1])), (int(high[1] - low[1] + 1), int(high[0] - low[0] + 1))


def _onto(image: HostArray, there: HostArray, order: int) -> HostArray:
    return ndimage.map_coordinates(image, there, order=order, mode="constant", cval=0.0)


def _spread(noise: HostArray, blank: np.ndarray) -> float:
    values = noise[blank]
    return float(MAD * np.median(np.abs(values - np.median(values)))) or 1.0


def _unit_scatter(snr: HostArray, seen: np.ndarray) -> HostArray:
    """A signal-to-noise map whose blank pixels scatter by one everywhere, around zero."""
    sky = blank_sky(snr, seen, mesh=int(np.clip(min(snr.shape) // 6, 16, 64)))
    return np.where(seen, (snr - sky.level) / np.where(seen, sky.rms, 1.0), 0.0)


def _mean_fwhm(observations: Sequence[Observation], grid: PixelGrid) -> float:
    """FWHM in detection pixels, each band weighted by its share of the sky's information."""
    total, weight = 0.0, 0.0
    for observation in observations:
        scale = observation.grid.pixel_scale / grid.pixel_scale
        for band, psf in enumerate(observation.psfs):
            good = np.asarray(observation.weights)[band]
            share = float(np.median(good[good > 0])) * scale**2
            total, weight = total + share * float(psf.fwhm) * scale, weight + share
    return total / weight
