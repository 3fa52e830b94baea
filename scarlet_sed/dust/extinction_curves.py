"""Extinction curves: dust as a screen in front of single stars, in three nearby galaxies."""

from functools import lru_cache
from typing import Any, NamedTuple, final

import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from scarlet_sed.dust.base import Curve, wavenumber
from scarlet_sed.parameters import parameter
from scarlet_sed.ranges import check_range
from scarlet_sed.typing import Array, HostArray

RV_RANGE = (2.0, 6.0)

_UV_JOIN = 1 / 0.27
"""Inverse micron above which the formula of the ultraviolet holds (Fitzpatrick 1999, PASP 111, 63)."""
_LAST = 11.0
"""Inverse micron (909 A) above which the rise of the far ultraviolet goes on linearly."""


@final
class SMC(Curve):
    """The bar of the Small Magellanic Cloud: Gordon et al. 2003, ApJ 594, 279, tables 3 and 4, R_V = 2.74.

    Below 2700 A the formula of Fitzpatrick & Massa 1990, ApJS 72, 163; above, a cubic spline in 1 / wavelength through
    the published points (those at J and K as amended by Gordon et al. 2016, ApJ 826, 104), zero at infinite wavelength,
    that meets the formula with its value and slope. k(5500 A) = 1. Beyond 2.2 micron it falls ever more like
    1 / wavelength; below 909 A the far-ultraviolet rise goes on linearly in 1 / wavelength.
    """

    def __call__(self, wavelength: Array) -> Array:
        """k at rest-frame wavelengths in Angstrom."""
        return _magellanic(wavenumber(wavelength), _SMC_BAR)


@final
class LMC(Curve):
    """The average of the Large Magellanic Cloud: Gordon et al. 2003, ApJ 594, 279, tables 3 and 4, R_V = 3.41.

    Made and continued like `SMC`. k(5500 A) = 1.
    """

    def __call__(self, wavelength: Array) -> Array:
        """k at rest-frame wavelengths in Angstrom."""
        return _magellanic(wavenumber(wavelength), _LMC_AVERAGE)


@final
class CCM89(Curve):
    """The Milky Way: Cardelli, Clayton & Mathis 1989, ApJ 345, 245, equations 2 to 5.

    k = a + b / R_V at every wavelength; k(5500 A) = 0.9989 for R_V = 3.1. As published, its pieces meet at 9091, 3030
    and 1250 A with steps below 0.001 and small kinks. Below 1000 A k goes on linearly in 1 / wavelength, above 3.3
    micron as wavelength^-1.61.

    Args:
        rv: R_V = A_V / E(B-V), 2 to 6.

    Raises:
        DomainError: if R_V, or the support of its prior, lies outside 2 to 6.
    """

    rv: Array = parameter(doc="ratio of total to selective extinction R_V", shape=(), default=3.1)

    def __check_init__(self) -> None:
        check_range(self.rv, "CCM89", "rv", *RV_RANGE)

    def __call__(self, wavelength: Array) -> Array:
        """k at rest-frame wavelengths in Angstrom."""
        x = wavenumber(wavelength)
        # each piece sees only wavenumbers of its own, so that none overflows where another is chosen
        infrared = jnp.exp(1.61 * jnp.log(jnp.minimum(x, 1.1)))
        y = jnp.clip(x, 1.1, 3.3) - 1.82
        u = jnp.clip(x, 3.3, 8.0)
        rise = jnp.maximum(u - 5.9, 0.0)
        far = jnp.clip(x - 8.0, 0.0, 2.0)
        beyond = jnp.maximum(x - 10.0, 0.0)
        a_uv = 1.752 - 0.316 * u - 0.104 / ((u - 4.67) ** 2 + 0.341) - rise**2 * (0.04473 + 0.009779 * rise)
        b_uv = -3.090 + 1.825 * u + 1.206 / ((u - 4.62) ** 2 + 0.263) + rise**2 * (0.2130 + 0.1207 * rise)
        a_far = _polynomial(_A_FAR, far) + _slope(_A_FAR, 2.0) * beyond
        b_far = _polynomial(_B_FAR, far) + _slope(_B_FAR, 2.0) * beyond
        conditions = [x < 1.1, x < 3.3, x <= 8.0]
        a = jnp.select(conditions, [0.574 * infrared, _polynomial(_A_OPTICAL, y), a_uv], a_far)
        b = jnp.select(conditions, [-0.527 * infrared, _polynomial(_B_OPTICAL, y), b_uv], b_far)
        return a + b / self.rv


_A_OPTICAL = (1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999)
_B_OPTICAL = (0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002)
_A_FAR = (-1.073, -0.628, 0.137, -0.070)
_B_FAR = (13.670, 4.257, -0.420, 0.374)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _slope(coefficients: tuple[float, ...], x: float) -> float:
    return sum(power * c * x ** (power - 1) for power, c in enumerate(coefficients) if power)


class _Cloud(NamedTuple):
    """Rows of tables 3 and 4 of Gordon et al. 2003: the ultraviolet formula, and (micron, k) from infrared to U."""

    rv: float
    c1: float
    c2: float
    c3: float
    c4: float
    centre: float
    width: float
    points: tuple[tuple[float, float], ...]


_SMC_POINTS = (
    (2.198, 0.11),
    (1.65, 0.169),
    (1.25, 0.25),
    (0.81, 0.567),
    (0.65, 0.801),
    (0.55, 1.0),
    (0.44, 1.374),
    (0.37, 1.672),
)
_LMC_POINTS = ((2.198, 0.10), (1.65, 0.186), (1.25, 0.257), (0.55, 1.0), (0.44, 1.293), (0.37, 1.518))
_SMC_BAR = _Cloud(2.74, -4.959, 2.264, 0.389, 0.461, 4.6, 1.0, _SMC_POINTS)
_LMC_AVERAGE = _Cloud(3.41, -0.890, 0.998, 2.719, 0.400, 4.579, 0.934, _LMC_POINTS)


def _magellanic(x: Array, cloud: _Cloud) -> Array:
    coefficients, knots, jumps = _optical_spline(cloud)
    optical = jnp.minimum(x, _UV_JOIN)
    powers = sum(jump * jnp.maximum(optical - knot, 0.0) ** 3 for knot, jump in zip(knots, jumps, strict=True))
    spline = _polynomial(coefficients, optical) + powers
    return jnp.where(x < _UV_JOIN, spline, _ultraviolet(jnp.maximum(x, _UV_JOIN), cloud, jnp))


def _ultraviolet(x: Any, cloud: _Cloud, numpy: Any) -> Any:
    """k of Fitzpatrick & Massa 1990, equations 1 and 2, its far-ultraviolet term linear above `_LAST`."""
    square = x * x
    drude = square / ((square - cloud.centre**2) ** 2 + square * cloud.width**2)
    rise, last = numpy.clip(x - 5.9, 0.0, _LAST - 5.9), _LAST - 5.9
    far = rise**2 * (0.5392 + 0.05644 * rise)
    far += last * (2 * 0.5392 + 3 * 0.05644 * last) * numpy.maximum(x - _LAST, 0.0)
    return 1 + (cloud.c1 + cloud.c2 * x + cloud.c3 * drude + cloud.c4 * far) / cloud.rv


@lru_cache
def _optical_spline(cloud: _Cloud) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """The optical spline as a cubic, and jumps of a sixth of the third derivative at knots: no intervals to look up.

    Returns:
        coefficients from the constant up; knots in inverse micron; jumps.
    """
    points: HostArray = np.array([(0.0, 0.0), *((1 / micron, k) for micron, k in cloud.points)])
    slope = (_ultraviolet(_UV_JOIN + 1e-6, cloud, np) - _ultraviolet(_UV_JOIN - 1e-6, cloud, np)) / 2e-6
    x = np.append(points[:, 0], _UV_JOIN)
    y = np.append(points[:, 1], _ultraviolet(_UV_JOIN, cloud, np))
    pieces = CubicSpline(x, y, bc_type=((2, 0.0), (1, slope))).c
    jumps = np.diff(pieces[0])
    return tuple(pieces[::-1, 0].tolist()), tuple(x[1:-1].tolist()), tuple(jumps.tolist())
