"""Draws as a table: one row a number."""

from collections.abc import Iterator, Mapping

import numpy as np
from astropy.table import QTable

from scarlet_sed.infer.sampling.bands import flux_bands
from scarlet_sed.infer.sampling.derived import Derived
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.scalars import Scalar, scalars
from scarlet_sed.infer.sampling.status import diagnose

QUANTILES = (5, 16, 50, 84, 95)
"""Per cent."""


def summary_table(posterior: Posterior, quantities: Mapping[str, Derived] | None = None) -> QTable:
    """Mean, standard deviation, quantiles and diagnostics of every number that was sampled, and of others.

    Args:
        posterior: draws.
        quantities: what `derived` made of all of them. What never moves, and free fluxes that nothing dims, which are
            parameters themselves, get no rows.

    Returns:
        the columns parameter, element, unit, mean, sd, p05 ... p95 (in the unit of the row), rhat, ess_bulk, ess_tail,
        prior, image: whether the number is a pixel of a free image, and derived: whether it was not sampled, but
        follows from what was (and has no prior).
    """
    sampled = scalars(posterior)
    rows = [*sampled, *_rows(posterior, quantities or {})]
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
    columns["derived"] = np.arange(len(rows)) >= len(sampled)
    table = QTable(columns)
    table.meta["status"] = posterior.status.name
    table.meta["chains"], table.meta["draws"] = posterior.shape
    return table


def _rows(posterior: Posterior, quantities: Mapping[str, Derived]) -> Iterator[Scalar]:
    """The numbers of derived quantities that a table tells."""
    free = {path.removesuffix(".spectrum.flux") for path in flux_bands(posterior.posterior.scene)}
    known = {f"{owner}.flux" for owner in free if f"{owner}.intrinsic_flux" not in quantities}
    told = {path: own for path, own in quantities.items() if path not in known}
    moving = {path: np.ptp(own.values, axis=(0, 1)) > 0 for path, own in told.items()}
    told = {path: own for path, own in told.items() if np.any(moving[path])}
    found = None
    if posterior.diagnosis is not None and told:
        trajectories = (posterior.statistics[name] for name in ("energy", "diverging", "leapfrogs"))
        found = diagnose({path: own.values for path, own in told.items()}, *trajectories)
    for path, own in told.items():
        for index in zip(*np.nonzero(moving[path]), strict=True) if own.bands else [()]:
            quality = (np.nan,) * 3 if found is None else tuple(float(each[path][index]) for each in found[:3])
            band = own.bands[index[0]] if own.bands else ""
            place = tuple(int(i) for i in index)
            yield Scalar(path, place, band, own.unit, "", False, own.values[(..., *index)], *quality)
