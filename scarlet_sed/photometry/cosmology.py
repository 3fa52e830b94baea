"""Distances and ages in a flat universe."""

import math
from typing import Any, final

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy import constants

from scarlet_sed.errors import DomainError, ParameterError
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array, ArrayLike

_SPEED_OF_LIGHT = float(constants.c.to_value("km/s"))
_HUBBLE_TIME = float((1 * u.s * u.Mpc / u.km).to_value(u.Gyr))
"""Gyr of 1 / H0 for H0 = 1 km/s/Mpc."""
_TEN_PARSEC = 1e-5
"""Mpc."""

_NODES, _WEIGHTS = (0.5 * (np.polynomial.legendre.leggauss(24)[k] + 1 - k) for k in (0, 1))
"""Gauss-Legendre quadrature on 0 to 1."""


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise ParameterError(f"a Cosmology is made of numbers, not {value!r}", fix="give plain numbers, H0 in km/s/Mpc")
    return float(value)


@final
class Cosmology(eqx.Module):
    """A flat universe of matter and dark energy of constant equation of state; radiation is neglected.

    E(z)^2 = Om0 (1 + z)^3 + (1 - Om0) (1 + z)^(3 + 3 w0) (Hogg 1999, astro-ph/9905116; Linder 2003, PRL 90, 091301).
    With x = (1 + z)^(-1/2), distance and age are integrals of 2 dx and 2 x^2 dx over a smooth root, and 24
    Gauss-Legendre nodes give them to 1e-8 for z from 0 to 20 (to 2e-6 in float32).

    Redshifts are concrete or traced, of any shape, and results have that shape. Traced ones are not checked.

    Args:
        H0: Hubble constant in km/s/Mpc, 10 to 200.
        Om0: matter density over the critical one today, 0.01 to 1.
        w0: pressure over density of dark energy, -2 to -1/3.

    Raises:
        ParameterError: if one of them is not a number.
        DomainError: if one lies outside its range.
    """

    H0: float = eqx.field(static=True, default=70.0, converter=_number)
    Om0: float = eqx.field(static=True, default=0.3, converter=_number)
    w0: float = eqx.field(static=True, default=-1.0, converter=_number)

    def __check_init__(self) -> None:
        for name, low, high in (("H0", 10.0, 200.0), ("Om0", 0.01, 1.0), ("w0", -2.0, -1 / 3)):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise DomainError(
                    f"Cosmology: {name} = {value:g} lies outside {low:g} to {high:.4g}",
                    fix=f"choose {name} within them (H0 is in km/s/Mpc)",
                )

    def luminosity_distance(self, redshift: ArrayLike) -> Array:
        """Mpc; zero at redshift zero.

        Raises:
            DomainError: for a concrete redshift below zero.
        """
        z = _checked(redshift, zero=True)
        # the range of the integral itself keeps its digits at small redshift
        span = -jnp.expm1(-0.5 * jnp.log1p(z))
        nodes, weights = as_float(_NODES), as_float(_WEIGHTS)
        x = 1 - span[..., None] * nodes
        comoving = span * jnp.sum(2 * weights / self._root(x), axis=-1)
        return _SPEED_OF_LIGHT / self.H0 * (1 + z) * comoving

    def age(self, redshift: ArrayLike) -> Array:
        """Gyr since the Big Bang.

        Raises:
            DomainError: for a concrete redshift below zero.
        """
        z = _checked(redshift, zero=True)
        last = jnp.exp(-0.5 * jnp.log1p(z))
        nodes, weights = as_float(_NODES), as_float(_WEIGHTS)
        x = last[..., None] * nodes
        return 2 * _HUBBLE_TIME / self.H0 * last * jnp.sum(weights * jnp.square(x) / self._root(x), axis=-1)

    def dimming(self, redshift: ArrayLike) -> Array:
        """(1 + z) (10 pc / luminosity distance)^2: flux f_nu received over f_nu at 10 pc from the same source at rest.

        The received f_nu is at the wavelength 1 + z times longer.

        Raises:
            DomainError: for a concrete redshift of zero or below, where no distance follows from it. A traced zero
                gives infinity.
        """
        z = _checked(redshift, zero=False)
        return (1 + z) * jnp.square(_TEN_PARSEC / self.luminosity_distance(z))

    def _root(self, x: Array) -> Array:
        """E(z) / (1 + z)^(3/2) at x = (1 + z)^(-1/2)."""
        return jnp.sqrt(self.Om0 + (1 - self.Om0) * x ** (-6 * self.w0))


def _checked(redshift: ArrayLike, zero: bool) -> Array:
    """The redshift as an array, refused if it is concrete and negative (or zero, where that has no meaning)."""
    z = as_float(redshift)
    if not isinstance(z, jax.core.Tracer):
        host = np.asarray(z)
        if not np.all(np.isfinite(host) & ((host >= 0) if zero else (host > 0))):
            raise DomainError(
                f"the redshift {np.array2string(host, threshold=6, precision=6)} has no "
                f"{'place in the past' if zero else 'distance'}",
                fix=f"give finite redshifts {'of zero or more' if zero else 'above zero'}",
            )
    return z
