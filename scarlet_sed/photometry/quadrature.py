"""Quadratures of a transmission curve: Gauss nodes for smooth spectra, a fixed fine grid for structured ones."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scarlet_sed.typing import HostArray

LOG_STEP = 0.001
"""Step of the fine grid in ln(wavelength): 300 km/s. A shift by one step multiplies the wavelength by exp(LOG_STEP)."""

CUBIC = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6
"""The cubic B-spline: (power of t, coefficient), for the share t of the way between the second and third of four."""


class Measure(NamedTuple):
    """The weight T dlambda / lambda of a filter, normalised, as masses on points.

    Args:
        log_wavelength: (n,) ln Angstrom, increasing.
        mass: (n,) not negative, sum one.
    """

    log_wavelength: HostArray
    mass: HostArray

    @staticmethod
    def of_curve(wavelength: HostArray, transmission: HostArray) -> "Measure":
        """From a curve linear between its points: 3 Gauss-Legendre points between neighbours of curve and fine grid."""
        cells = np.log(wavelength[[0, -1]]) / LOG_STEP
        lines = np.exp(np.arange(np.ceil(cells[0]), np.floor(cells[1]) + 1) * LOG_STEP)
        edges = np.union1d(wavelength, lines)
        nodes, weights = np.polynomial.legendre.leggauss(3)
        half = 0.5 * np.diff(edges)[:, None]
        points = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes).ravel()
        mass = (half * weights).ravel() * np.interp(points, wavelength, transmission) / points
        return Measure(np.log(points), mass / mass.sum())


def gauss_nodes(measure: Measure, count: int) -> tuple[HostArray, HostArray]:
    """Gauss quadrature of a filter in ln(wavelength), exact for polynomials of degree 2 count - 1.

    Lanczos' recurrence with full reorthogonalisation gives the Jacobi matrix of the measure, whose eigenvalues are
    the nodes (Golub & Welsch 1969; Gautschi 2004, section 2.2).

    Returns:
        (count,) wavelengths in Angstrom, and (count,) weights, positive with sum one.
    """
    low, high = measure.log_wavelength[0], measure.log_wavelength[-1]
    x = (2 * measure.log_wavelength - low - high) / (high - low)
    basis = [np.sqrt(measure.mass)]
    diagonal, off_diagonal = [], []
    for _ in range(count):
        product = x * basis[-1]
        diagonal.append(product @ basis[-1])
        for _ in range(2):
            product = product - np.stack(basis).T @ (np.stack(basis) @ product)
        off_diagonal.append(np.linalg.norm(product))
        basis.append(product / off_diagonal[-1])
    jacobi = np.diag(diagonal) + np.diag(off_diagonal[:-1], 1) + np.diag(off_diagonal[:-1], -1)
    nodes, vectors = np.linalg.eigh(jacobi)
    weights = np.square(vectors[0])
    return np.exp(0.5 * (low + high + nodes * (high - low))), weights / weights.sum()


def fine_weights(measures: Sequence[Measure]) -> tuple[int, HostArray]:
    """Filters on the grid ln(wavelength) = integer * LOG_STEP, for spectra averaged over its cells.

    Each mass is shared between its two neighbours. Sharing, averages over cells and the cubic B-spline that shifts
    them (`scarlet_sed.photometry.shift`) blur with variances of 1/6, 1/12 and 1/3 squared steps; half their sum times
    the second difference is taken off, so that fluxes are right to the fourth order in the step.

    Returns:
        the integer of the first node, common to all, and (band, fine) weights, the sum of each band one.
    """
    cells = [measure.log_wavelength / LOG_STEP for measure in measures]
    first = min(int(np.floor(cell[0])) for cell in cells) - 1
    width = max(int(np.floor(cell[-1])) for cell in cells) - first + 3
    rows = np.zeros((len(measures), width))
    for band, (cell, measure) in enumerate(zip(cells, measures, strict=True)):
        left = np.floor(cell).astype(int)
        share = cell - left
        rows[band] += np.bincount(left - first, measure.mass * (1 - share), minlength=width)
        rows[band] += np.bincount(left - first + 1, measure.mass * share, minlength=width)
    padded = np.pad(rows, ((0, 0), (1, 1)))
    return first, rows - _BLUR / 2 * (padded[:, :-2] - 2 * rows + padded[:, 2:])


_BLUR = 1 / 6 + 1 / 12 + 1 / 3


LINE_STEP = LOG_STEP / 4
"""Step in ln(wavelength) of the curves that emission lines are read off: 75 km/s."""


def line_responses(curves: Sequence[tuple[HostArray, HostArray]]) -> tuple[int, HostArray]:
    """What a line of unit flux over frequency adds to each band, on the grid ln(wavelength) = integer * LINE_STEP.

    A line is a delta function, so that is the curve itself over its integral in ln(wavelength). The cubic B-spline that
    reads it off blurs with a variance of a third of a squared step, too little to undo: responses stay positive.

    Args:
        curves: wavelength in Angstrom and transmission of each band, linear between the points, zero outside.

    Returns:
        the integer of the first node, and (node, band) responses per unit of ln(wavelength), zero at both ends.
    """
    first = min(int(np.floor(np.log(w[0]) / LINE_STEP)) for w, _ in curves) - 6
    last = max(int(np.ceil(np.log(w[-1]) / LINE_STEP)) for w, _ in curves) + 6
    nodes = np.exp(np.arange(first, last + 1) * LINE_STEP)
    columns = []
    for wavelength, transmission in curves:
        # exactly the integral of T / lambda for T linear between points
        slope = np.diff(transmission) / np.diff(wavelength)
        offset = transmission[:-1] - slope * wavelength[:-1]
        norm = np.sum(offset * np.diff(np.log(wavelength)) + slope * np.diff(wavelength))
        columns.append(np.interp(nodes, wavelength, transmission, left=0.0, right=0.0) / norm)
    return first, np.stack(columns, axis=1)
