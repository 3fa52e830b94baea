"""Parts of the reference model: dust, intergalactic gas, filters, distance, interpolation.

Written from papers and from the package's documented conventions, in float64 numpy, without any code of the package.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from astropy.cosmology import FlatLambdaCDM
from numpy.typing import NDArray
from scipy.integrate import quad

Values = NDArray[np.floating]

SPEED_OF_LIGHT = 299792458.0
PARSEC_CM = 648000 / np.pi * 149597870700.0 * 100


def calzetti(wavelength: Values, *, published: bool = False) -> Values:
    """A / A_V of Calzetti et al. (2000), equation 4.

    Documented conventions: the two polynomials give way to each other between 6150 and 6450 A (3 t^2 - 2 t^3 in
    inverse wavelength), linear in inverse wavelength below 1200 A, a power law of continued value and slope above
    2.2 micron. `published` has a step at 6300 A, zero above 3.1 micron, and below 1200 A a power law, as bagpipes has.
    """
    micron = np.asarray(wavelength) / 1e4

    def short(x: Any) -> Any:
        return 2.659 * (-2.156 + 1.509 / x - 0.198 / x**2 + 0.011 / x**3) + 4.05

    def long(x: Any) -> Any:
        return 2.659 * (-1.857 + 1.040 / x) + 4.05

    if published:
        k = np.where(micron < 0.63, short(micron), np.where(micron < 3.1, long(micron), 0.0))
        return np.where(micron < 0.12, short(0.12) * (micron / 0.12) ** -0.77, k) / 4.05
    blue_slope = 2.659 * (1.509 - 2 * 0.198 / 0.12 + 3 * 0.011 / 0.12**2)
    blue = np.where(micron < 0.12, short(0.12) + blue_slope * (1 / micron - 1 / 0.12), short(micron))
    power = -2.659 * 1.040 / 2.2 / long(2.2)
    red = np.where(micron > 2.2, long(2.2) * (micron / 2.2) ** power, long(micron))
    t = np.clip((1 / micron - 1 / 0.645) / (1 / 0.615 - 1 / 0.645), 0.0, 1.0)
    mix = t**2 * (3 - 2 * t)
    return (mix * blue + (1 - mix) * red) / 4.05


def salim(wavelength: Values, slope: float, bump: float) -> Values:
    """A / A_V of Salim, Boquien & Lee (2018), equations 3 to 5; the bump's wing fades beyond 2.2 micron."""
    wave = np.asarray(wavelength)
    tilt = (wave / 5500.0) ** slope
    rv = 4.05 / (5.05 * (4400.0 / 5500.0) ** slope - 4.05)
    drude = (wave * 350.0) ** 2 / ((wave**2 - 2175.0**2) ** 2 + (wave * 350.0) ** 2)
    fade = np.minimum(22000.0 / wave, 1.0)
    return calzetti(wave) * tilt + bump / rv * drude * fade**3 * (4 - 3 * fade)


class Inoue:
    """Mean optical depth of the Lyman series, Inoue et al. (2014), equations 21 and 22.

    Args:
        table: file with table 2 (bagpipes ships it).
    """

    def __init__(self, table: Path) -> None:
        self.rows = np.loadtxt(table)[:, 1:]
        self.edges = self.rows[:, 0]

    def transmission(self, rest: Values, redshift: float, slack: float = 1.0) -> Values:
        """The part of light of these rest wavelengths that arrives; `slack` widens what counts as bluer than a line."""
        through = np.zeros(np.shape(rest))
        observed = np.asarray(rest) * (1 + redshift)
        for at, a1, a2, a3, d1, d2 in self.rows:
            # absorbed where the light passes the line's wavelength on its way
            gas = (observed > at) & (np.asarray(rest) < at * slack)
            ratio = np.minimum(observed / at, 1 + redshift)
            forest = np.select([ratio < 2.2, ratio < 5.7], [a1 * ratio**1.2, a2 * ratio**3.7], a3 * ratio**5.5)
            damped = np.where(ratio < 3.0, d1 * ratio**2, d2 * ratio**3)
            through += np.where(gas, forest + damped, 0.0)
        return np.exp(-through)


class Curve:
    """A transmission curve of astro-sedpy, what is above 1e-5 of its peak, and its norm int T dlambda / lambda."""

    def __init__(self, name: str) -> None:
        folder = Path(str(files("sedpy"))) / "data" / "filters"
        table = np.loadtxt(folder / f"{name}.par", usecols=(0, 1))
        wavelength, first = np.unique(table[:, 0], return_index=True)
        through = np.clip(table[first, 1], 0.0, None)
        seen = np.nonzero(through > 1e-5 * through.max())[0]
        part = slice(max(seen[0] - 1, 0), seen[-1] + 2)
        self.wavelength, self.through = wavelength[part], through[part]
        points, widths = gauss_points(self.wavelength)
        weight = widths * np.interp(points, self.wavelength, self.through) / points
        self.norm = float(weight.sum())
        self.bounds = np.interp([5e-4, 1 - 5e-4], np.cumsum(weight) / self.norm, points)
        """Angstrom, 99.9 % of the transmission lies between."""
        self.pivot = float(np.sqrt(np.sum(weight * points**2) / self.norm))


def gauss_points(edges: Values, order: int = 3) -> tuple[Values, Values]:
    """Gauss-Legendre points and weights in every interval between neighbouring edges, flattened."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()


def interpolation_weights(x: float, nodes: Values) -> Values:
    """Weights of nodes under linear interpolation, constant beyond the ends."""
    return np.array([np.interp(x, nodes, one) for one in np.eye(nodes.size)])


_UNIVERSE = FlatLambdaCDM(H0=70.0, Om0=0.3, Tcmb0=0.0)


def age_of_universe(redshift: float) -> float:
    """Gyr, by astropy."""
    return float(_UNIVERSE.age(redshift).value)


@lru_cache(maxsize=10000)
def sphere(redshift: float) -> float:
    """4 pi d_L^2 in cm^2, the comoving distance by adaptive quadrature."""
    inverse_e = quad(lambda z: (0.3 * (1 + z) ** 3 + 0.7) ** -0.5, 0.0, redshift, epsabs=0, epsrel=1e-12)[0]
    distance = (1 + redshift) * SPEED_OF_LIGHT / 1e3 / 70.0 * inverse_e
    return float(4 * np.pi * (distance * 1e6 * PARSEC_CM) ** 2)
