"""Where fits begin: draws of a network that the exact likelihood likes, from every redshift that it knows."""

from typing import Any

import jax
import numpy as np

from scarlet_sed.amortized.posterior import AmortizedPosterior
from scarlet_sed.errors import FilterError, ParameterError
from scarlet_sed.infer.starting_points import FluxModel
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.typing import HostArray

_POOL = 256
"""Draws that starts are picked from."""
_APART = 0.03
"""In ln(1 + z): starts nearer to each other than this are of one mode."""


def network_starts(
    posterior: AmortizedPosterior,
    spectrum: Spectrum,
    filters: Filters,
    flux: HostArray,
    error: HostArray,
    redshift: Any = None,
    *,
    starts: int = 6,
    seed: int = 0,
) -> HostArray:
    """(galaxy, start, n) unconstrained numbers to begin `fit_photometry` from.

    The first start is the most probable of the network's draws by the exact posterior; the next ones are the most
    probable of other redshifts, then what is most probable of the rest.

    Args:
        posterior: whose spectrum has the same parameters.
        spectrum: that is fitted.
        filters: of the fluxes; those that the posterior does not know do not count here.
        flux, error: (galaxy, band) nJy; NaN or an infinite error where a band is missing.
        redshift: a prior, where it is free, or (galaxy,) numbers.
        starts: per galaxy.
        seed: of everything random.

    Raises:
        ParameterError: if the spectra have other parameters.
        FilterError: if fewer than three bands are known to the posterior.
    """
    free = not isinstance(redshift, (float, int, np.ndarray, list, tuple))
    model = FluxModel.of(spectrum, redshift if free else None)
    own = set(model.priors) - {"redshift"}
    if own != set(posterior.paths):
        odd = sorted(own ^ set(posterior.paths))
        raise ParameterError(
            f"the posterior and the spectrum differ in {', '.join(odd)}",
            fix="use a posterior that was trained for this spectrum, or start without one",
        )
    columns = [(i, place) for i, place in enumerate(posterior.filters.places_in(filters)) if place >= 0]
    if len(columns) < 3:
        raise FilterError(
            f"the posterior knows {len(columns)} of the bands {', '.join(filters.names)}",
            fix=f"use one for them; this one is for {', '.join(posterior.filters.names)}",
        )
    there, here = (list(each) for each in zip(*columns, strict=True))
    known, sigma = (np.full((len(flux), len(posterior.filters)), np.nan) for _ in range(2))
    known[:, there] = np.where(np.isfinite(error[:, here]), flux[:, here], np.nan)
    sigma[:, there] = np.where(np.isfinite(error[:, here]), error[:, here], np.nan)
    at = None if free else np.asarray(redshift, float)
    drawn = posterior.sample(known, sigma, at, draws=_POOL, seed=seed)
    height = posterior.log_target(drawn.values, known, sigma, at)
    away = np.log1p(drawn.values["redshift"]) if free else np.zeros(height.shape)
    chosen = np.stack([_spread(h, a, starts) for h, a in zip(height, away, strict=True)])
    each = np.arange(len(flux))[:, None]
    values = {path: as_float(v[each, chosen]) for path, v in drawn.values.items()}
    return np.asarray(jax.jit(jax.vmap(jax.vmap(model.unconstrained)))(values), np.float64)


def _spread(height: HostArray, away: HostArray, count: int) -> np.ndarray:
    """(count,) places: the highest, the highest of other redshifts, and then the highest of the rest."""
    order = np.argsort(-np.where(np.isfinite(height), height, -np.inf))
    apart: list[int] = []
    for place in order:
        if all(abs(away[place] - away[other]) > _APART for other in apart):
            apart.append(int(place))
        if len(apart) == max(1, count // 2):
            break
    rest = [int(place) for place in order if int(place) not in apart]
    return np.array((apart + rest)[:count])
