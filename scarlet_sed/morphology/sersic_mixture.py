"""Sersic profiles as mixtures of twenty Gaussians, smooth in the index.

The table `sersic_mixture.json` is made by `tools/fit_sersic_mixture.py`; between its knots in ln(index) the
amplitudes and the ends of the sequence of dispersions follow cubic splines (twice continuously differentiable).
Convolved with the model PSF, errors are below 3e-4 of the peak for every index and for half-light radii from 0.25 to
170 PSF dispersions along either axis (6e-4 at 250); the flux within any circle is right to 2e-4; derivatives in the
index are right to 1e-3, to 1e-2 below index 0.35.
"""

import json
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from scarlet_sed.typing import Array, HostArray

INDEX_RANGE = (0.3, 8.0)
"""Sersic indices for which the mixtures are fitted."""


class _Table(NamedTuple):
    coefficients: HostArray
    """(interval, power 3..0, column) of the splines, in units of an interval."""
    knots: HostArray
    """(row, column) values at the knots."""


@cache
def _table() -> _Table:
    record = json.loads(files("scarlet_sed.morphology").joinpath("sersic_mixture.json").read_text())
    rows = np.asarray(record["rows"])
    spline = CubicSpline(np.arange(len(rows)), rows)
    return _Table(np.moveaxis(spline.c, 0, 1), rows)


def sersic_mixture(index: Array) -> tuple[Array, Array]:
    """Amplitudes (component,), which sum to one, and dispersions (component,) in circularised half-light radii.

    Args:
        index: Sersic index; NaN comes out, never an extrapolation, where it leaves `INDEX_RANGE` by more than 1e-3.
    """
    low, high = INDEX_RANGE
    coefficients = _table().coefficients
    intervals = coefficients.shape[0]
    inside = (index > low - 1e-3) & (index < high + 1e-3)
    # the innermost where() keeps the logarithm's derivative finite outside the domain
    place = jnp.log(jnp.where(inside, index, 1.0) / low) * (intervals / np.log(high / low))
    place = jnp.where(inside, place, jnp.nan)
    interval = jnp.clip(jnp.nan_to_num(jnp.floor(place)), 0, intervals - 1).astype(int)
    step = place - interval
    cubic = jnp.asarray(coefficients, dtype=step.dtype)[interval]
    row = ((cubic[0] * step + cubic[1]) * step + cubic[2]) * step + cubic[3]
    fraction = np.linspace(0, 1, row.shape[0] - 2)
    return row[2:], jnp.exp(row[0] + (row[1] - row[0]) * fraction.astype(row.dtype))


@cache
def exponential_mixture() -> tuple[HostArray, HostArray]:
    """The amplitudes and dispersions at index one, on the host."""
    low, high = INDEX_RANGE
    table = _table()
    place = np.log(1 / low) * ((len(table.knots) - 1) / np.log(high / low))
    interval = int(place)
    cubic, step = table.coefficients[interval], place - interval
    row = ((cubic[0] * step + cubic[1]) * step + cubic[2]) * step + cubic[3]
    return row[2:], np.exp(np.linspace(row[0], row[1], len(row) - 2))
