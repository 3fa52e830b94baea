"""Attenuation curves of whole galaxies, where stars and dust are mixed."""

from typing import final

import jax.numpy as jnp

from scarlet_sed.dust.base import V_BAND, Curve, wavenumber
from scarlet_sed.parameters import parameter
from scarlet_sed.ranges import check_range
from scarlet_sed.typing import Array

RV_CALZETTI = 4.05
SLOPE_RANGE = (-1.6, 0.9)
"""Slopes of modified Calzetti curves; at 0.989, E(B-V) of the curve of Salim et al. is zero."""
BUMP_RANGE = (-2.0, 10.0)
POWER_RANGE = (0.0, 3.0)

_BLUE_END, _RED_END = 1 / 0.12, 1 / 2.2
"""Inverse micron where the polynomials of Calzetti et al. 2000 end."""
_JOIN = (1 / 0.645, 1 / 0.615)
"""Inverse micron between which the two polynomials are blended; published, one gives way to the other at 1 / 0.63."""


@final
class Calzetti(Curve):
    """The attenuation of starbursts: Calzetti et al. 2000, ApJ 533, 682, equation 4, with R_V = 4.05.

    k(5500 A) = 0.9995. The published polynomials, which differ by 0.006 at 6300 A where they meet, are blended between
    6150 and 6450 A. Where they end: below 1200 A k goes on linearly in 1 / wavelength (3.86 at 912 A); above 2.2 micron
    it falls as wavelength^-3.41, which continues value and slope (the formula would be negative beyond 2.85 micron).
    """

    def __call__(self, wavelength: Array) -> Array:
        """k at rest-frame wavelengths in Angstrom."""
        return _calzetti(wavenumber(wavelength))


@final
class Salim(Curve):
    """Calzetti's curve tilted, with a bump: Salim, Boquien & Lee 2018, ApJ 859, 11, equations 3 to 5.

    A_lambda / E(B-V) = k_Cal (R_V / 4.05) (lambda / 5500 A)^slope + D, with a Drude profile D at 2175 A of width 350 A
    and height `bump`, and R_V = 4.05 / (5.05 (4400 / 5500)^slope - 4.05); k is that over R_V. The bump is thus in units
    of the tilted curve's own E(B-V), as that of the Milky Way is about 3. (Noll et al. 2009, A&A 507, 1793, who
    introduced the form, and `KriekConroy` instead tilt the bump too, and scale it by R_V = 4.05.)

    k(5500 A) = 0.9995 + 0.0057 bump / R_V, where D has its wing. The tails are those of `Calzetti`, tilted.

    Args:
        slope: power of wavelength, -1.6 to 0.9; negative is steeper than Calzetti's.
        bump: height at 2175 A in units of E(B-V), -2 to 10.

    Raises:
        DomainError: if one of them, or the support of its prior, lies outside its range.
    """

    slope: Array = parameter(doc="power-law slope relative to Calzetti's curve", shape=())
    bump: Array = parameter(doc="height of the bump at 2175 A in units of E(B-V)", shape=())

    def __check_init__(self) -> None:
        check_range(self.slope, "Salim", "slope", *SLOPE_RANGE)
        check_range(self.bump, "Salim", "bump", *BUMP_RANGE)

    def __call__(self, wavelength: Array) -> Array:
        """k at rest-frame wavelengths in Angstrom."""
        x = wavenumber(wavelength)
        inverse_rv = ((RV_CALZETTI + 1) * jnp.exp(self.slope * jnp.log(4400.0 / V_BAND)) - RV_CALZETTI) / RV_CALZETTI
        return _calzetti(x) * _power(x, self.slope) + self.bump * inverse_rv * _drude(x)


@final
class KriekConroy(Curve):
    """Calzetti's curve tilted, its bump tied to the slope: Kriek & Conroy 2013, ApJL 775, L16, equations 1 to 3.

    k = (k_Cal + (0.85 - 1.9 slope) D) (lambda / 5500 A)^slope / 4.05, with the Drude profile D of `Salim`.
    k(5500 A) = 1.0007 - 0.0027 slope. The tails are those of `Calzetti`, tilted.

    Args:
        slope: power of wavelength, -1.6 to 0.9; negative is steeper than Calzetti's.

    Raises:
        DomainError: if the slope, or the support of its prior, lies outside its range.
    """

    slope: Array = parameter(doc="power-law slope relative to Calzetti's curve", shape=())

    def __check_init__(self) -> None:
        check_range(self.slope, "KriekConroy", "slope", *SLOPE_RANGE)

    def __call__(self, wavelength: Array) -> Array:
        """k at rest-frame wavelengths in Angstrom."""
        x = wavenumber(wavelength)
        bump = (0.85 - 1.9 * self.slope) / RV_CALZETTI
        return (_calzetti(x) + bump * _drude(x)) * _power(x, self.slope)


@final
class CharlotFall(Curve):
    """A power law, (lambda / 5500 A)^-slope: Charlot & Fall 2000, ApJ 539, 718, equation 5. k(5500 A) = 1.

    Their two components are this curve with `Attenuation(..., birth_cloud=3)` (their mu = 1 / 3).

    Args:
        slope: 0 (grey) to 3.

    Raises:
        DomainError: if the slope, or the support of its prior, lies outside 0 to 3.
    """

    slope: Array = parameter(doc="steepness of the power law", shape=(), default=0.7)

    def __check_init__(self) -> None:
        check_range(self.slope, "CharlotFall", "slope", *POWER_RANGE)

    def __call__(self, wavelength: Array) -> Array:
        """k at rest-frame wavelengths in Angstrom."""
        return _power(wavenumber(wavelength), -self.slope)


def _calzetti(x: Array) -> Array:
    """k of Calzetti et al. at inverse micron."""
    inner, outer = jnp.minimum(x, _BLUE_END), jnp.maximum(x, _RED_END)
    steep = 1.509 - 2 * 0.198 * _BLUE_END + 3 * 0.011 * _BLUE_END**2
    blue = -2.156 + inner * (1.509 + inner * (-0.198 + 0.011 * inner)) + steep * (x - inner)
    end = 2.659 * (-1.857 + 1.040 * _RED_END) + RV_CALZETTI
    tail = jnp.exp(2.659 * 1.040 * _RED_END / end * jnp.log(jnp.minimum(x, _RED_END) / _RED_END))
    red = (2.659 * (-1.857 + 1.040 * outer) + RV_CALZETTI) * tail
    t = jnp.clip((x - _JOIN[0]) / (_JOIN[1] - _JOIN[0]), 0.0, 1.0)
    return (red + t * t * (3 - 2 * t) * (2.659 * blue + RV_CALZETTI - red)) / RV_CALZETTI


def _drude(x: Array) -> Array:
    """Drude profile in wavelength at 2175 A, 350 A wide, of height one (Noll et al. 2009, equation 6).

    Its red wing, 2.6e-4 at 2.2 micron, fades beyond as wavelength^-5, or a negative bump would outlast the rest.
    """
    # lambda^2 g^2 / ((lambda^2 - c^2)^2 + lambda^2 g^2), divided through by lambda^4
    width = (0.035 * x) ** 2
    t = jnp.minimum(x / _RED_END, 1.0)
    return width / ((1 - (0.2175 * x) ** 2) ** 2 + width) * t**3 * (4 - 3 * t)


def _power(x: Array, slope: Array) -> Array:
    """(wavelength / 5500 A)^slope."""
    return jnp.exp(-slope * jnp.log(x * (V_BAND / 1e4)))
