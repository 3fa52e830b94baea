"""What the intergalactic gas lets through, on the cells of a rest-frame spectrum and at its lines."""

import math
from functools import lru_cache
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import DomainError, ParameterError, ShapeError
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.shared import Shared
from scarlet_sed.sps.inoue2014 import LINES, line_absorption
from scarlet_sed.typing import Array, ArrayLike, HostArray

LAST_REDSHIFT = 20.0

_ROW_STEP = 0.00125
"""Step in ln(1 + redshift) between rows of the table, to the nearest part of a cell."""
_PART = LOG_STEP / 16
"""Longest part of a cell, in ln(wavelength), in which transmission counts as constant."""
_BEFORE = 2
"""Rows before redshift zero, where nothing is absorbed."""
_DEEPEST = 80.0
"""Largest optical depth in the table: a transmission of 2e-35, near the smallest number of float32."""
_SAME_LINE = 2e-5
"""Relative distance (6 km/s) within which a line counts as one of the Lyman series."""


@final
class InterGalactic(Shared):
    """Mean transmission of the Lyman series of intergalactic hydrogen: Inoue et al. 2014, MNRAS 442, 1805.

    Cells hold the mean transmission over their width, as effective optical depths in a table in ln(1 + redshift) that
    is blended by cubic B-splines of positive weight. So transmission lies within 0 and 1 and has two continuous
    derivatives in redshift. It is right to 1.5e-4 at redshifts above 0.36 (worst at the kinks that the paper's power
    laws have near redshift 5). Below, the gas begins with a step where a line of redshift zero is crossed, 1.7 % at
    observed 1216 A, which takes a change of 0.0025 in ln(1 + redshift).

    The Lyman continuum is not absorbed: cells below 912 A hold the absorption in lines only, and must be dark. Redshift
    is a scalar from 0 to 20 (`jax.vmap` for more); traced values outside count as the nearest within.

    Args:
        depth: (row, cells_below + lines below) optical depths; made by `InterGalactic.on`.
        cells_below: the first cells of the spectrum, that have any part blueward of Lyman alpha.
        lines: number of lines.
        lines_below: indices of those blueward of Lyman alpha, it included.
        rows_per_log: rows of the table in one unit of ln(1 + redshift).
    """

    depth: Array
    cells_below: int = eqx.field(static=True)
    lines: int = eqx.field(static=True)
    lines_below: tuple[int, ...] = eqx.field(static=True)
    rows_per_log: float = eqx.field(static=True)

    @staticmethod
    def on(log_start: int, cells: int, lines: Any, step: float = LOG_STEP) -> "InterGalactic":
        """For a spectrum on cells centred at ln(rest-frame wavelength in Angstrom) = (log_start + j) * step.

        A line of the Lyman series lies just blueward of the edge that it makes: it is absorbed by its own transition.

        Args:
            log_start: index of the first cell.
            cells: number of cells.
            lines: (line,) rest-frame wavelengths of emission lines in Angstrom.
            step: width of a cell in ln(wavelength).

        Raises:
            ParameterError: if a line's wavelength, the step or the number of cells makes no sense.
        """
        wavelengths = np.atleast_1d(np.asarray(lines, np.float64))
        if wavelengths.ndim != 1 or not np.all(np.isfinite(wavelengths) & (wavelengths > 0)):
            raise ParameterError("lines are not (line,) positive wavelengths", fix="give them in Angstrom")
        if not (math.isfinite(step) and 1e-5 <= step <= 0.1) or cells < 0:
            raise ParameterError(f"{cells} cells of width {step}", fix="give 0 or more cells of width 1e-5 to 0.1")
        below = np.flatnonzero(wavelengths < LINES[0] * (1 + _SAME_LINE))
        cells_below = int(np.clip(np.ceil(np.log(LINES[0]) / step - log_start + 0.5), 0, cells))
        depth, rows_per_log = _table(log_start, cells_below, tuple(wavelengths[below].tolist()), step)
        return InterGalactic(as_float(depth), cells_below, wavelengths.size, tuple(below.tolist()), rows_per_log)

    def transmission(self, redshift: ArrayLike) -> Array:
        """(cells_below,) mean transmission of the first cells; all later ones have exactly one.

        Raises:
            DomainError: for a concrete redshift outside 0 to 20.
            ShapeError: if the redshift is not a scalar.
        """
        return jnp.exp(-self._blend(redshift)[: self.cells_below])

    def line_transmission(self, redshift: ArrayLike) -> Array:
        """(line,) transmission at each line, exactly one redward of Lyman alpha.

        Raises:
            DomainError: for a concrete redshift outside 0 to 20.
            ShapeError: if the redshift is not a scalar.
        """
        seen = jnp.exp(-self._blend(redshift)[self.cells_below :])
        return jnp.ones(self.lines, seen.dtype).at[np.array(self.lines_below, int)].set(seen)

    def _blend(self, redshift: ArrayLike) -> Array:
        u = jnp.log1p(_checked(redshift)) * self.rows_per_log
        u = jnp.clip(u, -1.0, math.log1p(LAST_REDSHIFT) * self.rows_per_log + 1.0) + _BEFORE
        row = jnp.floor(u)
        t = u - row
        weights = jnp.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
        rows = jax.lax.dynamic_slice_in_dim(self.depth, row.astype(jnp.int32) - 1, 4)
        return jnp.sum(weights[:, None] * rows, axis=0)


def _checked(redshift: ArrayLike) -> Array:
    z = as_float(redshift)
    if z.ndim:
        raise ShapeError(f"a redshift of shape {z.shape} where one number is wanted", fix="jax.vmap over redshifts")
    if not isinstance(z, jax.core.Tracer) and not 0 <= float(z) <= LAST_REDSHIFT:
        raise DomainError(
            f"intergalactic absorption is known for redshifts of 0 to {LAST_REDSHIFT:g}, not {float(z):g}",
            fix="choose a redshift within them",
        )
    return z


@lru_cache(maxsize=8)
def _table(log_start: int, cells: int, lines: tuple[float, ...], step: float) -> tuple[HostArray, float]:
    """Optical depths (row, cells + lines), and rows per unit of ln(1 + redshift).

    The gas sees only observed wavelengths, so sums over lines are made once on a grid of them in parts of a cell; what
    a part of a cell lets through at successive redshifts is every `stride`-th entry.
    """
    parts = math.ceil(step / _PART - 1e-9)
    part = step / parts
    stride = max(1, round(_ROW_STEP / part))
    rows = math.ceil(math.log1p(LAST_REDSHIFT) / (stride * part)) + _BEFORE + 4
    log_lines, first = np.log(LINES), (log_start - 0.5) * step
    log_redshift = (np.arange(rows) - _BEFORE) * (stride * part)

    observed = first + log_redshift[0] + (np.arange(cells * parts + (rows - 1) * stride) + 0.5) * part
    sums = np.cumsum([line_absorption(line, observed - at) for line, at in enumerate(log_lines)], axis=0)
    behind = np.concatenate([np.ones((1, observed.size)), np.exp(-sums)])  # behind none, one, two ... lines
    seen = np.zeros((cells, rows))
    for k in range(cells * parts):
        low, high = first + k * part, first + (k + 1) * part
        # a part that holds lines lies partly behind each of them: cut it there, from the red
        cuts = np.concatenate([[high], log_lines[(log_lines > low) & (log_lines < high)], [low]])
        for number, width in enumerate(cuts[:-1] - cuts[1:], start=int(np.sum(log_lines >= high))):
            seen[k // parts] += width / step * behind[number, k : k + (rows - 1) * stride + 1 : stride]

    depth = -np.log(np.maximum(seen.T, np.exp(-_DEEPEST)))
    at_lines = np.zeros((rows, len(lines)))
    for index, wavelength in enumerate(lines):
        for line, at in enumerate(log_lines[wavelength < LINES * (1 + _SAME_LINE)]):
            at_lines[:, index] += line_absorption(line, min(np.log(wavelength), at) - at + log_redshift)
    return np.concatenate([depth, np.minimum(at_lines, _DEEPEST)], axis=1), 1 / (stride * part)
