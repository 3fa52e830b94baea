"""Starting points for fits of fluxes: draws from the priors, compared with the data."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpy.typing import NDArray

from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.infer.simulate import drawn_value
from scarlet_sed.parameters import Parameter, as_float, free_parameters, resolve
from scarlet_sed.paths import replace_slots
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.transforms import bijection
from scarlet_sed.typing import Array, HostArray

BOUND = 9.0
"""Unconstrained numbers stay within plus and minus this."""


class FluxModel(NamedTuple):
    """How a vector of unconstrained numbers becomes a spectrum and a redshift."""

    spectrum: Spectrum
    priors: dict[str, dist.Distribution]
    shapes: dict[str, tuple[int, ...]]
    sizes: dict[str, int]

    @staticmethod
    def of(spectrum: Spectrum, redshift: dist.Distribution | None) -> "FluxModel":
        free: Mapping[str, Parameter] = free_parameters(spectrum)
        priors = {path: parameter.prior for path, parameter in free.items()}
        shapes = {path: parameter.value.shape for path, parameter in free.items()}
        if redshift is not None:
            priors["redshift"], shapes["redshift"] = redshift, ()
        # in the order in which JAX flattens dictionaries: compiled functions get them sorted
        priors = dict(sorted(priors.items()))
        sizes = {p: int(np.prod(bijection(prior, shapes[p]).inverse_shape(shapes[p]))) for p, prior in priors.items()}
        return FluxModel(spectrum, priors, shapes, sizes)

    def values(self, u: Array) -> dict[str, Array]:
        found, start = {}, 0
        for path, prior in self.priors.items():
            transform = bijection(prior, self.shapes[path])
            part = u[start : start + self.sizes[path]]
            found[path] = transform(part.reshape(transform.inverse_shape(self.shapes[path])))
            start += self.sizes[path]
        return found

    def numbers(self, values: Mapping[str, Array]) -> Array:
        """The unconstrained numbers of values, however far out."""
        parts = [bijection(p, self.shapes[path]).inv(values[path]).reshape(-1) for path, p in self.priors.items()]
        return jnp.concatenate(parts)

    def unconstrained(self, values: Mapping[str, Array]) -> Array:
        """The same, within what fits may reach."""
        return jnp.clip(self.numbers(values), -0.9 * BOUND, 0.9 * BOUND)

    def fluxes(self, values: Mapping[str, Array], redshift: Array, filters: Filters) -> Array:
        spectrum = resolve(replace_slots(self.spectrum, {p: v for p, v in values.items() if p != "redshift"}))
        return spectrum.fluxes(filters, values.get("redshift", redshift))

    def drawn(self, key: Array) -> dict[str, Array]:
        """Values drawn from the priors."""
        keys = jax.random.split(key, len(self.priors))
        return {
            path: drawn_value(prior, own, self.shapes[path])
            for own, (path, prior) in zip(keys, self.priors.items(), strict=True)
        }

    def penalty(self, u: Array) -> Array:
        values = self.values(u)
        return -sum((jnp.sum(prior.log_prob(values[path])) for path, prior in self.priors.items()), jnp.zeros(()))


def starting_points(
    model: FluxModel,
    filters: Filters,
    flux: HostArray,
    error: HostArray,
    known: HostArray,
    key: Array,
    library: int,
    starts: int,
    progress: Callable[[str], None],
) -> tuple[HostArray, HostArray]:
    """Starting points from draws from the priors.

    Returns:
        (galaxy, start, n) unconstrained numbers, and (draw, n) those of the last draws they were chosen from.
    """
    free_redshift = "redshift" in model.priors
    groups = [np.arange(len(flux))] if free_redshift else [np.flatnonzero(known == z) for z in np.unique(known)]
    count = library if free_redshift else max(starts * 8, library // max(len(groups), 10))
    found: HostArray = np.empty((len(flux), starts, sum(model.sizes.values())))
    for index, rows in enumerate(groups):
        points, models = _library(model, filters, jax.random.fold_in(key, index), count, float(known[rows[0]]))
        redshift = np.asarray(redshifts(model, as_float(points))) if free_redshift else None
        for row in rows:
            chosen, factor = _best(models, flux[row], error[row], redshift, starts)
            found[row] = _rescaled(model, points[chosen], factor)
        if index % 20 == 0:
            progress(f"starts: {index + 1} of {len(groups)} redshifts")
    return found, points


def starts_around(
    model: FluxModel,
    filters: Filters,
    flux: HostArray,
    error: HostArray,
    library: HostArray,
    redshift: HostArray,
    starts: int,
) -> HostArray:
    """(galaxy, start, n) unconstrained starting points at one redshift each, from draws that were near it.

    Args:
        model, filters, flux, error: of the fit.
        library: (draw, n) unconstrained draws.
        redshift: (galaxy,).
        starts: per galaxy.
    """
    drawn = np.asarray(redshifts(model, as_float(library)))
    found: HostArray = np.empty((len(flux), starts, library.shape[1]))
    for row, z in enumerate(redshift):
        near = library[np.argsort(np.abs(np.log1p(drawn) - np.log1p(z)))[:_NEAR]]
        points, models = by_chunks(partial(_put_at, model, filters, redshift=as_float(z)), near)
        chosen, factor = _best(models.astype(np.float64), flux[row], error[row], None, starts)
        found[row] = _rescaled(model, points[chosen], factor)
    return found


_NEAR = 512
"""Draws nearest in redshift that are compared with a galaxy."""


@eqx.filter_jit
def _put_at(model: FluxModel, filters: Filters, points: Array, redshift: Array) -> tuple[Array, Array]:
    """(row, n) the points with this redshift, and (row, band) their fluxes."""

    def one(u: Array) -> tuple[Array, Array]:
        moved = model.unconstrained({**model.values(u), "redshift": redshift})
        return moved, model.fluxes(model.values(moved), redshift, filters)

    return jax.vmap(one)(points)


def _library(
    model: FluxModel, filters: Filters, key: Array, count: int, redshift: float
) -> tuple[HostArray, HostArray]:
    """(draw, n) unconstrained numbers from the priors, and (draw, band) their fluxes."""
    draw = partial(_drawn, model, filters, redshift=as_float(redshift))
    points, models = by_chunks(draw, jax.random.split(key, count))
    return points, models.astype(np.float64)


@eqx.filter_jit
def _drawn(model: FluxModel, filters: Filters, keys: Array, redshift: Array) -> tuple[Array, Array]:
    def one(key: Array) -> tuple[Array, Array]:
        u = model.unconstrained(model.drawn(key))
        return u, model.fluxes(model.values(u), redshift, filters)

    return jax.vmap(one)(keys)


def _best(
    models: HostArray, flux: HostArray, error: HostArray, redshift: HostArray | None, starts: int
) -> tuple[NDArray[np.integer], HostArray]:
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


def _rescaled(model: FluxModel, points: HostArray, factor: HostArray) -> HostArray:
    """The points with their amplitude multiplied where the spectrum has a free one."""
    path = next((p for p in model.priors if p.split(".")[-1] in ("log_mass", "flux")), None)
    return points if path is None else np.asarray(_moved(model, path, as_float(points), as_float(factor)))


@eqx.filter_jit
def _moved(model: FluxModel, path: str, points: Array, factor: Array) -> Array:
    def moved(u: Array, by: Array) -> Array:
        values = model.values(u)
        new = values[path] + jnp.log10(by) if path.endswith("log_mass") else values[path] * by
        support = model.priors[path].support
        low, high = (
            jnp.asarray(getattr(support, n, d)) for n, d in (("lower_bound", -jnp.inf), ("upper_bound", jnp.inf))
        )
        margin = jnp.where(jnp.isfinite(high - low), 0.01 * (high - low), 0.0)
        return model.unconstrained({**values, path: jnp.clip(new, low + margin, high - margin)})

    return jax.vmap(moved)(points, factor)


@eqx.filter_jit
def redshifts(model: FluxModel, points: Array) -> Array:
    """(row,) redshifts of (row, n) unconstrained numbers."""
    return jax.vmap(lambda u: model.values(u)["redshift"])(points)
