"""Shifted band averages against dense integration, and their smoothness in redshift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.photometry.filters import Filter, Filters
from scarlet_sed.photometry.rebin import LIGHT_SPEED, cell_averages, nearest_cell
from scarlet_sed.photometry.shift import band_averages

NAMES = ("acs_wfc_f606w", "jwst_f090w", "jwst_f115w", "jwst_f182m", "jwst_f444w")


def spectrum(wavelength: np.ndarray) -> np.ndarray:
    """f_lambda with a break, a bend and lines resolved by the fine grid."""
    lines = sum(a * np.exp(-0.5 * (np.log(wavelength / w) / 0.002) ** 2) for w, a in ((5008.0, 5.0), (6565.0, -0.7)))
    return (wavelength / 5500.0) ** -1.5 * (1 + lines) * np.where(wavelength < 4000.0, 0.4, 1.0)


@pytest.mark.parametrize("redshift", [0.0, 0.5003, 1.0, 2.3337, 6.1])
def test_band_averages_are_right_at_any_shift(redshift: float) -> None:
    with jax.enable_x64(True):
        wavelength = np.geomspace(400.0, 60000.0, 160_001)
        first, last = nearest_cell(420.0), nearest_cell(55000.0)
        cells = cell_averages(wavelength, spectrum(wavelength), first, last) / LIGHT_SPEED
        found = band_averages(jnp.asarray(cells), first, Filters.load(NAMES), jnp.asarray(redshift))
    for name, value in zip(NAMES, np.asarray(found), strict=True):
        curve = Filter.load(name)
        measure = curve.measure
        rest = np.exp(measure.log_wavelength) / (1 + redshift)
        truth = np.sum(measure.mass * np.interp(rest, wavelength, spectrum(wavelength)) * rest**2) / LIGHT_SPEED
        assert value == pytest.approx(truth, rel=5e-5), name


def test_two_derivatives_are_continuous_in_redshift() -> None:
    with jax.enable_x64(True):
        wavelength = np.geomspace(900.0, 60000.0, 20_001)
        first = nearest_cell(950.0)
        cells = jnp.asarray(cell_averages(wavelength, spectrum(wavelength), first, nearest_cell(55000.0)))
        bands = Filters.load(NAMES)

        def flux(z: jax.Array) -> jax.Array:
            return jnp.log(band_averages(cells, first, bands, z))

        # a whole number of cells is where the pieces of the spline meet
        joint = float(np.expm1(700 * 0.001))
        for order in (jax.jacfwd(flux), jax.jacfwd(jax.jacfwd(flux))):
            left, right = order(jnp.asarray(joint - 1e-9)), order(jnp.asarray(joint + 1e-9))
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5 * np.max(np.abs(left)))


def test_light_beyond_the_spectrum_is_dark() -> None:
    bands = Filters.load(NAMES)
    rest = jnp.ones(50)
    for redshift in (0.0, 3.0, 500.0):
        assert np.all(np.asarray(band_averages(rest, nearest_cell(100.0), bands, jnp.asarray(redshift))) >= 0)
    assert np.all(np.asarray(band_averages(rest, nearest_cell(100.0), bands, jnp.asarray(0.0))) == 0)
