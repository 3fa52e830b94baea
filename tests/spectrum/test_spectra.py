"""Spectra against independent calculations in plain numpy and astropy."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy import units as u
from astropy.modeling.models import BlackBody as AstropyBlackBody
from numpyro.distributions import constraints

from scarlet_sed.errors import DomainError, FilterError, ParameterError, ScarletSEDError, ShapeError
from scarlet_sed.parameters import Parameter
from scarlet_sed.photometry.filters import Filter, Filters
from scarlet_sed.spectrum.blackbody import BlackBody
from scarlet_sed.spectrum.free import FreeSpectrum
from scarlet_sed.spectrum.powerlaw import PowerLaw
from scarlet_sed.spectrum.templates import Templates
from tests.registry import BANDS, filters, template_grid


def average(name: str, f_nu: object) -> float:
    """Photon-counting AB average over a filter by brute force."""
    curve = Filter.load(name)
    wavelength = np.geomspace(curve.wavelength[0], curve.wavelength[-1], 100001)
    weight = np.interp(wavelength, curve.wavelength, curve.transmission)
    return float(np.sum(weight * f_nu(wavelength)) / np.sum(weight))


@pytest.mark.parametrize("redshift", [0.0, 0.7])
@pytest.mark.parametrize("temperature", [1500.0, 5800.0, 4e4])
def test_black_body_is_astropys(temperature: float, redshift: float) -> None:
    planck = AstropyBlackBody(temperature * u.K)

    def f_nu(wavelength: np.ndarray | float) -> np.ndarray:
        return planck(np.atleast_1d(wavelength) / (1 + redshift) * u.AA).value

    truth = [3.0 * average(name, f_nu) / f_nu(20000.0)[0] for name in BANDS]
    np.testing.assert_allclose(BlackBody(temperature, 3.0)(filters(), redshift), truth, rtol=3e-5)


def test_black_body_limits() -> None:
    pivot = np.asarray(filters().pivot)
    hot = np.asarray(BlackBody(1e6, 1.0)(filters()))
    np.testing.assert_allclose(hot / (pivot / 20000.0) ** -2, 1.0, rtol=0.05)
    cold = np.asarray(BlackBody(100.0, 1.0)(filters(), 5.0))
    assert np.all(np.isfinite(cold)) and cold[0] == 0.0


def test_power_law_slopes() -> None:
    np.testing.assert_allclose(PowerLaw(2.0, -2.0)(filters(), 3.0), 2.0, rtol=1e-6)
    truth = [average(name, lambda w: (w / 15000.0) ** 1.5) for name in BANDS]
    np.testing.assert_allclose(PowerLaw(1.0, -0.5, reference_wavelength=15000.0)(filters()), truth, rtol=1e-5)


def test_free_spectrum_by_name() -> None:
    spectrum = FreeSpectrum([1.0, 2.0, 3.0], ["F115W", "g", "F444W"])
    assert spectrum(Filters.generic(["g"])).tolist() == [2.0]
    assert spectrum(Filters.load(["jwst_f444w", "jwst_f115w"]), 4.0).tolist() == [3.0, 1.0]
    with pytest.raises(FilterError, match="'F200W'"):
        spectrum(Filters.load(["F115W", "F200W"]))


def test_free_spectrum_broadcasts_numbers_and_priors() -> None:
    assert FreeSpectrum(2.0, BANDS).flux.shape == (5,)
    prior = FreeSpectrum(dist.LogNormal(0.0, 1.0), filters()).flux
    assert prior.value.shape == (5,) and prior.prior.batch_shape == ()
    negative = FreeSpectrum(Parameter(-1.0, constraints.real), BANDS).flux
    assert negative.value.tolist() == [-1.0] * 5
    jansky = FreeSpectrum([1.0, 2.0] * u.uJy, ["a", "b"]).flux
    np.testing.assert_allclose(jansky, [1e3, 2e3])


def brute_templates(redshift: float, weights: tuple[float, ...]) -> list[float]:
    wavelength, curves = template_grid()
    f_nu = np.asarray(curves) * wavelength**2
    f_nu /= np.array([np.interp(5500.0, wavelength, row) for row in f_nu])[:, None]
    mix = np.asarray(weights) @ f_nu
    return [average(name, lambda w: np.interp(w / (1 + redshift), wavelength, mix)) for name in BANDS]


@pytest.mark.parametrize("redshift", [0.0, 0.5, 1.234, 3.37, 7.7])
def test_templates_against_brute_force(redshift: float) -> None:
    spectrum = Templates(*template_grid(), [1.0, 2.0])
    np.testing.assert_allclose(spectrum(filters(), redshift), brute_templates(redshift, (1.0, 2.0)), rtol=5e-4)


def test_templates_gradient_in_redshift_is_continuous(x64: None) -> None:
    spectrum = Templates(*template_grid(), [1.0, 0.5])
    slope = jax.jit(jax.vmap(jax.jacfwd(lambda z: spectrum.fluxes(filters(), z))))
    # lines cross the bands' edges here, and the shift crosses thousands of grid points
    redshift = jnp.linspace(1.0, 3.0, 20001)
    slopes = slope(redshift)
    steps = jnp.abs(jnp.diff(slopes, axis=0))
    halves = jnp.abs(jnp.diff(slope(0.5 * (redshift[1:] + redshift[:-1])) - slopes[:-1], axis=0))
    assert bool(jnp.all(jnp.isfinite(slopes)))
    # a jump would not shrink with the step
    assert float(jnp.max(halves)) < 0.7 * float(jnp.max(steps)) < 0.1 * float(jnp.max(jnp.abs(slopes)))


def test_templates_conserve_photons_in_lines() -> None:
    wavelength = np.linspace(4000.0, 7000.0, 3001)
    line = np.exp(-0.5 * ((wavelength - 5500.3) / 3.0) ** 2)
    spectrum = Templates(wavelength, line, 1.0)
    box = Filter("box", np.array([10990.0, 10991.0, 11009.0, 11010.0]) + np.array([-300, -300, 300, 300]), [0, 1, 1, 0])
    shifts = 1.0 + np.linspace(-0.005, 0.005, 23)
    fluxes = np.array([float(spectrum(Filters.load([box]), z)[0]) for z in shifts])
    np.testing.assert_allclose(fluxes, fluxes.mean(), rtol=1e-5)


def test_templates_know_their_range() -> None:
    wavelength = np.linspace(3000.0, 30000.0, 2000)
    spectrum = Templates(wavelength, np.ones_like(wavelength), 1.0)
    bands = Filters.load(["F115W", "F200W"])
    low, high = spectrum.redshift_range(bands)
    assert low < 0 < high and high == pytest.approx(1.0e4 / 3000.0 - 1, abs=0.1)
    with pytest.raises(DomainError, match="redshift 3"):
        spectrum(bands, 3.0)
    assert bool(jnp.all(jnp.isfinite(jax.jit(lambda z: spectrum.fluxes(bands, z))(30.0))))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: FreeSpectrum([1.0, 2.0, 3.0], ["a", "b"]), ShapeError),
        (lambda: FreeSpectrum(1.0, ["a", "a"]), FilterError),
        (lambda: FreeSpectrum(1.0, []), FilterError),
        (lambda: FreeSpectrum("bright", ["a"]), ParameterError),
        (lambda: BlackBody(5000.0, 1.0)(Filters.generic(["g"])), FilterError),
        (lambda: PowerLaw(1.0, 0.0)(Filters.generic(["g"])), FilterError),
        (lambda: BlackBody(5000.0, 1.0, reference_wavelength=0.0), ParameterError),
        (lambda: BlackBody([5000.0, 6000.0], 1.0), ShapeError),
        (lambda: PowerLaw(np.nan, 0.0), ParameterError),
        (lambda: Templates([1.0, 2.0], [[1.0, 1.0, 1.0]], 1.0), ShapeError),
        (lambda: Templates([2.0, 1.0], [1.0, 1.0], 1.0), ParameterError),
        (lambda: Templates([5000.0, 6000.0], [1.0, -1.0], 1.0), ParameterError),
        (lambda: Templates([5000.0, 6000.0], [1.0, 1.0], -1.0), ParameterError),
        (lambda: Templates([5000.0, 6000.0], [1.0, 1.0], [1.0, 2.0]), ShapeError),
        (lambda: Templates([6000.0, 7000.0], [1.0, 1.0], 1.0), ParameterError),
    ],
)
def test_bad_spectra(make: object, error: type[ScarletSEDError]) -> None:
    with pytest.raises(error, match="Fix: "):
        make()
