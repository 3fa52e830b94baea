"""How well a survey measures fluxes: errors and missing bands, to draw training sets from."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import DataError, ParameterError, ShapeError
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.typing import Array, HostArray

FEWEST = 3
"""Bands that are never missing together."""


class Survey(eqx.Module):
    """Errors of fluxes in nJy, band by band, over a wide range of depths.

    The variance of a flux f is  d^2 (1 + max(f, 0) / p) + (e f)^2:  a background whose depth d differs from band to
    band and, by a common factor, from object to object (apertures and pixels of many sizes); photons, which double it
    at a flux of p times d over its typical value; and an error floor e of zero points and models, whose logarithm is
    uniform.

    Args:
        depth: (band,) typical standard deviation of the background in nJy.
        photon: (band,) nJy at the typical depth; infinite for none.
        scatter: (band,) dex by which depths vary from band to band.
        common: (2,) dex, range of the factor of all depths.
        floor: (2,) range of the relative error.
        missing: share of objects that miss bands; up to `most` of the bands each.
        most: see above.
        detecting: (band,) 1 for bands whose mean signal-to-noise decides what is an object; 0 for others.
        least: mean signal-to-noise that an object has.
    """

    depth: Array
    photon: Array
    scatter: Array
    common: Array
    floor: Array
    missing: Array
    most: Array
    detecting: Array
    least: Array

    @staticmethod
    def of(
        filters: Filters,
        depth: Any,
        *,
        photon: Any = np.inf,
        scatter: Any = 0.1,
        common: tuple[float, float] = (-1.0, 1.0),
        floor: tuple[float, float] = (0.01, 0.05),
        missing: float = 0.5,
        most: float = 0.7,
        detecting: tuple[str, ...] | None = None,
        least: float = 1.0,
    ) -> "Survey":
        """A survey from plain numbers; `detecting` names bands (all by default).

        Raises:
            ShapeError: if depths are not as many as bands.
            ParameterError: for numbers that make no sense, or a detecting band that is not among the filters.
        """
        bands = len(filters)
        each: list[HostArray] = []
        for name, numbers in (("depth", depth), ("photon", photon), ("scatter", scatter)):
            given = np.asarray(numbers, np.float64)
            if given.shape not in ((), (bands,)):
                raise ShapeError(
                    f"{name} has the shape {given.shape}", fix=f"give one number, or one for each of {bands}"
                )
            if np.any(np.isnan(given)) or np.any(given < 0) or (name != "scatter" and np.any(given == 0)):
                raise ParameterError(f"{name} is not positive", fix="give standard deviations in nJy")
            each.append(np.broadcast_to(given, (bands,)))
        for name, low, high in (("common", *common), ("floor", *floor)):
            if not low <= high or (name == "floor" and low <= 0):
                raise ParameterError(f"{name} is {low:g} to {high:g}", fix="give a rising range, a floor above zero")
        if not (0 <= missing <= 1 and 0 <= most < 1 and least > 0):
            raise ParameterError("missing, most or least make no sense", fix="give shares, and a signal above zero")
        unknown = sorted(set(detecting or ()) - set(filters.names))
        if unknown:
            raise ParameterError(f"{unknown[0]!r} is no band of the survey", fix=f"choose among {filters.names}")
        seen = [float(detecting is None or name in detecting) for name in filters.names]
        numbers = (*each, common, floor, missing, most, seen, least)
        return Survey(*(as_float(np.asarray(n, np.float64)) for n in numbers))

    @staticmethod
    def fitted(filters: Filters, fluxes: Any, errors: Any, **others: Any) -> "Survey":
        """A survey whose depths, scatter and photon noise are those of a catalogue or of the pixels of a mosaic.

        Args:
            filters: the bands.
            fluxes, errors: (object, band) nJy; rows without a finite positive error in a band do not count there.
            others: as for `of`.

        Raises:
            ShapeError: if shapes disagree.
            DataError: for a band with fewer than ten objects.
        """
        flux, error = np.asarray(fluxes, np.float64), np.asarray(errors, np.float64)
        if flux.shape != error.shape or flux.ndim != 2 or flux.shape[1] != len(filters):
            raise ShapeError(f"fluxes {flux.shape}, errors {error.shape}", fix="give (object, band) arrays")
        used = np.isfinite(flux) & np.isfinite(error) & (error > 0)
        rows = []
        for name, f, e, own in zip(filters.names, flux.T, error.T, used.T, strict=True):
            if own.sum() < 10:
                raise DataError(f"{name} has {own.sum()} objects with errors", fix="leave the band out")
            rows.append(_relation(f[own], e[own]))
        depth, photon, scatter = np.array(rows).T
        common = np.median(np.where(used, np.log10(np.where(used, error, 1.0) / depth), np.nan), axis=1)
        low, high = np.nanquantile(common[np.isfinite(common)], (0.001, 0.999))
        return Survey.of(
            filters, depth, **{"photon": photon, "scatter": scatter, "common": (low - 0.1, high + 0.1), **others}
        )

    @property
    def plain(self) -> dict[str, Any]:
        """All numbers as JSON takes them; None stands for an infinite one."""
        found = {name: np.asarray(value, np.float64).tolist() for name, value in vars(self).items()}
        return {**found, "photon": [p if np.isfinite(p) else None for p in found["photon"]]}

    @staticmethod
    def of_plain(numbers: Mapping[str, Any]) -> "Survey":
        """The survey of `plain`."""
        photon = [np.inf if p is None else p for p in numbers["photon"]]
        return Survey(**{name: as_float(value) for name, value in {**numbers, "photon": photon}.items()})

    def background(self, key: Array) -> Array:
        """(band,) nJy, drawn: the background's standard deviation for one object."""
        own, shared = jax.random.split(key)
        factor = jax.random.uniform(shared, (), minval=self.common[0], maxval=self.common[1])
        dex = factor + self.scatter * jax.random.normal(own, self.depth.shape)
        return self.depth * 10.0**dex

    def observed(self, key: Array, flux: Array, background: Array) -> tuple[Array, Array]:
        """(band,) fluxes with noise, and their standard deviations as a catalogue lists them: from what was measured.

        Args:
            key: of everything random.
            flux: (band,) nJy without noise.
            background: (band,) nJy.
        """
        noise, high = jax.random.split(key)
        logarithm = jnp.log(self.floor)
        floor = jnp.exp(jax.random.uniform(high, (), minval=logarithm[0], maxval=logarithm[1]))

        def sigma(flux: Array) -> Array:
            photons = jnp.maximum(flux, 0.0) / (self.photon * background / self.depth)
            return jnp.sqrt(background**2 * (1 + photons) + (floor * flux) ** 2)

        seen = flux + sigma(flux) * jax.random.normal(noise, flux.shape)
        return seen, sigma(seen)

    def present(self, key: Array) -> Array:
        """(band,) 1 for bands that were observed, drawn; `FEWEST` at least."""
        some, share, each = jax.random.split(key, 3)
        chance = jax.random.uniform(share, ()) * self.most
        order = jax.random.uniform(each, self.depth.shape)
        chance = jnp.where(jax.random.uniform(some, ()) < self.missing, chance, 0.0)
        kept = (order >= chance) | (jnp.argsort(jnp.argsort(-order)) < FEWEST)
        return kept.astype(self.depth.dtype)

    def signal(self, flux: Array, sigma: Array) -> Array:
        """Mean signal-to-noise of (..., band) fluxes in the bands that detect."""
        return jnp.sum(self.detecting * flux / sigma, axis=-1) / jnp.sum(self.detecting)


def _relation(flux: HostArray, error: HostArray) -> tuple[float, float, float]:
    """Depth in nJy, photon scale in nJy and scatter in dex, of one band."""
    faint = np.abs(flux) < 5 * error
    base = error[faint] if faint.sum() >= 10 else error[np.argsort(np.abs(flux))[: max(10, len(flux) // 4)]]
    depth = float(np.median(base))
    scatter = float(1.4826 * np.median(np.abs(np.log10(base / depth))))
    excess = (error / depth) ** 2 - 1
    bright = flux > 20 * depth
    slope = float(np.median(excess[bright] / flux[bright])) if bright.sum() >= 10 else 0.0
    return depth, 1 / slope if slope > 0 else np.inf, scatter
