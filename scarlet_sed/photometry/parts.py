"""Bands cut into three parts, so that what happens to light within a band is right to second order."""

import math

import jax.numpy as jnp

from scarlet_sed.errors import ParameterError
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.photometry.quadrature import LINE_STEP, LOG_STEP
from scarlet_sed.typing import Array

PARTS = 3
_SPAN = math.sqrt(9 / 5)
"""Distance between nodes over the band's standard deviation: Gauss's three nodes of a box in ln(wavelength)."""


def in_parts(filters: Filters, count: int) -> tuple[Filters, Array]:
    """Each band as three, which have one of its nodes each, and whose fluxes add up to its own.

    The nodes lie at the mean and to both sides of it, in ln(wavelength) weighted by the band alone, so that they do not
    move with a spectrum. A part is the band times the polynomial of degree two that is one at its node and zero at the
    others. So for any spectrum, lines included, and any transmission t in front of it, the sum over parts of flux times
    t(node) is the band's flux behind t as far as t is a parabola across the band. Fluxes of parts can be negative where
    the light lies to one side.

    Args:
        filters: with curves.
        count: 3.

    Returns:
        filters for (band * 3) parts, band by band, and the (band, 3) wavelengths of the nodes in Angstrom.

    Raises:
        FilterError: if the filters have no curves.
        ParameterError: for another count.
    """
    if count != PARTS:
        raise ParameterError(f"{count} nodes a band", fix=f"choose 1 or {PARTS}")
    filters.require_curves(f"light at {PARTS} nodes a band")
    x = jnp.log(filters.wavelength)
    centre = jnp.sum(filters.weight * x, axis=-1, keepdims=True)
    span = _SPAN * jnp.sqrt(jnp.sum(filters.weight * (x - centre) ** 2, axis=-1, keepdims=True))
    at = jnp.exp(centre + jnp.arange(-1, 2) * span)

    def share(log_wavelength: Array, weight: Array) -> Array:
        """(band * 3, n) the weights of the parts, of (band, n) of the bands."""
        u = (log_wavelength - centre) / span
        each = jnp.stack([u * (u - 1) / 2, 1 - u * u, u * (u + 1) / 2], axis=1)
        return (each * weight[:, None]).reshape(-1, weight.shape[-1])

    fine = (filters.fine_start + jnp.arange(filters.fine_weight.shape[-1])) * LOG_STEP
    lines = (filters.line_start + jnp.arange(filters.line_response.shape[0])) * LINE_STEP
    parts = Filters(
        names=tuple(f"{name}, part {part} of {PARTS}" for name in filters.names for part in range(1, PARTS + 1)),
        curves=True,
        pivot=at.ravel(),
        wavelength=jnp.repeat(filters.wavelength, PARTS, axis=0),
        weight=share(x, filters.weight),
        fine_start=filters.fine_start,
        fine_weight=share(fine[None], filters.fine_weight),
        line_start=filters.line_start,
        line_response=share(lines[None], filters.line_response.T).T,
    )
    return parts, at
