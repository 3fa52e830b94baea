"""Bins of pixels that reach a signal-to-noise together (Cappellari & Copin 2003, MNRAS 342, 345, section 5.1)."""

import numpy as np

from scarlet_sed.instrument.matching import Matched
from scarlet_sed.typing import HostArray

_LARGEST = 200
"""Pixels of a bin that is given up."""
_LACKING = 0.2
"""Share of a band's light that may be unknown, and is filled in."""
_UNSURE = 0.5
"""Share of what was filled in that its error counts."""
_ELONGATED = 1.5
"""Distance of the next pixel from the centre of a bin, in radii of a round bin as large: farther ones are not taken."""


def bin_pixels(matched: Matched, detecting: np.ndarray, region: np.ndarray, least: float) -> np.ndarray:
    """(H, W) number of each pixel's bin, from 0; -1 for pixels in none.

    A pixel whose mean signal-to-noise in the detecting bands reaches `least` is a bin of its own. The others are taken
    together, each bin from the brightest pixel that is left, always by the neighbour nearest to its centre, until it
    reaches `least`, the noise's correlation counted in. Bins that do not reach it are none.

    Args:
        matched: images through one PSF.
        detecting: (band,) True for bands that count.
        region: (H, W) True for pixels that may be in bins.
        least: signal-to-noise.
    """
    flux, sigma, correlation = matched.images[detecting], matched.sigma[detecting], matched.correlation[detecting]
    known = region & np.isfinite(flux).all(axis=0) & np.isfinite(sigma).all(axis=0)
    signal = np.where(known, np.mean(np.where(known, flux / np.where(known, sigma, 1.0), 0.0), axis=0), -np.inf)
    labels = np.full(region.shape, -1)
    single = signal >= least
    labels[single] = np.arange(single.sum())
    left = known & ~single
    number = int(single.sum())
    for start in np.argsort(-signal, axis=None):
        y, x = divmod(int(start), region.shape[1])
        if not np.isfinite(signal[y, x]) or signal[y, x] <= 0:
            break
        if not left[y, x]:
            continue
        members, reached = _grown((y, x), left, flux, sigma, correlation, least)
        rows, columns = np.array(members).T
        left[rows, columns] = False
        if reached:
            labels[rows, columns] = number
            number += 1
    return labels


def _grown(
    start: tuple[int, int],
    left: np.ndarray,
    flux: HostArray,
    sigma: HostArray,
    correlation: HostArray,
    least: float,
) -> tuple[list[tuple[int, int]], bool]:
    """The pixels of a bin, and whether it reached the signal-to-noise."""
    members = [start]
    total, variance = flux[:, start[0], start[1]].copy(), sigma[:, start[0], start[1]] ** 2
    near = {p for p in _neighbours(start, left.shape) if left[p]}
    while np.mean(total / np.sqrt(variance)) < least:
        if not near or len(members) >= _LARGEST:
            return members, False
        centre = np.mean(members, axis=0)
        candidates = np.array(sorted(near))
        distance = np.hypot(*(candidates - centre).T)
        best = int(np.argmin(distance))
        if distance[best] > _ELONGATED * np.sqrt((len(members) + 1) / np.pi) + 0.5:
            return members, False
        y, x = (int(v) for v in candidates[best])
        shared = shared_noise(np.array(members), (y, x), sigma, correlation)
        variance = variance + 2 * shared + sigma[:, y, x] ** 2
        total = total + flux[:, y, x]
        members.append((y, x))
        near.discard((y, x))
        near |= {p for p in _neighbours((y, x), left.shape) if left[p] and p not in members}
    return members, True


def shared_noise(members: np.ndarray, pixel: tuple[int, int], sigma: HostArray, correlation: HostArray) -> HostArray:
    """(band,) covariance of one pixel's noise with the sum of that of (n, 2) others."""
    lags = correlation.shape[-1] // 2
    away = members - np.array(pixel)
    close = np.abs(away).max(axis=1) <= lags
    dy, dx = away[close].T + lags
    rows, columns = members[close].T
    found: HostArray = np.sum(correlation[:, dy, dx] * sigma[:, rows, columns], axis=1) * sigma[:, pixel[0], pixel[1]]
    return found


def _neighbours(pixel: tuple[int, int], shape: tuple[int, int]) -> list[tuple[int, int]]:
    y, x = pixel
    around = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
    return [(a, b) for a, b in around if 0 <= a < shape[0] and 0 <= b < shape[1]]


def summed(matched: Matched, labels: np.ndarray) -> tuple[HostArray, HostArray]:
    """(bin, band) fluxes and their standard deviations in nJy; NaN in a band where a pixel of the bin is not known."""
    count = int(labels.max()) + 1
    inside = labels >= 0
    own = labels[inside]
    flux = np.stack([np.bincount(own, image[inside], count) for image in matched.images], axis=1)
    variance = np.stack([np.bincount(own, sigma[inside] ** 2, count) for sigma in matched.sigma], axis=1)
    rows, columns = np.nonzero(inside)
    order = np.argsort(own, kind="stable")
    places = np.split(np.stack([rows, columns], axis=1)[order], np.cumsum(np.bincount(own, minlength=count))[:-1])
    for number, members in enumerate(places):
        if len(members) > 1:
            finite = np.isfinite(matched.sigma[:, members[:, 0], members[:, 1]]).all(axis=1)
            variance[number, finite] = _variance(members, matched.sigma[finite], matched.correlation[finite])
    known = np.isfinite(flux) & np.isfinite(variance)
    return np.where(known, flux, np.nan), np.where(known, np.sqrt(np.where(known, variance, 1.0)), np.nan)


def whole_light(matched: Matched, inside: np.ndarray, detecting: np.ndarray) -> tuple[HostArray, HostArray, HostArray]:
    """(band,) fluxes of all pixels together, their standard deviations in nJy, and the share that is not known.

    Where a band lacks pixels, its flux is that of the others over their share of the detecting bands' light; its error
    then counts half of what was filled in. A band that lacks more than a fifth is missing: NaN.

    Args:
        matched: images through one PSF.
        inside: (H, W) True for pixels that count; all must be known in the detecting bands.
        detecting: (band,) True for those.
    """
    light = np.where(inside, np.sum(matched.images[detecting], axis=0), 0.0)
    flux, error = np.full((2, len(matched.bands)), np.nan)
    known = inside & np.isfinite(matched.images) & np.isfinite(matched.sigma)
    lacking: HostArray = 1 - np.sum(light * known, axis=(1, 2)) / light.sum()
    for band in np.flatnonzero(lacking <= _LACKING):
        members = np.argwhere(known[band])
        one = slice(band, band + 1)
        share = 1 - lacking[band]
        flux[band] = matched.images[band][known[band]].sum() / share
        variance = _variance(members, matched.sigma[one], matched.correlation[one])[0] / share**2
        error[band] = np.hypot(np.sqrt(variance), _UNSURE * lacking[band] * flux[band])
    return flux, error, lacking


def _variance(members: np.ndarray, sigma: HostArray, correlation: HostArray) -> HostArray:
    """(band,) variance of the sum over (n, 2) pixels."""
    lags = correlation.shape[-1] // 2
    low, high = members.min(axis=0), members.max(axis=0) + 1
    patch = np.zeros((len(sigma), *(high - low)))
    rows, columns = members.T
    patch[:, rows - low[0], columns - low[1]] = sigma[:, rows, columns]
    shape = [int(n) + lags for n in high - low]
    spread = np.zeros((len(sigma), *shape))
    offsets = np.arange(-lags, lags + 1)
    # longer lags than the patch join none of its pixels
    oy, ox = (offsets[np.abs(offsets) < size] for size in patch.shape[1:])
    spread[:, oy[:, None] % shape[0], ox[None, :] % shape[1]] = correlation[:, oy[:, None] + lags, ox[None, :] + lags]
    blurred = np.fft.irfft2(np.fft.rfft2(patch, shape) * np.fft.rfft2(spread), shape)
    found: HostArray = np.sum(blurred[:, : patch.shape[1], : patch.shape[2]] * patch, axis=(1, 2))
    return found
