"""Sizes, shapes and fluxes of detections on the combined image: good enough to start a fit from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scarlet_sed.typing import HostArray

_FWHM = 2.354820045


@dataclass(frozen=True)
class Profile:
    """How the light of one source falls with elliptical radius.

    Args:
        radius: (ring,) mean circularised radius of the pixels of each ring in pixels; rings are one pixel wide.
        level: (ring,) median brightness in the ring, neighbours left out.
        error: (ring,) noise of the level, but not less than 0.35 of a pixel's noise: fainter light is not followed.
        coverage: (ring,) share of the ring's area that is the source's own.
    """

    radius: HostArray
    level: HostArray
    error: HostArray
    coverage: HostArray

    @property
    def reach(self) -> int:
        """Number of rings before the light is lost (two rings in a row without signal, or mostly others' pixels)."""
        faint = (self.level < self.error) | (self.coverage < 0.25)
        lost = np.flatnonzero(faint[:-1] & faint[1:])
        return max(2, int(lost[0])) if lost.size else len(self.level)

    def curve_of_growth(self) -> HostArray:
        """(reach + 1,) flux inside whole-number radii 0, 1, ..., as if no pixel were missing."""
        steps = 10
        r = (np.arange(self.reach * steps) + 0.5) / steps
        light = 2 * np.pi * r * np.interp(r, self.radius, self.level) / steps
        return np.concatenate([[0.0], np.cumsum(light)[steps - 1 :: steps]])

    def half_light_radius(self) -> float:
        """Circularised radius in pixels that holds half the flux."""
        growth = np.maximum.accumulate(self.curve_of_growth())
        if growth[-1] <= 0:
            return 1.0
        return float(np.sqrt(np.interp(0.5, growth / growth[-1], np.arange(len(growth)) ** 2.0)))


def elliptical_radius(shape: tuple[int, int], x: float, y: float, covariance: HostArray) -> HostArray:
    """(h, w) circularised radius in pixels around (x, y), on ellipses of the covariance's shape."""
    inverse = np.linalg.inv(covariance / np.sqrt(np.linalg.det(covariance)))
    dy, dx = np.arange(shape[0])[:, None] - y, np.arange(shape[1])[None, :] - x
    square = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    return np.sqrt(np.maximum(square, 0.0))


def radial_profile(
    image: HostArray, noise: HostArray, radius: HostArray, mine: NDArray[np.bool_], outer: int
) -> Profile:
    """The profile of a source over pixels that are not another's.

    Args:
        image, noise: (h, w), any unit, noise infinite where there are no data.
        radius: (h, w) elliptical radius in pixels.
        mine: (h, w) false where another source shines.
        outer: number of rings.
    """
    used = mine & np.isfinite(noise) & (radius < outer)
    ring = radius[used].astype(int)
    values = image[used]
    count = np.bincount(ring, minlength=outer)
    variance = np.bincount(ring, weights=noise[used] ** 2, minlength=outer) / np.maximum(count, 1)
    order = np.lexsort((values, ring))
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    half = np.minimum(start + count // 2, max(len(values) - 1, 0))
    level = np.where(count > 0, values[order][half], 0.0) if len(values) else np.zeros(outer)
    # drizzled noise: sums over areas scatter about 1.7 times more than independent pixels would
    error = np.sqrt(variance) * np.maximum(1.7 / np.sqrt(np.maximum(count, 1)), 0.35)
    coverage = count / (np.pi * (2 * np.arange(outer) + 1))
    middle = np.bincount(ring, weights=radius[used], minlength=outer) / np.maximum(count, 1)
    return Profile(np.where(count > 0, middle, np.arange(outer) + 0.5), level, error, coverage)


def adaptive_covariance(
    image: HostArray, own: NDArray[np.bool_], free: NDArray[np.bool_], x: float, y: float, fwhm: float, rounds: int = 20
) -> HostArray:
    """(2, 2) covariance (x, y) of the elliptical Gaussian that matches an object, PSF included, in pixels^2.

    Adaptive moments (Bernstein & Jarvis 2002, section 3.1): the weight is the answer, so noise far away and
    neighbours count little; half of a Gaussian object's second moment is lost to the weight, hence the factor 2.

    Args:
        image: (h, w) brightness.
        own: (h, w) the object's territory.
        free: (h, w) pixels that are nobody's, which are used too.
        x, y: its centre.
        fwhm: of the PSF in pixels.
        rounds: iterations.
    """
    floor = (fwhm / _FWHM) ** 2
    covariance: HostArray = np.eye(2) * floor * 1.5
    rows_own, columns_own = np.nonzero(own)
    reach = max(np.abs(rows_own - y).max(initial=0), np.abs(columns_own - x).max(initial=0))
    half = int(max(8, 6 * fwhm, reach))
    rows = slice(max(0, int(y) - half), int(y) + half + 1)
    columns = slice(max(0, int(x) - half), int(x) + half + 1)
    light = np.where(own | free, image, 0.0)[rows, columns]
    dy = np.arange(rows.start, rows.start + light.shape[0])[:, None] - y
    dx = np.arange(columns.start, columns.start + light.shape[1])[None, :] - x
    for _ in range(rounds):
        inverse = np.linalg.inv(covariance)
        weight = np.exp(-0.5 * (inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2)) * light
        total = weight.sum()
        if total <= 0:
            break
        moments = 2 * np.array(
            [[np.sum(weight * dx * dx), np.sum(weight * dx * dy)], [np.sum(weight * dx * dy), np.sum(weight * dy * dy)]]
        )
        covariance = _bounded(moments / total, floor, (half / 2.0) ** 2)
    return covariance


def intrinsic(covariance: HostArray, fwhm: float) -> HostArray:
    """The covariance with that of the PSF taken off, kept positive."""
    floor = (fwhm / _FWHM) ** 2
    return _bounded(covariance - floor * np.eye(2), 0.05 * floor, np.inf)


def _bounded(covariance: HostArray, low: float, high: float) -> HostArray:
    values, vectors = np.linalg.eigh(np.where(np.isfinite(covariance), covariance, np.eye(2) * low))
    return (vectors * np.clip(values, low, high)) @ vectors.T


def sky_ellipticity(covariance: HostArray, matrix: HostArray) -> HostArray:
    """(2,) ellipticity (e1, e2) on the sky, |e| = (1 - q) / (1 + q), of a covariance in pixels.

    Args:
        covariance: (2, 2) in pixels (x, y).
        matrix: (2, 2) d(x, y) / d(east, north).
    """
    inverse = np.linalg.inv(matrix)
    sky = inverse @ covariance @ inverse.T
    chi = np.array([sky[1, 1] - sky[0, 0], 2 * sky[0, 1]]) / np.trace(sky)
    return chi / (1 + np.sqrt(max(0.0, 1 - chi @ chi)))


def refine_peak(image: HostArray, x: int, y: int) -> tuple[float, float]:
    """(x, y) of the top of the parabola through a peak and its neighbours, at most half a pixel away."""
    if not (0 < x < image.shape[1] - 1 and 0 < y < image.shape[0] - 1):
        return float(x), float(y)
    return x + _vertex(image[y, x - 1 : x + 2]), y + _vertex(image[y - 1 : y + 2, x])


def _vertex(values: HostArray) -> float:
    bend = values[0] - 2 * values[1] + values[2]
    return float(np.clip(0.5 * (values[0] - values[2]) / bend, -0.5, 0.5)) if bend < 0 else 0.0
