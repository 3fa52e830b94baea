"""Spectra averaged over the cells of the fine grid of ln(wavelength), photons conserved."""

import numpy as np
from numpy.typing import NDArray

from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.typing import HostArray

LIGHT_SPEED = 2.99792458e18
"""Angstrom per second (SI, exact)."""


def nearest_cell(wavelength: float) -> int:
    """The index of the fine cell that a wavelength in Angstrom lies in; its centre is exp(index * LOG_STEP)."""
    return int(np.rint(np.log(wavelength) / LOG_STEP))


def cell_averages(wavelength: HostArray, f_lambda: HostArray, first: int, last: int) -> HostArray:
    """The mean of lambda^2 f_lambda over each cell in ln(wavelength), for f_lambda linear between its points.

    f_nu dln(lambda) counts photons, so none is lost or made between cells. Cells beyond the points are dark.

    Args:
        wavelength: (n,) Angstrom, increasing.
        f_lambda: (..., n) in any unit per Angstrom.
        first: index of the first cell.
        last: index of the last cell.

    Returns:
        (..., last - first + 1); divided by `LIGHT_SPEED` it is the mean of f_nu in that unit per Hz.
    """
    edges = np.exp((np.arange(first, last + 2) - 0.5) * LOG_STEP)
    # lambda^2 f_lambda dln(lambda) = f_lambda lambda dlambda: a cubic on each piece, integrated from its left end
    slope = np.diff(f_lambda, axis=-1) / np.diff(wavelength)
    left = wavelength[:-1]

    def piece(at: HostArray, k: NDArray[np.integer]) -> HostArray:
        step = at - left[k]
        mean: HostArray = f_lambda[..., k] * (left[k] + step / 2) + slope[..., k] * step * (left[k] / 2 + step / 3)
        return step * mean

    pieces = piece(wavelength[1:], np.arange(left.size))
    whole = np.concatenate([np.zeros((*f_lambda.shape[:-1], 1)), np.cumsum(pieces, axis=-1)], axis=-1)
    inside = np.clip(edges, wavelength[0], wavelength[-1])
    k = np.clip(np.searchsorted(wavelength, inside, side="right") - 1, 0, left.size - 1)
    averages: HostArray = np.diff(whole[..., k] + piece(inside, k), axis=-1) / LOG_STEP
    return averages
