"""Draws as a table: one row a number."""

import numpy as np
from astropy.table import QTable

from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.scalars import scalars

QUANTILES = (5, 16, 50, 84, 95)
"""Per cent."""


def summary_table(posterior: Posterior) -> QTable:
    """Mean, standard deviation, quantiles and diagnostics of every number that was sampled.

    Args:
        posterior: draws.

    Returns:
        the columns parameter, element, unit, mean, sd, p05 ... p95 (in the unit of the row), rhat, ess_bulk, ess_tail,
        prior, and image: whether the number is a pixel of a free image.
    """
    rows = scalars(posterior)
    count = posterior.shape[0] * posterior.shape[1]
    draws = np.stack([s.draws.reshape(-1) for s in rows]).astype(float) if rows else np.zeros((0, count))
    quantiles = np.percentile(draws, QUANTILES, axis=1) if draws.size else np.full((len(QUANTILES), len(rows)), np.nan)
    columns: dict[str, object] = {
        "parameter": np.array([s.path for s in rows], str),
        "element": np.array([s.element for s in rows], str),
        "unit": np.array([s.unit for s in rows], str),
        "mean": np.mean(draws, axis=1),
        "sd": np.std(draws, axis=1, ddof=1),
    }
    columns |= {f"p{q:02d}": each for q, each in zip(QUANTILES, quantiles, strict=True)}
    columns |= {"rhat": np.array([s.rhat for s in rows]), "ess_bulk": np.array([s.bulk for s in rows])}
    columns |= {"ess_tail": np.array([s.tail for s in rows]), "prior": np.array([s.prior for s in rows], str)}
    columns["image"] = np.array([s.image for s in rows], bool)
    table = QTable(columns)
    table.meta["status"] = posterior.status.name
    table.meta["chains"], table.meta["draws"] = posterior.shape
    return table
