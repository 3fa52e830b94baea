"""Ellipses on the sky: ellipticity (e1, e2) to and from axis ratio and position angle.

e1 = g cos 2PA, e2 = g sin 2PA with g = (1 - q) / (1 + q), position angle PA east of north. The *circularised* radius
sqrt(a b) is the one that morphologies carry, because it is smooth where an ellipse becomes a circle.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from astropy.units import Quantity, UnitConversionError, deg
from scipy.optimize import brentq

from scarlet_sed.errors import DomainError, UnitError
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array, ArrayLike, HostArray


def ellipticity(axis_ratio: ArrayLike, angle: ArrayLike | Quantity = 0.0) -> Array:
    """(..., 2) ellipticity of ellipses of a given axis ratio and position angle.

    Args:
        axis_ratio: minor over major axis, 0 < q <= 1.
        angle: position angle of the major axis, east of north: degrees, or a Quantity of any angular unit.

    Raises:
        DomainError: if an axis ratio lies outside (0, 1].
        UnitError: if the angle is a Quantity that is not an angle.
    """
    if isinstance(angle, Quantity):
        try:
            angle = angle.to_value(deg)
        except UnitConversionError as error:
            raise UnitError(f"the angle is given in {angle.unit}", fix="give it in degrees") from error
    if not isinstance(axis_ratio, jax.core.Tracer) and not np.all(
        (np.asarray(axis_ratio) > 0) & (np.asarray(axis_ratio) <= 1)
    ):
        raise DomainError(f"axis ratio {axis_ratio!s} lies outside (0, 1]", fix="give minor over major axis")
    ratio, twice = as_float(axis_ratio), 2 * jnp.deg2rad(as_float(angle))
    g = (1 - ratio) / (1 + ratio)
    return jnp.stack(jnp.broadcast_arrays(g * jnp.cos(twice), g * jnp.sin(twice)), axis=-1)


def axis_ratio(ellipticity: ArrayLike) -> Array:
    """(...) minor over major axis of (..., 2) ellipticities; not differentiable where it is one."""
    g = jnp.hypot(*jnp.moveaxis(jnp.asarray(ellipticity), -1, 0))
    return (1 - g) / (1 + g)


def position_angle(ellipticity: ArrayLike) -> Array:
    """(...) position angle of the major axis in degrees east of north, within [0, 180)."""
    e1, e2 = jnp.moveaxis(jnp.asarray(ellipticity), -1, 0)
    return jnp.rad2deg(jnp.arctan2(e2, e1) / 2) % 180.0


def semi_major(radius: ArrayLike, ellipticity: ArrayLike) -> Array:
    """Half-light semi-major axis (..., arcsec) from circularised half-light radius (arcsec) and ellipticity."""
    return jnp.asarray(radius) / jnp.sqrt(axis_ratio(ellipticity))


def circularised(semi_major: ArrayLike, axis_ratio: ArrayLike) -> Array:
    """Circularised half-light radius sqrt(a b) (..., arcsec) from semi-major axis (arcsec) and axis ratio."""
    return jnp.asarray(semi_major) * jnp.sqrt(jnp.asarray(axis_ratio))


def shape_matrix(ellipticity: Array) -> Array:
    """(2, 2) matrix of unit determinant, in the basis (east, north), that takes the unit circle to the ellipse."""
    e1, e2 = ellipticity[0], ellipticity[1]
    return jnp.stack([jnp.stack([1 - e1, e2]), jnp.stack([e2, 1 + e1])]) / jnp.sqrt(
        1 - jnp.sum(jnp.square(ellipticity))
    )


def circle_holding(growth: Callable[[HostArray], HostArray], fraction: float, ellipticity: HostArray) -> float:
    """Radius of the circle that holds a fraction of an elliptical profile's flux, in circularised half-light radii.

    The flux within a circle of radius R is the mean over directions of growth(R / stretch of the direction).

    Args:
        growth: fraction of the flux within a radius (in half-light radii) of the circular profile.
        fraction: 0 < fraction < 1.
        ellipticity: (2,).

    Raises:
        DomainError: if the fraction lies outside (0, 1).
    """
    if not 0 < fraction < 1:
        raise DomainError(f"a fraction of the flux of {fraction}", fix="ask for a fraction between 0 and 1")
    ratio = float(axis_ratio(np.asarray(ellipticity, dtype=np.float64)))
    angles = np.pi * (np.arange(64) + 0.5) / 64
    stretch = np.sqrt(np.cos(angles) ** 2 / ratio + np.sin(angles) ** 2 * ratio)

    def excess(log_radius: float) -> float:
        return float(np.mean(growth(np.exp(log_radius) / stretch)) - fraction)

    return float(np.exp(brentq(excess, np.log(1e-6), np.log(1e9), xtol=1e-6)))
