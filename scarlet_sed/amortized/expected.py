"""What fluxes are expected at a redshift, and by how much an object's differ: what a network needs to be precise.

The shapes of all spectra at one redshift are taken as one Gaussian cloud. Band by band, an object's flux is compared
with what the bands before it let one expect, in units of the error of that expectation, noise included. So a network
sees differences of a per cent where fluxes are that good.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.model import Library
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array, HostArray

_FEWEST = 200
"""Spectra that a cell of redshift is known from; from its neighbours' where it has fewer itself."""
_DEEP = 0.01
"""Depth, over an object's mean flux, of the fluxes that the cloud is made from; they also have errors of 2 % each."""
LEAST = 1e-3
"""Added to all errors of a shape, in quadrature."""
SCALE = 1.0
"""In ln flux, by which all of an object's fluxes may differ from what the cloud's references make of them."""
_MISSING = 100.0
"""The error of a shape in a band that is not there."""


class ExpectedFluxes(eqx.Module):
    """The cloud of shapes at knots in ln(1 + z).

    Args:
        mean: (knot, band) of `Measured.shape`.
        covariance: (knot, band, band).
        low, high: ends of the knots in ln(1 + z).
    """

    mean: Array
    covariance: Array
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    @staticmethod
    def of(spectra: Library, depth: Array, ends: tuple[float, float], cells: int) -> "ExpectedFluxes":
        """The clouds of a library.

        Args:
            spectra: the library.
            depth: (band,) depths of the bands, of which the ratios matter.
            ends: of the redshift.
            cells: of the grid.
        """
        flux: HostArray = np.asarray(spectra.flux, np.float64)
        flux = flux / np.maximum(flux.mean(axis=1, keepdims=True), 1e-30)
        relative: HostArray = np.asarray(depth, np.float64) / np.median(np.asarray(depth))
        measured = Measured(*(as_float(a) for a in (flux, _DEEP * np.hypot(relative, 2 * flux), np.ones(flux.shape))))
        shape: HostArray = np.asarray(measured.shape, np.float64)
        low, high = (float(np.log1p(end)) for end in ends)
        away = np.log1p(np.asarray(spectra.redshift, np.float64))
        order = np.argsort(away, kind="stable")
        knots, cell = np.linspace(low, high, cells + 1), (high - low) / cells
        firsts, lasts = (np.searchsorted(away[order], knots + side * cell) for side in (-1, 1))
        means, covariances = [], []
        for first, last in zip(firsts, lasts, strict=True):
            lacking = max(0, _FEWEST - (last - first))
            rows = order[max(0, first - lacking) : last + lacking]
            means.append(shape[rows].mean(axis=0))
            covariances.append(np.cov(shape[rows].T).reshape(flux.shape[1], flux.shape[1]))
        return ExpectedFluxes(as_float(np.stack(means)), as_float(np.stack(covariances)), low, high)

    def surprises(self, measured: Measured, redshift: Array) -> Array:
        """(2 * band,): how far each flux is from what is expected, squashed; and the logarithms of what is usual.

        They count as constants: derivatives do not go through them.

        Args:
            measured: fluxes of one object.
            redshift: its redshift.
        """
        at = (jnp.log1p(redshift) - self.low) / (self.high - self.low) * (self.mean.shape[0] - 1)
        cell = jnp.clip(jnp.floor(at).astype(int), 0, self.mean.shape[0] - 2)
        share = jnp.clip(at - cell, 0.0, 1.0)
        mean, covariance = ((1 - share) * a[cell] + share * a[cell + 1] for a in (self.mean, self.covariance))
        error = jnp.where(measured.present > 0, jnp.hypot(measured.shape_error, LEAST), _MISSING)
        # the reference depends on the errors: let all shapes be off together
        scale = SCALE * measured.present * measured.shape_slope
        root = jnp.linalg.cholesky(covariance + scale[:, None] * scale + jnp.diag(error**2))
        away = measured.present * (measured.shape - mean)
        units = jax.scipy.linalg.solve_triangular(root, away, lower=True)
        return jax.lax.stop_gradient(jnp.concatenate([jnp.arcsinh(units), jnp.log(jnp.diagonal(root))]))
