"""Spectra at a redshift, averaged through filters: a shift on the fine grid of ln(wavelength), smooth in redshift."""

import jax
import jax.numpy as jnp

from scarlet_sed.photometry.filters import Filters
from scarlet_sed.photometry.quadrature import CUBIC, LINE_STEP, LOG_STEP
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
    # dark cells on both sides, so that a window beyond the spectrum finds zeros (not jnp.pad: XLA would compute the
    # spectrum inside of it, cell by cell behind a branch, at half the speed)
    dark = jnp.zeros(width + 3, rest.dtype)
    padded = jnp.concatenate([dark, rest, dark])
    start = filters.fine_start - whole.astype(filters.fine_start.dtype) - first + width + 2
    start = jnp.clip(start, 0, padded.shape[0] - width - 3)
    window = jax.lax.dynamic_slice(padded, (start,), (width + 3,))
    return _cubic(whole - shift) @ (filters.fine_powers @ window)


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
    # the table begins and ends with zeros: lines beyond it are read there
    first = jnp.clip(node.astype(filters.line_start.dtype) - 1, 0, table.shape[0] - 4)
    rows = jax.vmap(lambda row: jax.lax.dynamic_slice_in_dim(table, row, 4))(first)
    weights = _cubic(at - node) @ jnp.asarray(CUBIC, lines.dtype)
    # in this order, or XLA copies the rows
    return lines @ jnp.einsum("lk,lkb->lb", weights, rows)


def _cubic(t: Array) -> Array:
    """(..., 4) powers of t from 0 to 3."""
    return jnp.stack([jnp.ones_like(t), t, t**2, t**3], axis=-1)
