"""Sersic images through real PSFs by quadrature in plain numpy, without anything from the package.

The image is the inverse Fourier integral of (transform of the profile) x (transform of the PSF array, band-limited at
its own Nyquist frequency). The profile's transform is a Hankel integral: for index >= 1 along the rotated contour
r = i s, where it is smooth and decays (K0 instead of J0); below, directly. The Fourier sum on a period of `PERIOD`
samples adds the images one period apart; those are far from the centre, where the PSF changes nothing, and are taken
away again as plain Sersic brightness, with their PSF-convolved total.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import gamma, gammaincinv, j0, k0

Vector = NDArray[np.float64]


def brightness(index: float, radius: Vector) -> Vector:
    """Unit-flux Sersic profile of half-light radius one."""
    b = gammaincinv(2 * index, 0.5)
    norm = 2 * np.pi * index * b ** (-2 * index) * gamma(2 * index)
    return np.exp(-b * radius ** (1 / index)) / norm


@cache
def hankel(index: float, highest: float = 30.0) -> CubicSpline:
    """The profile's transform against arcsinh(1000 x frequency), frequency in cycles per half-light radius."""
    grid = np.linspace(0, np.arcsinh(1e3 * highest), 4000)
    frequency = np.sinh(grid) / 1e3
    b = gammaincinv(2 * index, 0.5)
    if index == 0.5:
        values = np.exp(-2 * np.pi**2 * frequency**2 / (2 * b))
    elif index == 1.0:
        values = (1 + (2 * np.pi * frequency / b) ** 2) ** -1.5
    elif index < 1:
        nodes, weights = np.polynomial.legendre.leggauss(500)
        farthest = (gammaincinv(2 * index, 1 - 1e-13) / b) ** index
        r, w = farthest * (nodes + 1) / 2, weights * farthest / 2
        values = j0(2 * np.pi * frequency[:, None] * r) @ (w * 2 * np.pi * r * brightness(index, r))
    else:
        norm = 2 * np.pi * index * b ** (-2 * index) * gamma(2 * index)
        log_x = np.linspace(np.log(1e-13), np.log(200.0), 900)
        x = np.exp(log_x)  # 2 pi frequency s
        s = x / (2 * np.pi * frequency[1:, None])
        root = b * s ** (1 / index)
        part = np.exp(-root * np.cos(np.pi / (2 * index))) * np.sin(root * np.sin(np.pi / (2 * index)))
        values = np.sum(part * k0(x) * s * s, axis=1) * (log_x[1] - log_x[0]) * 4 / norm
        values = np.concatenate([[1.0], values])
    return CubicSpline(grid, values)


class Profile:
    """An elliptical Sersic profile on the sky, and what it looks like on a grid of samples.

    Args:
        index: Sersic index.
        radius: half-light radius along the major axis, in samples.
        axis_ratio: minor over major axis.
        angle: position angle in radians from +y towards -x (north up, east left).
        centre: (x, y) in samples.
    """

    def __init__(
        self, index: float, radius: float, axis_ratio: float, angle: float, centre: tuple[float, float]
    ) -> None:
        self.index, self.radius, self.axis_ratio, self.centre = index, radius, axis_ratio, centre
        self.major = np.array([-np.sin(angle), np.cos(angle)])
        self.minor = np.array([np.cos(angle), np.sin(angle)])

    def at(self, x: Vector, y: Vector) -> Vector:
        """Flux per sample area at points relative to the centre."""
        along = self.major[0] * x + self.major[1] * y
        across = self.minor[0] * x + self.minor[1] * y
        radius = np.hypot(along, across / self.axis_ratio) / self.radius
        return brightness(self.index, radius) / (self.radius**2 * self.axis_ratio)

    def transform(self, period: int) -> NDArray[np.complex128]:
        """(period, period // 2 + 1) Fourier transform at the frequencies of numpy's rfft2, centre's phase included."""
        fy, fx = np.fft.fftfreq(period)[:, None], np.fft.rfftfreq(period)[None, :]
        along = self.major[0] * fx + self.major[1] * fy
        across = self.minor[0] * fx + self.minor[1] * fy
        frequency = self.radius * np.hypot(along, self.axis_ratio * across)
        phase = np.exp(-2j * np.pi * (fx * self.centre[0] + fy * self.centre[1]))
        return hankel(self.index)(np.arcsinh(1e3 * frequency)) * phase


PERIOD = 720


def psf_transform(psf: Vector) -> NDArray[np.complex128]:
    """Transform of an odd, centred PSF array of unit sum."""
    padded = np.zeros((PERIOD, PERIOD))
    padded[: psf.shape[0], : psf.shape[1]] = psf
    return np.fft.rfft2(np.roll(padded, [-(n // 2) for n in psf.shape], axis=(0, 1)))


def observed(profile: Profile, psf_hat: NDArray[np.complex128], shape: tuple[int, int]) -> Vector:
    """(height, width) flux per sample at samples 0, 1, ... of the profile seen through a PSF."""
    image = np.fft.irfft2(profile.transform(PERIOD) * psf_hat, s=(PERIOD, PERIOD))[: shape[0], : shape[1]]
    return image - neighbours(profile, shape)


def neighbours(profile: Profile, shape: tuple[int, int], shells: int = 2) -> Vector:
    """What the images one or more periods away add."""
    y, x = np.arange(shape[0])[:, None] - profile.centre[1], np.arange(shape[1])[None, :] - profile.centre[0]
    total = np.zeros(shape)
    for i in range(-shells, shells + 1):
        for j in range(-shells, shells + 1):
            if i or j:
                total += profile.at(x + i * PERIOD, y + j * PERIOD)
    return total


def seen_through_gaussian(profile: Profile, sigma: float, points: Vector) -> Vector:
    """(point,) the profile convolved with a round Gaussian at (point, 2) positions (x, y): polar quadrature.

    Elliptical rings of Gauss-Legendre radii, equal steps of eccentric anomaly: sums over Gaussians of width sigma
    are then right to 1e-6.
    """
    farthest = np.hypot(*points.T).max() + 8 * sigma
    outer = (gammaincinv(2 * profile.index, 1 - 1e-10) / gammaincinv(2 * profile.index, 0.5)) ** profile.index
    stop = min(farthest / profile.radius / profile.axis_ratio, outer)
    step = 1.5 * sigma / profile.radius
    inner = np.geomspace(1e-6 * step, step, 24)
    edges = np.concatenate([[0.0], inner, np.arange(2 * step, stop + step, step)])
    nodes, weights = np.polynomial.legendre.leggauss(5)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    total = np.zeros(len(points))
    for radius, weight in zip(
        (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel(), strict=True
    ):
        count = 32 + int(2 * np.pi * radius * profile.radius / sigma)
        anomaly = 2 * np.pi * np.arange(count) / count
        ring = (
            profile.radius
            * radius
            * (np.cos(anomaly)[:, None] * profile.major + profile.axis_ratio * np.sin(anomaly)[:, None] * profile.minor)
        )
        squares = np.sum((points[:, None, :] - ring[None]) ** 2, axis=2)
        kernel = np.exp(-0.5 * squares / sigma**2).mean(axis=1) / (2 * np.pi * sigma**2)
        total += weight * 2 * np.pi * radius * brightness(profile.index, np.array(radius)) * kernel
    return total
