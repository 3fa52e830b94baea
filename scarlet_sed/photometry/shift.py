"""Spectra at a redshift, averaged through filters: a shift on the fine grid of ln(wavelength), smooth in redshift."""

import jax
import jax.numpy as jnp

from scarlet_sed.photometry.filters import Filters
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.typing import Array


def band_averages(rest: Array, first: int, filters: Filters, redshift: Array) -> Array:
    """The average through each filter of a rest-frame spectrum seen at a redshift.

    A redshift moves ln(wavelength) by ln(1 + z). The shifted spectrum is read off a cubic B-spline, whose blurring the
    filters' weights undo, so averages have two continuous derivatives in redshift.

    Args:
        rest: (cell,) means over fine cells; dark beyond them.
        first: index of the first cell.
        filters: with curves.
        redshift: a number.

    Returns:
        (band,) in the unit of `rest`; the caller brings in distance and 1 + z.
    """
    shift = jnp.log1p(redshift) / LOG_STEP
    whole = jnp.ceil(shift)
    width = filters.fine_weight.shape[-1]
    # dark cells on both sides, so that a window beyond the spectrum finds zeros
    padded = jnp.pad(rest, width + 3)
    start = filters.fine_start - whole.astype(filters.fine_start.dtype) - first + width + 2
    start = jnp.clip(start, 0, padded.shape[0] - width - 3)
    window = jax.lax.dynamic_slice(padded, (start,), (width + 3,))
    return filters.fine_weight @ _spline(window, whole - shift)


def _spline(coefficients: Array, t: Array) -> Array:
    """Cubic B-spline of the coefficients at the positions i + 1 + t, for i = 0 ... n - 4."""
    count = coefficients.shape[0] - 3
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return sum((w * coefficients[k : k + count] for k, w in enumerate(weights)), jnp.zeros(count, t.dtype)) / 6
