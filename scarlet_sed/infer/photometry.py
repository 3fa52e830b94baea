"""Fits of fluxes without images: the same spectra, priors and likelihood, for a whole catalogue at once."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.constraints import bijection
from scarlet_sed.errors import DataError, ParameterError, ShapeError
from scarlet_sed.infer.levenberg import minimize
from scarlet_sed.parameters import Parameter, as_float, free_parameters, replace_slots, resolve
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.typing import Array, HostArray

_BOUND = 9.0
_CHUNK = 64


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
        modes: (galaxy, start) log-posterior that each start reached, and
        mode_redshift: (galaxy, start) the redshift there: several modes of nearly equal height mean doubt.
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


class _Coordinates(NamedTuple):
    """How a vector of unconstrained numbers becomes a spectrum and a redshift."""

    spectrum: Spectrum
    priors: dict[str, dist.Distribution]
    shapes: dict[str, tuple[int, ...]]
    sizes: dict[str, int]

    @staticmethod
    def of(spectrum: Spectrum, redshift: dist.Distribution | None) -> "_Coordinates":
        free: Mapping[str, Parameter] = free_parameters(spectrum)
        priors = {path: parameter.prior for path, parameter in free.items()}
        shapes = {path: parameter.value.shape for path, parameter in free.items()}
        if redshift is not None:
            priors["redshift"], shapes["redshift"] = redshift, ()
        sizes = {p: int(np.prod(bijection(prior, shapes[p]).inverse_shape(shapes[p]))) for p, prior in priors.items()}
        return _Coordinates(spectrum, priors, shapes, sizes)

    def values(self, u: Array) -> dict[str, Array]:
        found, start = {}, 0
        for path, prior in self.priors.items():
            transform = bijection(prior, self.shapes[path])
            part = u[start : start + self.sizes[path]]
            found[path] = transform(part.reshape(transform.inverse_shape(self.shapes[path])))
            start += self.sizes[path]
        return found

    def unconstrained(self, values: Mapping[str, Array]) -> Array:
        parts = [bijection(p, self.shapes[path]).inv(values[path]).reshape(-1) for path, p in self.priors.items()]
        return jnp.clip(jnp.concatenate(parts), -0.9 * _BOUND, 0.9 * _BOUND)

    def fluxes(self, values: Mapping[str, Array], redshift: Array, filters: Filters) -> Array:
        spectrum = resolve(replace_slots(self.spectrum, {p: v for p, v in values.items() if p != "redshift"}))
        return spectrum.fluxes(filters, values.get("redshift", redshift))

    def penalty(self, u: Array) -> Array:
        values = self.values(u)
        return -sum((jnp.sum(prior.log_prob(values[path])) for path, prior in self.priors.items()), jnp.zeros(()))


def fit_photometry(
    fluxes: Any,
    errors: Any,
    filters: Any,
    spectrum: Spectrum,
    redshift: Any,
    *,
    floor: float = 0.0,
    library: int = 20_000,
    starts: int = 12,
    steps: int = 40,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> PhotometryFit:
    """Fit a spectrum to every row of a catalogue of fluxes: maxima of the log-posterior from many starts.

    A library of draws from the priors, its amplitude fitted where the spectrum has a free `log_mass` or `flux`, gives
    each galaxy the best start in each of `starts` intervals of redshift (or the best `starts` draws at a known
    redshift); damped Gauss-Newton steps take them to their maxima, of which the highest wins.

    Args:
        fluxes: (galaxy, band) nJy; NaN where a band is missing.
        errors: (galaxy, band) standard deviations in nJy; NaN or infinite where a band is missing.
        filters: `Filters` or names, in the order of the bands.
        spectrum: with priors on what is free, such as `ss.deep_field_population()`.
        redshift: a prior, one number, or (galaxy,) numbers.
        floor: added to the errors in quadrature, as a fraction of the flux: what calibration and templates get wrong.
        library: draws from the priors for starts.
        starts: per galaxy.
        steps: of each start.
        seed: of the library.
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
    coordinates = _Coordinates.of(spectrum, prior)
    if not coordinates.priors:
        raise ParameterError("nothing is free in this spectrum", fix="give parameters priors")
    spectrum(filters, _lowest_redshift(prior, known))  # filters and domain, once, on concrete numbers
    key = jax.random.key(seed)
    begin = _starts(coordinates, filters, flux, error, known, key, library, starts, progress)
    fitted = _fitted(coordinates, filters, flux, error, known, begin, steps, progress)
    return _result(coordinates, filters, flux, error, known, fitted, prior is not None)


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


def _starts(
    coordinates: _Coordinates,
    filters: Filters,
    flux: HostArray,
    error: HostArray,
    known: HostArray,
    key: Array,
    library: int,
    starts: int,
    progress: Callable[[str], None],
) -> HostArray:
    """(galaxy, start, n) unconstrained starting points."""
    free_redshift = "redshift" in coordinates.priors
    groups = [np.arange(len(flux))] if free_redshift else [np.flatnonzero(known == z) for z in np.unique(known)]
    count = library if free_redshift else max(starts * 8, library // max(len(groups), 10))
    found: HostArray = np.empty((len(flux), starts, sum(coordinates.sizes.values())))
    draw = _library(coordinates, filters)
    for index, rows in enumerate(groups):
        points, models = draw(jax.random.fold_in(key, index), count, float(known[rows[0]]))
        redshift = np.asarray(jax.vmap(lambda u: coordinates.values(u)["redshift"])(points)) if free_redshift else None
        for row in rows:
            chosen, factor = _best(models, flux[row], error[row], redshift, starts)
            found[row] = _rescaled(coordinates, np.asarray(points)[chosen], factor)
        if index % 20 == 0:
            progress(f"starts: {index + 1} of {len(groups)} redshifts")
    return found


def _library(coordinates: _Coordinates, filters: Filters) -> Callable[[Array, int, float], tuple[Array, HostArray]]:
    @eqx.filter_jit
    def chunk(spectrum: Spectrum, keys: Array, redshift: Array) -> tuple[Array, Array]:
        own = coordinates._replace(spectrum=spectrum)

        def one(key: Array) -> tuple[Array, Array]:
            parts = jax.random.split(key, len(own.priors))
            values = {
                path: prior.sample(k, own.shapes[path][: len(own.shapes[path]) - len(prior.event_shape)])
                for k, (path, prior) in zip(parts, own.priors.items(), strict=True)
            }
            u = own.unconstrained(values)
            return u, own.fluxes(own.values(u), redshift, filters)

        return jax.vmap(one)(keys)

    def draw(key: Array, count: int, redshift: float) -> tuple[Array, HostArray]:
        keys = jax.random.split(key, -(-count // _CHUNK) * _CHUNK)
        made = [
            chunk(coordinates.spectrum, keys[i : i + _CHUNK], as_float(redshift)) for i in range(0, len(keys), _CHUNK)
        ]
        return jnp.concatenate([u for u, _ in made]), np.concatenate([np.asarray(f, np.float64) for _, f in made])

    return draw


def _best(
    models: HostArray, flux: HostArray, error: HostArray, redshift: HostArray | None, starts: int
) -> tuple[np.ndarray, HostArray]:
    """Indices of the starts, and the factor on each one's amplitude."""
    weight = 1.0 / np.square(error)
    norm = np.square(models) @ weight
    factor = np.maximum((models @ (weight * flux)) / np.maximum(norm, 1e-300), 1e-6)
    chi2 = np.square(flux - factor[:, None] * models) @ weight
    chi2 = np.where(np.isfinite(chi2), chi2, np.inf)
    if redshift is None:
        chosen = np.argsort(chi2)[:starts]
    else:
        order = np.argsort(redshift)
        chosen = np.array([part[np.argmin(chi2[part])] for part in np.array_split(order, starts)])
    return chosen, factor[chosen]


def _rescaled(coordinates: _Coordinates, points: HostArray, factor: HostArray) -> HostArray:
    """The points with their amplitude multiplied where the spectrum has a free one."""
    path = next((p for p in coordinates.priors if p.split(".")[-1] in ("log_mass", "flux")), None)
    if path is None:
        return points

    def moved(u: Array, by: Array) -> Array:
        values = coordinates.values(u)
        new = values[path] + jnp.log10(by) if path.endswith("log_mass") else values[path] * by
        support = coordinates.priors[path].support
        low, high = (
            jnp.asarray(getattr(support, n, d)) for n, d in (("lower_bound", -jnp.inf), ("upper_bound", jnp.inf))
        )
        margin = jnp.where(jnp.isfinite(high - low), 0.01 * (high - low), 0.0)
        return coordinates.unconstrained({**values, path: jnp.clip(new, low + margin, high - margin)})

    return np.asarray(jax.vmap(moved)(as_float(points), as_float(factor)))


class _Fitted(NamedTuple):
    """Per galaxy and start: where it ended."""

    position: HostArray
    value: HostArray
    hessian: HostArray


def _fitted(
    coordinates: _Coordinates,
    filters: Filters,
    flux: HostArray,
    error: HostArray,
    known: HostArray,
    begin: HostArray,
    steps: int,
    progress: Callable[[str], None],
) -> _Fitted:
    galaxies, starts, size = begin.shape

    @eqx.filter_jit
    def chunk(spectrum: Spectrum, start: Array, data: Array, sigma: Array, redshift: Array) -> tuple[Array, ...]:
        own = coordinates._replace(spectrum=spectrum)

        def one(start: Array, data: Array, sigma: Array, z: Array) -> tuple[Array, ...]:
            def residuals(u: Array) -> Array:
                return (own.fluxes(own.values(u), z, filters) - data) / sigma

            found = minimize(residuals, own.penalty, start, steps, _BOUND)
            return found.position, found.value, found.hessian

        return jax.vmap(one)(start, data, sigma, redshift)

    rows = np.repeat(np.arange(galaxies), starts)
    padded = np.resize(np.arange(rows.size), -(-rows.size // _CHUNK) * _CHUNK)
    flat = begin.reshape(-1, size)
    made = []
    for i in range(0, padded.size, _CHUNK):
        at = padded[i : i + _CHUNK]
        inputs = (flat[at], flux[rows[at]], error[rows[at]], known[rows[at]])
        made.append([np.asarray(a) for a in chunk(coordinates.spectrum, *(as_float(a) for a in inputs))])
        progress(f"fits: {min(i + _CHUNK, rows.size)} of {rows.size}")
    position, value, hessian = (np.concatenate(parts)[: rows.size] for parts in zip(*made, strict=True))
    shape = (galaxies, starts)
    return _Fitted(position.reshape(*shape, size), value.reshape(shape), hessian.reshape(*shape, size, size))


def _result(
    coordinates: _Coordinates,
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

    @eqx.filter_jit
    def describe(spectrum: Spectrum, u: Array, cov: Array, z: Array) -> tuple[dict, dict, Array]:
        own = coordinates._replace(spectrum=spectrum)

        def one(u: Array, cov: Array, z: Array) -> tuple[dict, dict, Array]:
            values, jacobian = own.values(u), jax.jacfwd(own.values)(u)
            spread = {p: jnp.sqrt(jnp.einsum("...i,ij,...j->...", j, cov, j)) for p, j in jacobian.items()}
            return values, spread, own.fluxes(values, z, filters)

        return jax.vmap(one)(u, cov, z)

    parts = []
    for i in range(0, len(best), _CHUNK):
        rows = each[i : i + _CHUNK]
        at = np.resize(rows, _CHUNK)
        made = describe(coordinates.spectrum, as_float(position[at]), as_float(covariance[at]), as_float(known[at]))
        parts.append(jax.tree.map(np.asarray, made))
    values, spread, model = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(best)], *parts)
    used = np.isfinite(error)
    chi2 = np.sum(np.square(np.where(used, (flux - model) / error, 0.0)), axis=1)
    if free_redshift:
        modes = np.asarray(jax.vmap(jax.vmap(lambda u: coordinates.values(u)["redshift"]))(as_float(fitted.position)))
    else:
        modes = np.broadcast_to(known[:, None], value.shape)
    return PhotometryFit(
        values=values,
        errors=spread,
        redshift=values["redshift"] if free_redshift else known,
        chi2=chi2,
        bands=used.sum(axis=1),
        log_posterior=-value[each, best],
        model=model,
        modes=-value,
        mode_redshift=modes,
    )
