"""Fits of fluxes without images: the same spectra, priors and likelihood, for a whole catalogue at once."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.errors import DataError, ParameterError, ShapeError
from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.infer.levenberg import minimize
from scarlet_sed.infer.starting_points import BOUND, FluxModel, redshifts, starting_points, starts_around
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.paths import replace_slots
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.typing import Array, HostArray


class PhotometryFit(NamedTuple):
    """Fits of a catalogue of fluxes.

    Args:
        values: best value of each free parameter by path, (galaxy, ...); `redshift` among them if it was free.
        errors: standard deviations from the curvature at the best value, shaped alike.
        redshift: (galaxy,) best or given.
        chi2: (galaxy,) at the best value, without the prior.
        bands: (galaxy,) number of fluxes used.
        log_posterior: (galaxy,) at the best value.
        model: (galaxy, band) nJy at the best value.
        modes: (galaxy, fit) log-posterior that each fit reached, and
        mode_redshift: (galaxy, fit) the redshift there: several modes of nearly equal height mean doubt.
    """

    values: dict[str, HostArray]
    errors: dict[str, HostArray]
    redshift: HostArray
    chi2: HostArray
    bands: HostArray
    log_posterior: HostArray
    model: HostArray
    modes: HostArray
    mode_redshift: HostArray

    def spectrum(self, spectrum: Any, galaxy: int) -> Any:
        """The spectrum with the best values of one galaxy."""
        own = {path: as_float(v[galaxy]) for path, v in self.values.items() if path != "redshift"}
        return replace_slots(spectrum, own)


def fit_photometry(
    fluxes: Any,
    errors: Any,
    filters: Any,
    spectrum: Spectrum,
    redshift: Any,
    *,
    floor: float = 0.0,
    library: int = 20_000,
    starts: int = 24,
    steps: int = 40,
    seed: int = 0,
    begin: Callable[[HostArray, HostArray], HostArray] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> PhotometryFit:
    """Fit a spectrum to every row of a catalogue of fluxes: maxima of the log-posterior from many starts.

    A library of draws from the priors, its amplitude fitted where the spectrum has a free `log_mass` or `flux`, gives
    each galaxy the best start in each of `starts` intervals of redshift (or the best `starts` draws at a known
    redshift); damped Gauss-Newton steps take them uphill, the best third of them further and the best eighth to their
    maxima. Where the redshift is free, a few more start at that of the highest one; the highest of all wins.

    Args:
        fluxes: (galaxy, band) nJy; NaN where a band is missing.
        errors: (galaxy, band) standard deviations in nJy; NaN or infinite where a band is missing.
        filters: `Filters` or names, in the order of the bands.
        spectrum: with priors on what is free, such as `ss.deep_field_population()`.
        redshift: a prior, one number, or (galaxy,) numbers.
        floor: added to the errors in quadrature, as a fraction of the flux: what calibration and templates get wrong.
        library: draws from the priors for starts.
        starts: per galaxy.
        steps: a quarter of them for every start, half for the best third, and twice as many for the best eighth.
        seed: of the library.
        begin: gives (galaxy, start, n) unconstrained numbers for (galaxy, band) fluxes and errors (infinite where a
            band is missing), such as an amortized posterior's draws, instead of library and starts; all of these
            starts are taken uphill. Galaxies that none of them fits begin at the library, too.
        progress: called with a line at times.

    Raises:
        ShapeError: if shapes disagree.
        DataError: for a galaxy without any flux, or errors that are not positive.
        ParameterError: if nothing is free.
    """
    filters = Filters.load(filters)
    flux, error = _checked(fluxes, errors, len(filters), floor)
    prior = redshift if isinstance(redshift, dist.Distribution) else None
    known = np.zeros(len(flux)) if prior is not None else np.broadcast_to(np.asarray(redshift, float), (len(flux),))
    model = FluxModel.of(spectrum, prior)
    if not model.priors:
        raise ParameterError("nothing is free in this spectrum", fix="give parameters priors")
    spectrum(filters, _lowest_redshift(prior, known))  # filters and domain, once, on concrete numbers

    def fitted(first: HostArray, rows: Any = slice(None)) -> _Fitted:
        return _fitted(model, filters, flux[rows], error[rows], known[rows], first, steps, progress)

    def from_library(rows: Any = slice(None)) -> _Fitted:
        of = (model, filters, flux[rows], error[rows])
        first, drawn = starting_points(*of, known[rows], jax.random.key(seed), library, starts, progress)
        found = fitted(first, rows)
        if prior is None:
            return found
        # where redshift is right, age, dust and metallicity may still sit in a minor mode
        best = found.position[np.arange(len(found.value)), np.argmin(found.value, axis=1)]
        near = starts_around(*of, drawn, np.asarray(redshifts(model, as_float(best))), _FEWEST)
        return _beside(found, fitted(near, rows))

    def result(found: _Fitted) -> PhotometryFit:
        return _result(model, filters, flux, error, known, found, prior is not None)

    if begin is None:
        return result(from_library())
    begun = fitted(begin(flux, error))
    found = result(begun)
    poor = np.flatnonzero(~(found.chi2 <= _POOR * found.bands))
    if not poor.size:
        return found
    progress(f"no start fits {poor.size} of {len(flux)} galaxies: these begin at a library, too")
    return result(_joined(begun, from_library(poor), poor))


def _lowest_redshift(prior: dist.Distribution | None, known: HostArray) -> float:
    if prior is None:
        return float(known.min())
    low = float(np.asarray(getattr(prior.support, "lower_bound", np.nan)))
    if not low > 0:
        raise ParameterError(
            "the prior of the redshift reaches zero", fix="bound it above zero, e.g. Uniform(0.01, 12)"
        )
    return low


def _checked(fluxes: Any, errors: Any, bands: int, floor: float) -> tuple[HostArray, HostArray]:
    flux, error = (np.atleast_2d(np.asarray(a, np.float64)) for a in (fluxes, errors))
    if flux.shape != error.shape or flux.shape[1] != bands:
        raise ShapeError(
            f"fluxes of shape {flux.shape} with errors of shape {error.shape} in {bands} bands",
            fix="give (galaxy, band) arrays with the bands in the order of the filters",
        )
    used = np.isfinite(flux) & np.isfinite(error)
    if np.any(error[used] <= 0):
        row = int(np.argwhere((error <= 0) & used)[0][0])
        raise DataError(f"galaxy {row} has an error that is not positive", fix="give NaN where a band is missing")
    if not np.all(used.any(axis=1)):
        row = int(np.argmin(used.any(axis=1)))
        raise DataError(f"galaxy {row} has no flux in any band", fix="leave it out")
    total = np.hypot(np.where(used, error, 1.0), floor * np.abs(np.where(used, flux, 0.0)))
    return np.where(used, flux, 0.0), np.where(used, total, np.inf)


class _Fitted(NamedTuple):
    """Per galaxy and start: where it ended."""

    position: HostArray
    value: HostArray
    hessian: HostArray


def _fitted(
    model: FluxModel,
    filters: Filters,
    flux: HostArray,
    error: HostArray,
    known: HostArray,
    begin: HostArray,
    steps: int,
    progress: Callable[[str], None],
) -> _Fitted:
    galaxies, starts, size = begin.shape
    position, value = begin.copy(), np.full((galaxies, starts), np.inf)
    hessian = np.broadcast_to(np.eye(size), (galaxies, starts, size, size)).copy()
    for share, effort in _ROUNDS:
        count = min(starts, max(_FEWEST, math.ceil(share * starts)))
        going = np.argsort(value, axis=1, kind="stable")[:, :count]
        rows, columns = np.repeat(np.arange(galaxies), count), going.ravel()
        tried = to_device(np.asarray(max(1, round(effort * steps))), np.int32)
        ended, reached, curved = by_chunks(
            partial(_minimized, model, filters, steps=tried),
            position[rows, columns],
            *(a[rows] for a in (flux, error, known)),
            progress=lambda done, of: progress(f"fits: {done} of {of}"),
        )
        position[rows, columns], hessian[rows, columns] = ended, curved
        value[rows, columns] = np.where(np.isfinite(reached), reached, np.inf)
    return _Fitted(position, value, hessian)


def _joined(every: _Fitted, some: _Fitted, rows: np.ndarray) -> _Fitted:
    """Fits of every galaxy, and more of some."""
    others = np.ones(len(every.value), bool)
    others[rows] = False
    more = _Fitted(*(np.repeat(own[:, :1], new.shape[1], axis=1) for own, new in zip(every, some, strict=True)))
    for wide, new in zip(more, some, strict=True):
        wide[rows] = new
    more.value[others] = np.inf
    return _beside(every, more)


def _beside(one: _Fitted, other: _Fitted) -> _Fitted:
    """Fits of the same galaxies, one after the other."""
    return _Fitted(*(np.concatenate(pair, axis=1) for pair in zip(one, other, strict=True)))


_POOR = 4.0
"""Chi-square a band beyond which no start was near: a network may not know galaxies as bright or as odd."""
_ROUNDS = ((1.0, 0.25), (1 / 3, 0.5), (1 / 8, 2.0))
"""Shares of the starts that go on, and how many of the steps they make."""
_FEWEST = 4
"""Starts that go on whatever their share."""


@eqx.filter_jit
def _minimized(
    model: FluxModel, filters: Filters, start: Array, data: Array, sigma: Array, redshift: Array, steps: Array
) -> tuple[Array, Array, Array]:
    def one(start: Array, data: Array, sigma: Array, z: Array) -> tuple[Array, Array, Array]:
        def residuals(u: Array) -> Array:
            return (model.fluxes(model.values(u), z, filters) - data) / sigma

        found = minimize(residuals, model.penalty, start, steps, BOUND)
        return found.position, found.value, found.hessian

    return jax.vmap(one)(start, data, sigma, redshift)


@eqx.filter_jit
def _described(
    model: FluxModel, filters: Filters, u: Array, covariance: Array, redshift: Array
) -> tuple[dict[str, Array], dict[str, Array], Array]:
    """Values, standard deviations and fluxes, a row each."""

    def one(u: Array, cov: Array, z: Array) -> tuple[dict[str, Array], dict[str, Array], Array]:
        values, jacobian = model.values(u), jax.jacfwd(model.values)(u)
        spread = {p: jnp.sqrt(jnp.einsum("...i,ij,...j->...", j, cov, j)) for p, j in jacobian.items()}
        return values, spread, model.fluxes(values, z, filters)

    return jax.vmap(one)(u, covariance, redshift)


def _result(
    model: FluxModel,
    filters: Filters,
    flux: HostArray,
    error: HostArray,
    known: HostArray,
    fitted: _Fitted,
    free_redshift: bool,
) -> PhotometryFit:
    value = np.where(np.isfinite(fitted.value), fitted.value, np.inf)
    best = np.argmin(value, axis=1)
    each = np.arange(len(best))
    position, hessian = fitted.position[each, best], fitted.hessian[each, best]
    covariance = np.linalg.inv(hessian + 1e-6 * np.eye(hessian.shape[-1]))

    values, spread, fluxes = by_chunks(partial(_described, model, filters), position, covariance, known)
    used = np.isfinite(error)
    chi2 = np.sum(np.square(np.where(used, (flux - fluxes) / error, 0.0)), axis=1)
    if free_redshift:
        flat = as_float(fitted.position.reshape(-1, position.shape[-1]))
        modes = np.asarray(redshifts(model, flat)).reshape(value.shape)
    else:
        modes = np.broadcast_to(known[:, None], value.shape)
    return PhotometryFit(
        values=values,
        errors=spread,
        redshift=values["redshift"] if free_redshift else known,
        chi2=chi2,
        bands=used.sum(axis=1),
        log_posterior=-value[each, best],
        model=fluxes,
        modes=-value,
        mode_redshift=modes,
    )
