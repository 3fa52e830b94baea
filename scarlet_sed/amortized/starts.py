"""Where fits begin: draws of a network that the exact likelihood likes, from every redshift that it knows."""

from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.amortized.posterior import AmortizedPosterior, bounds_of
from scarlet_sed.errors import ParameterError
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
    redshift: Any,
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
        ParameterError: if the spectra have other parameters, or priors that leave none of a galaxy's draws.
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
    posterior.require_bands(len(columns), filters.names)
    there, here = (list(each) for each in zip(*columns, strict=True))
    known, sigma = (np.full((len(flux), len(posterior.filters)), np.nan) for _ in range(2))
    known[:, there] = np.where(np.isfinite(error[:, here]), flux[:, here], np.nan)
    sigma[:, there] = np.where(np.isfinite(error[:, here]), error[:, here], np.nan)
    at = None if free else np.asarray(redshift, float)
    drawn = dict(posterior.sample(known, sigma, at, draws=_POOL, seed=seed).values)
    if free:
        drawn["redshift"] = _brought_inside(drawn["redshift"], model.priors["redshift"])
    height = posterior.log_target(drawn, known, sigma, at)
    numbers = np.asarray(
        jax.jit(jax.vmap(jax.vmap(model.unconstrained)))({path: as_float(v) for path, v in drawn.items()}), np.float64
    )
    # priors of the fit may be narrower than those of the training
    usable = np.isfinite(height) & np.all(np.isfinite(numbers), axis=-1)
    if not usable.any(axis=1).all():
        raise ParameterError(
            f"no draw of the posterior for galaxy {int(np.argmin(usable.any(axis=1)))} lies inside of the priors",
            fix="widen them, or start without a posterior",
        )
    away = np.log1p(drawn["redshift"]) if free else np.zeros(height.shape)
    every = zip(np.where(usable, height, -np.inf), away, strict=True)
    chosen = np.stack([_spread(h, a, starts) for h, a in every])
    found: HostArray = numbers[np.arange(len(flux))[:, None], chosen]
    return found


def _brought_inside(redshift: HostArray, prior: dist.Distribution) -> HostArray:
    """Redshifts, those outside of the bounds of a prior moved just inside of them."""
    low, high = bounds_of(prior)
    if not low < high:
        return redshift
    margin = 1e-3 * min(1.0, high - low)
    outside = (redshift <= low) | (redshift >= high)
    found: HostArray = np.where(outside, np.clip(redshift, low + margin, high - margin), redshift)
    return found


def _spread(height: HostArray, away: HostArray, count: int) -> np.ndarray:
    """(count,) places: the highest, the highest of other redshifts, and then the highest of the rest.

    Of those whose height is finite; they come again if they are too few.
    """
    order = [int(place) for place in np.argsort(-height, kind="stable") if np.isfinite(height[place])]
    apart: list[int] = []
    for place in order:
        if all(abs(away[place] - away[other]) > _APART for other in apart):
            apart.append(place)
        if len(apart) == max(1, count // 2):
            break
    rest = [place for place in order if place not in apart]
    return np.resize(np.array(apart + rest), max(count, len(order)))[:count]
