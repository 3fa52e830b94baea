"""Whether a network's posterior of an object can be trusted: is it like the training, and does it fit?"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from scipy.stats import chi2 as chi_squared

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.posterior import AmortizedDraws, AmortizedPosterior, effective, log_weights_of
from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.typing import Array, HostArray

_FIT = 1e-3
"""Posterior predictive p-value below which an object does not fit."""
_FEW = 20
"""Draws of an object that its distance is looked at with."""


class Trust(NamedTuple):
    """What speaks for and against the draws of every object.

    Args:
        distance: (object,) from the middle of the training's objects, in units of what 99.9 % of them keep within;
            infinite where a single flux or error lies out of all ranges.
        unusual: (object,) whether that is above one.
        chi2: (object,) least over the draws.
        p_value: (object,) posterior predictive, of chi-square: the chance that fluxes of a drawn spectrum, measured
            again, lie further from it than these do, averaged over draws with their weights.
        misfit: (object,) whether that is below 0.001: no such spectrum explains these fluxes, or the network misses
            those that do.
        effective: (object,) effective draws, by importance weights against the exact posterior.
    """

    distance: HostArray
    unusual: np.ndarray
    chi2: HostArray
    p_value: HostArray
    misfit: np.ndarray
    effective: HostArray


def trust(
    posterior: AmortizedPosterior, found: AmortizedDraws, fluxes: Any, errors: Any, redshift: Any = None
) -> Trust:
    """Judge the draws of every object by its fluxes; every draw's spectrum is evaluated exactly.

    Args:
        posterior: that drew them.
        found: what `sample` returned for the same arguments.
        fluxes, errors, redshift: as for `AmortizedPosterior.sample`.

    Raises:
        ShapeError, DataError, DomainError: as `sample`.
    """
    given = np.isfinite(np.asarray(fluxes, float)) & np.isfinite(np.asarray(errors, float))
    if redshift is None:
        z = found.values["redshift"][:, :_FEW]
    else:
        z = posterior.known_redshifts(redshift, len(found.log_prob))[:, None]
    distance = distance_of(posterior, fluxes, errors, z)
    chi2, log_target = posterior.exact(found.values, fluxes, errors, redshift)
    log_weights = log_weights_of(log_target, found.log_prob)
    weight = np.exp(log_weights, dtype=np.float64)
    bands = np.atleast_2d(given).sum(axis=1)
    chance = np.asarray(chi_squared.sf(np.where(np.isfinite(chi2), chi2, np.inf), bands[:, None]), np.float64)
    # no weight at all: the exact density vanishes at every draw
    p_value = np.sum(weight * chance, axis=1) / np.maximum(np.sum(weight, axis=1), 1e-300)
    return Trust(distance, distance > 1, chi2.min(axis=1), p_value, p_value < _FIT, effective(log_weights, found.leak))


def distance_of(posterior: AmortizedPosterior, fluxes: Any, errors: Any, redshifts: HostArray) -> HostArray:
    """(object,) distance from the training's objects, see `Trust`: the least at (object, n) redshifts.

    Args:
        posterior: that is asked.
        fluxes, errors: as for `AmortizedPosterior.sample`.
        redshifts: that each object may have.
    """
    measured = posterior.measured(fluxes, errors)

    def rows(flux: Array, sigma: Array, present: Array, z: Array) -> Array:
        return _distances(posterior, Measured(flux, sigma, present), z)

    columns = (np.asarray(a) for a in (measured.flux, measured.sigma, measured.present))
    found: HostArray = np.asarray(by_chunks(rows, *columns, np.asarray(redshifts, float)), np.float64)
    return found


@eqx.filter_jit
def _distances(posterior: AmortizedPosterior, measured: Measured, redshift: Array) -> Array:
    """(object,) least distance over (object, draw) redshifts."""

    def one(measured: Measured, redshift: Array) -> Array:
        each = jax.vmap(lambda z: posterior.usual.distance(posterior.networks, measured, z))(redshift)
        return each.min()

    return jax.vmap(one)(measured, redshift)
