"""Spectra at a redshift, averaged through filters: a shift on the fine grid of ln(wavelength), smooth in redshift."""

import jax
import jax.numpy as jnp

from scarlet_sed.photometry.filters import Filters
from scarlet_sed.photometry.quadrature import LINE_STEP, LOG_STEP
from scarlet_sed.typing import Array, HostArray


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


def line_averages(lines: Array, log_wavelength: HostArray, filters: Filters, redshift: Array) -> Array:
    """What emission lines seen at a redshift add to each filter's average: delta functions through the curves.

    Args:
        lines: (line,) flux over frequency, per unit of ln(wavelength) (what a cell of a spectrum would hold times its
            width).
        log_wavelength: (line,) ln of the rest-frame wavelengths in Angstrom.
        filters: with curves.
        redshift: a number.

    Returns:
        (band,) in the unit of `lines`, with two continuous derivatives in redshift.
    """
    table = filters.line_response
    at = (jnp.asarray(log_wavelength, lines.dtype) + jnp.log1p(redshift)) / LINE_STEP - filters.line_start
    node = jnp.floor(at)
    t = at - node
    # the table begins and ends with zeros: lines beyond it are read there
    first = jnp.clip(node.astype(filters.line_start.dtype) - 1, 0, table.shape[0] - 4)
    rows = table[first[:, None] + jnp.arange(4)]
    weights = jnp.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    return jnp.einsum("l,lk,lkb->b", lines, weights, rows)


def _spline(coefficients: Array, t: Array) -> Array:
    """Cubic B-spline of the coefficients at the positions i + 1 + t, for i = 0 ... n - 4."""
    count = coefficients.shape[0] - 3
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return sum((w * coefficients[k : k + count] for k, w in enumerate(weights)), jnp.zeros(count, t.dtype)) / 6
