"""Fit the Gaussian mixtures that stand for Sersic profiles, and write scarlet_sed/morphology/sersic_mixture.json.

For each index, amplitudes are the linear least-squares fit (small ridge) to the unit-flux profile of half-light
radius one, convolved with round Gaussians from 0.006 to 4 half-light radii (the model PSF around sources of every
size, and PSFs broader than the source), together with its curve of growth. Errors are weighted by
1 / (local brightness + 1 % of the peak). The dispersions are geometric sequences whose ends are polynomials in the
index, found once by minimising the worst error over indices (Nelder-Mead, 700 steps).

Run: python tools/fit_sersic_mixture.py          (about 5 s)
"""

import json
from pathlib import Path

import numpy as np
from numpy.polynomial.chebyshev import chebval
from numpy.typing import NDArray
from scipy.special import gamma, gammainc, gammaincinv, i0e

OUT = Path(__file__).parent.parent / "scarlet_sed" / "morphology" / "sersic_mixture.json"
COMPONENTS, KNOTS, RIDGE = 20, 65, 1e-10
INDEX_RANGE = (0.3, 8.0)
# ln of the smallest and the largest dispersion, in half-light radii: Chebyshev series in ln(index)
SMALLEST = (-4.62668294, -2.16532874, 0.78075164, -0.01567221, -0.21329083)
LARGEST = (2.09916288, 2.53009669, 0.36888845, -0.0149191, -0.03342664)
PSF_SIGMAS = (0.006, 0.02, 0.06, 0.15, 0.35, 0.7, 1.5, 4.0)

Vector = NDArray[np.float64]


def convolved(index: float, sigma: float, radii: Vector) -> Vector:
    """The profile convolved with a round Gaussian, by Gauss-Legendre panels around each radius."""
    b = gammaincinv(2 * index, 0.5)
    norm = 2 * np.pi * index * b ** (-2 * index) * gamma(2 * index)
    farthest = (gammaincinv(2 * index, 1 - 1e-9) / b) ** index
    nodes, weights = np.polynomial.legendre.leggauss(16)
    values = np.empty_like(radii)
    for i, radius in enumerate(radii):
        low, high = max(radius - 9 * sigma, 0.0), min(radius + 9 * sigma, farthest)
        if low <= 0:
            edges = np.concatenate([np.geomspace(1e-7, 0.1, 14), np.arange(0.3, high / sigma + 0.3, 0.3)]) * sigma
            edges = np.unique(np.concatenate([[0.0], edges[edges <= high], [high]]))
        else:
            edges = np.unique(np.concatenate([np.linspace(low, high, 50), np.geomspace(low, high, 30)]))
        middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        r = (middle[:, None] + half[:, None] * nodes).ravel()
        kernel = np.exp(-0.5 * ((radius - r) / sigma) ** 2) * i0e(radius * r / sigma**2) * r / sigma**2
        values[i] = np.sum((half[:, None] * weights).ravel() * np.exp(-b * r ** (1 / index)) / norm * kernel)
    return values


def amplitudes(index: float, sigmas: Vector) -> Vector:
    """The least-squares amplitudes at one index, scaled to a sum of one."""
    b = gammaincinv(2 * index, 0.5)
    outer = (gammaincinv(2 * index, 0.9995) / b) ** index
    blocks, targets = [], []
    for psf in PSF_SIGMAS:
        radii = np.concatenate([[0.0], np.geomspace(0.1 * psf, max(6 * psf, outer), 40)])
        truth = convolved(index, psf, radii)
        weight = 1 / (truth + 0.01 * truth[0])
        variance = sigmas**2 + psf**2
        blocks.append(weight[:, None] * np.exp(-0.5 * radii[:, None] ** 2 / variance) / (2 * np.pi * variance))
        targets.append(weight * truth)
    rows = sum(len(target) for target in targets)
    apertures = np.geomspace(0.05, 200, 60)
    blocks.append(-np.expm1(-0.5 * (apertures[:, None] / sigmas) ** 2))
    targets.append(gammainc(2 * index, b * apertures ** (1 / index)))
    blocks += [np.full((1, len(sigmas)), 30.0), np.sqrt(RIDGE * rows) * np.eye(len(sigmas))]
    targets += [np.array([30.0]), np.zeros(len(sigmas))]
    found = np.linalg.lstsq(np.vstack(blocks), np.concatenate(targets), rcond=None)[0]
    return np.asarray(found / found.sum())


def main() -> None:
    """Write the table."""
    low, high = np.log(INDEX_RANGE)
    table = []
    for position in np.linspace(-1, 1, KNOTS):
        index = float(np.exp(low + (position + 1) / 2 * (high - low)))
        log_sigmas = np.linspace(chebval(position, SMALLEST), chebval(position, LARGEST), COMPONENTS)
        row = amplitudes(index, np.exp(log_sigmas))
        table.append([float(f"{v:.10g}") for v in (log_sigmas[0], log_sigmas[-1], *row)])
    record = {
        "made_by": "tools/fit_sersic_mixture.py",
        "index_range": INDEX_RANGE,
        "columns": "ln smallest sigma, ln largest sigma (half-light radii), amplitudes; rows even in ln(index)",
        "rows": table,
    }
    OUT.write_text(json.dumps(record).replace("], [", "],\n[") + "\n")


if __name__ == "__main__":
    main()
