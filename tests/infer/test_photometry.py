"""Fits of catalogues of fluxes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DataError, ParameterError, ShapeError
from scarlet_sed.infer.levenberg import minimize
from scarlet_sed.infer.photometry import fit_photometry
from scarlet_sed.infer.zero_points import zero_points
from scarlet_sed.spectrum.priors import HISTORIES, deep_field_population
from tests.sps import small_grid

BANDS = ("acs_wfc_f606w", "acs_wfc_f814w", "F090W", "F115W", "F150W", "F182M", "F200W", "F277W", "F356W", "F444W")


def simple() -> ss.StellarPopulation:
    return ss.StellarPopulation(
        dist.Uniform(6.0, 12.0),
        -0.3,
        -2.5,
        history=ss.Constant(dist.LogNormal(-1.0, 0.8)),
        attenuation=ss.Attenuation(ss.Calzetti(), dist.LogNormal(-1.0, 0.7), 1.5),
        engine=small_grid.exact(),
    )


def truth(mass: float, age: float, av: float) -> ss.StellarPopulation:
    return simple().freeze("*").set({"log_mass": mass, "history.age": age, "attenuation.av": av})


def test_masses_and_redshifts_are_recovered() -> None:
    filters = ss.Filters.load(BANDS)
    galaxies = [((9.5, 0.3, 0.4), 0.8), ((10.4, 2.0, 0.2), 1.3), ((8.7, 0.1, 0.7), 4.6)]
    flux = np.stack([np.asarray(truth(*numbers)(filters, z)) for numbers, z in galaxies])
    error = 0.01 * flux + 0.1
    flux[1, 3], error[2, 5] = np.nan, np.inf
    found = fit_photometry(
        flux, error, filters, simple(), dist.Uniform(0.05, 6.0), library=2048, starts=10, steps=30, seed=3
    )
    np.testing.assert_allclose(found.redshift, [z for _, z in galaxies], atol=0.03)
    mass, spread = found.values["log_mass"], found.errors["log_mass"]
    assert np.all(np.abs(mass - [n[0] for n, _ in galaxies]) < 4 * spread) and np.all(spread < 0.2)
    assert np.all(found.chi2 / found.bands < 0.5) and found.bands.tolist() == [10, 9, 9]
    assert found.modes.shape == found.mode_redshift.shape == (3, 10 + 4)  # four more around the best redshift
    # no fit at the redshifts found climbs higher than the free one did
    there = fit_photometry(flux, error, filters, simple(), found.redshift, library=2048, starts=8, steps=30)
    assert np.all(found.log_posterior > there.log_posterior - np.log(6.0 - 0.05) - 0.05)
    again = found.spectrum(simple(), 0)(filters, found.redshift[0])
    np.testing.assert_allclose(again, found.model[0], rtol=1e-4)


def test_known_redshifts_are_kept() -> None:
    filters = ss.Filters.load(BANDS)
    flux = np.asarray(truth(9.5, 0.3, 0.4)(filters, 1.5))[None]
    found = fit_photometry(flux, 0.05 * flux, filters, simple(), [1.5], library=256, starts=3, steps=15)
    assert found.redshift.tolist() == [1.5] and "redshift" not in found.values
    assert abs(found.values["log_mass"][0] - 9.5) < 3 * found.errors["log_mass"][0]


def test_zero_points_are_found_and_faint_bands_are_left_alone() -> None:
    filters = ss.Filters.load(BANDS)
    rng = np.random.default_rng(1)
    redshift = rng.uniform(0.5, 3.0, 12)
    numbers = rng.uniform([9.0, 0.1, 0.1], [10.0, 2.0, 0.8], (12, 3))
    flux = np.stack([np.asarray(truth(*n)(filters, z), float) for n, z in zip(numbers, redshift, strict=True)])
    wanted = np.ones(len(BANDS))
    wanted[[2, 7]] = 1.08, 0.94
    error = 0.01 * flux
    error[:, 9] = 10 * flux[:, 9]
    off = flux / wanted
    found = zero_points(off, error, filters, simple(), redshift, floor=0.01, rounds=3, library=256, starts=3, steps=15)
    assert found[9] == 1.0
    # a slope over all bands is dust's as much as zero points': what a band says is its step against its neighbours
    for band in (2, 7):
        step = found[band] / np.sqrt(found[band - 1] * found[band + 1])
        assert step == pytest.approx(wanted[band], abs=0.02)
    with pytest.raises(DataError, match="no band has 5 galaxies"):
        zero_points(off[:3], error[:3], filters, simple(), redshift[:3])


@pytest.mark.parametrize("history", HISTORIES)
def test_default_priors_can_be_evaluated_and_lie_in_the_domain(history: str, key: jax.Array) -> None:
    population = deep_field_population(history)
    drawn = {
        path: p.prior.sample(key, p.value.shape[: p.value.ndim - len(p.prior.event_shape)])
        for path, p in population.parameters.items()
    }
    flux = population.set(drawn)(ss.Filters.load(BANDS), 2.0)
    assert np.all(np.isfinite(flux)) and np.all(np.asarray(flux) > 0)


def test_an_unknown_history_is_refused() -> None:
    with pytest.raises(ParameterError, match="continuity"):
        deep_field_population("psb")


def test_levenberg_finds_the_minimum_of_a_valley() -> None:
    def residuals(u: jax.Array) -> jax.Array:
        return jnp.stack([10 * (u[1] - u[0] ** 2), 1 - u[0]])

    found = minimize(residuals, lambda u: 0.0 * jnp.sum(u), jnp.asarray([-1.2, 1.0]), 60, 9.0)
    np.testing.assert_allclose(found.position, [1.0, 1.0], atol=1e-3)
    np.testing.assert_allclose(found.hessian, [[401.0, -20.0 * 10], [-200.0, 100.0]], rtol=0.01)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"errors": np.ones((1, 9))}, ShapeError, "10 bands"),
        ({"errors": np.zeros((1, 10))}, DataError, "not positive"),
        ({"fluxes": np.full((1, 10), np.nan)}, DataError, "no flux"),
        ({"redshift": dist.Uniform(0.0, 3.0)}, ParameterError, "reaches zero"),
        ({"spectrum": truth(9.0, 0.3, 0.1)}, ParameterError, "nothing is free"),
    ],
)
def test_bad_catalogues_are_refused(change, error, says) -> None:
    arguments = {
        "fluxes": np.ones((1, 10)),
        "errors": np.ones((1, 10)),
        "filters": BANDS,
        "spectrum": simple(),
        "redshift": 1.0,
    }
    with pytest.raises(error, match=says):
        fit_photometry(**(arguments | change))
