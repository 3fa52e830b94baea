"""A non-negative mix of spectra that the user gives: galaxy templates, stellar libraries, lines."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import DomainError, ParameterError, ShapeError
from scarlet_sed.parameters import Parameter, as_float, as_leaf, parameter
from scarlet_sed.photometry.filters import LOG_STEP, Filters
from scarlet_sed.photometry.parts import in_parts
from scarlet_sed.photometry.rebin import cell_averages, nearest_cell
from scarlet_sed.photometry.shift import band_averages
from scarlet_sed.spectrum.base import BandLight, Spectrum
from scarlet_sed.spectrum.numerics import checked_reference
from scarlet_sed.typing import Array, HostArray


@final
class Templates(Spectrum):
    """The sum of weights times rest-frame templates, seen at a redshift.

    Each template is averaged (photons conserved) onto a grid of ln(wavelength) with the step `LOG_STEP` = 0.001, which
    becomes the coefficients of a cubic B-spline. A redshift shifts the grid, so band fluxes have two continuous
    derivatives in redshift; features narrower than about 200 km/s are smoothed.

    Args:
        wavelength: (n,) rest-frame Angstrom, increasing.
        templates: (template, n) f_lambda in any unit, linear between the points, not negative.
        weights: (template,) not negative: the flux density f_nu in nJy that each template adds at the observed
            wavelength reference_wavelength * (1 + redshift). One number or prior serves all.
        reference_wavelength: rest-frame Angstrom where each template is scaled to f_nu = 1 (its mean within 1 %).

    Raises:
        ShapeError: if shapes disagree.
        ParameterError: for wavelengths, templates or weights that are not as above, or a template without light at
            the reference wavelength.
    """

    coefficients: Array
    first: int = eqx.field(static=True)
    reference_wavelength: float = eqx.field(static=True)
    weights: Array = parameter(unit="nJy", doc="flux density that each template adds at the reference wavelength")

    def __init__(self, wavelength: Any, templates: Any, weights: Any, reference_wavelength: float = 5500.0) -> None:
        nodes, curves = _checked(wavelength, templates)
        self.reference_wavelength = checked_reference(reference_wavelength)
        self.first, averages = _on_fine_grid(nodes, curves)
        self.coefficients = as_float(averages / _scale(averages, self.first, self.reference_wavelength))
        self.weights = _checked_weights(weights, len(curves))

    def fluxes(self, filters: Filters, redshift: Array) -> Array:
        """(band,) flux in nJy; with a traced redshift, a template counts as dark beyond its wavelengths.

        Raises:
            FilterError: if the filters have no curves.
            DomainError: for a concrete redshift at which a filter lies beyond the templates' wavelengths.
        """
        self._check_filters(filters, redshift)
        return self._averages(filters, redshift)

    def light(self, filters: Filters, redshift: Array, nodes: int = 1) -> BandLight:
        """One piece, at one or three nodes a band."""
        if nodes == 1:
            return super().light(filters, redshift)
        self._check_filters(filters, redshift)
        parts, at = in_parts(filters, nodes)
        return BandLight(self._averages(parts, redshift).reshape(1, *at.shape), at[None])

    def _averages(self, filters: Filters, redshift: Array) -> Array:
        return band_averages(self.weights @ self.coefficients, self.first, filters, redshift)

    def redshift_range(self, filters: Filters) -> tuple[float, float]:
        """The lowest and highest redshift at which the templates cover 99.9 % of every filter's transmission."""
        limits = np.log(filters.limits) / LOG_STEP
        last = self.first + self.coefficients.shape[-1] - 1
        low, high = np.expm1((limits.max() - last) * LOG_STEP), np.expm1((limits.min() - self.first) * LOG_STEP)
        return float(low), float(high)

    def _check_filters(self, filters: Filters, redshift: Array) -> None:
        filters.require_curves("Templates")
        if not any(isinstance(x, jax.core.Tracer) for x in (redshift, filters.fine_weight)):
            self._check_redshift(filters, float(redshift))

    def _check_redshift(self, filters: Filters, redshift: float) -> None:
        low, high = self.redshift_range(filters)
        if not low <= redshift <= high:
            raise DomainError(
                f"at redshift {redshift:g} a filter of {', '.join(filters.names)} lies beyond the templates",
                fix=f"give templates of wider range (zeros count), or stay within redshift {low:.3f} and {high:.3f}",
            )


def _checked_weights(weights: Any, count: int) -> Any:
    leaf = as_leaf(weights, "nJy", (count,))
    plain = leaf.value if isinstance(leaf, Parameter) else leaf
    if isinstance(plain, jax.Array) and not isinstance(plain, jax.core.Tracer) and bool(jnp.any(plain < 0)):
        raise ParameterError("a template has a negative weight", fix="give weights of zero or more")
    return leaf


def _checked(wavelength: Any, templates: Any) -> tuple[HostArray, HostArray]:
    nodes, curves = np.asarray(wavelength, np.float64), np.atleast_2d(np.asarray(templates, np.float64))
    if nodes.ndim != 1 or nodes.size < 2 or curves.ndim != 2 or curves.shape[1] != nodes.size:
        raise ShapeError(
            f"templates of shape {curves.shape} on wavelengths of shape {nodes.shape}",
            fix="give (template, n) and (n,)",
        )
    if not np.all(np.isfinite(nodes)) or nodes[0] <= 0 or np.any(np.diff(nodes) <= 0):
        raise ParameterError("the templates' wavelengths are not positive and increasing", fix="sort them, in Angstrom")
    if not np.all(np.isfinite(curves)) or np.any(curves < 0):
        raise ParameterError("the templates are not finite and zero or more", fix="mend or clip them")
    return nodes, curves


def _on_fine_grid(wavelength: HostArray, curves: HostArray) -> tuple[int, HostArray]:
    """The mean of f_nu (in the unit of lambda^2 f_lambda) over each cell of the fine grid, exactly."""
    first, last = nearest_cell(wavelength[0]), nearest_cell(wavelength[-1])
    return first, np.maximum(cell_averages(wavelength, curves, first, last), 0.0)


def _scale(averages: HostArray, first: int, reference: float) -> HostArray:
    cells = np.log(reference) / LOG_STEP - first + np.arange(-10, 11)
    every = np.arange(averages.shape[1])
    scale = np.stack([np.interp(cells, every, row, left=0.0, right=0.0).mean(keepdims=True) for row in averages])
    dark = np.flatnonzero(scale[:, 0] <= 1e-12 * averages.max(axis=1))
    if dark.size:
        raise ParameterError(
            f"template {dark[0]} has no light at the reference wavelength of {reference:g} Angstrom",
            fix="choose a rest-frame reference_wavelength at which every template shines",
        )
    return scale
