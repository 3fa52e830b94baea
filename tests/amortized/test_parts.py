"""The parts of amortized posteriors: priors as normal numbers, surveys, what networks see, densities of redshift."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.stats import multivariate_normal

import scarlet_sed as ss
from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.expected import LEAST, ExpectedFluxes
from scarlet_sed.amortized.model import AMPLITUDE, Described, Library
from scarlet_sed.amortized.networks import Networks, Sizes
from scarlet_sed.amortized.normal import PriorMap
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.amortized.training import observe
from scarlet_sed.distributions import LogUniformRedshift
from scarlet_sed.errors import DataError, ParameterError, ShapeError
from tests.amortized import small


def test_prior_maps_make_draws_normal_and_can_be_undone(x64, rng):
    draws = np.stack([rng.normal(2.0, 0.5, 50_000), rng.standard_t(2, 50_000), rng.logistic(size=50_000)], axis=1)
    found = PriorMap.of(draws)
    fresh = np.stack([rng.normal(2.0, 0.5, 5000), rng.standard_t(2, 5000), rng.logistic(size=5000)], axis=1)
    normal = np.asarray(jax.vmap(found.normal)(jnp.asarray(fresh)))
    for column in normal.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    back, slope = jax.vmap(found.unconstrained)(jnp.asarray(normal))
    np.testing.assert_allclose(back, fresh, rtol=1e-7, atol=1e-9)
    there = jnp.linspace(-6, 6, 201)
    numbers = jnp.stack([there] * 3, axis=1)
    up, _ = jax.vmap(found.unconstrained)(numbers + 1e-6)
    down, _ = jax.vmap(found.unconstrained)(numbers - 1e-6)
    at, slope = jax.vmap(found.unconstrained)(numbers)
    assert np.all(np.diff(at, axis=0) > 0)
    np.testing.assert_allclose((up - down) / 2e-6, np.exp(slope), rtol=1e-4)


def test_numbers_of_a_spectrum_can_be_undone_and_their_volume_is_the_jacobian(x64, rng):
    described = Described.of(small.spectrum())
    measured = Measured(jnp.asarray(rng.uniform(5, 9, 7)), jnp.ones(7), jnp.ones(7))
    numbers, z = jnp.asarray(rng.normal(size=described.numbers)), jnp.asarray(2.0)
    values, volume = described.values(numbers, measured, z)
    back, again = described.numbers_of(values, measured, z)
    np.testing.assert_allclose(back, numbers, atol=1e-8)
    np.testing.assert_allclose(again, volume, atol=1e-8)

    def unconstrained(numbers):
        values, _ = described.values(numbers, measured, z)
        whole = described.model.unconstrained(values)
        # the amplitude counts as it is
        return whole.at[described.amplitude].set(values[described.path])

    jacobian = jax.jacfwd(unconstrained)(numbers)
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], volume, atol=1e-6)


@pytest.mark.parametrize("numbers", [1, 2, 3, 12])
def test_every_number_of_a_flow_follows_all_others_and_what_it_is_told(x64, numbers):
    sizes = Sizes(summary=5, layers=6, width=16, knots=4)
    told, place = jax.random.normal(jax.random.key(9), (5,)), 0.3 * jnp.arange(numbers) - 1.0

    @eqx.filter_jit
    def looked_at(flow):
        slopes = jax.jacfwd(flow.transform, argnums=(0, 1))(place, told)
        return *slopes, flow.inverse(flow.transform(place, told), told)

    for seed in range(4):
        slopes, by_told, back = looked_at(Networks.flow_of(jax.random.key(seed), sizes, numbers).bijection)
        assert np.all(np.abs(by_told).max(axis=1) > 1e-9)
        # of two or three, the first that is transformed may be the last that is
        assert numbers < 4 or np.all(np.abs(slopes) > 0)
        np.testing.assert_allclose(back, place, atol=1e-9)


def test_priors_of_numbers_are_standard_normal():
    _, spectra, _ = small.drawn()
    normal = np.asarray(spectra.normal)
    for column in normal.T:
        assert stats.kstest(column, "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(normal.T) - np.eye(normal.shape[1])).max() < 0.1


def test_what_networks_see_knows_no_scale_but_in_its_last_number(x64, rng):
    flux, sigma = rng.normal(5, 3, 7), rng.uniform(0.5, 2, 7)
    present = np.array([1.0, 1, 0, 1, 1, 1, 1])
    one = Measured(*(jnp.asarray(a) for a in (flux, sigma, present)))
    other = Measured(jnp.asarray(100 * flux), jnp.asarray(100 * sigma), jnp.asarray(present))
    np.testing.assert_allclose(one.features[:-1], other.features[:-1], atol=1e-12)
    np.testing.assert_allclose(other.features[-1] - one.features[-1], 2 / 3)
    np.testing.assert_allclose(other.reference, 100 * one.reference)
    # what is missing is not seen
    hidden = Measured(one.flux.at[2].set(1e6), one.sigma.at[2].set(1e-6), one.present)
    np.testing.assert_array_equal(one.features, hidden.features)


def test_heavier_objects_have_the_same_numbers(x64):
    described = Described.of(small.spectrum())
    measured = Measured(jnp.full(7, 5.0), jnp.ones(7), jnp.ones(7))
    brighter = Measured(jnp.full(7, 50.0), jnp.full(7, 10.0), jnp.ones(7))
    normal = jnp.zeros(described.numbers - 1)
    one = described.described(normal, jnp.asarray(8.0), measured, jnp.asarray(1.0))
    other = described.described(normal, jnp.asarray(9.0), brighter, jnp.asarray(1.0))
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_surprises_are_standard_normal_and_know_nothing_of_missing_bands(rng):
    """Shapes that scatter about lines of redshift, with bands tied to each other."""
    count, bands = 40_000, 5
    z = np.expm1(rng.uniform(np.log(1.1), np.log(9.0), count))
    root = 0.3 * np.tril(rng.normal(size=(bands, bands))) + 0.05 * np.eye(bands)

    def spectra(z: np.ndarray) -> np.ndarray:
        slope = np.log1p(z)[:, None] * np.linspace(-0.3, 0.3, bands)
        flux = np.exp(slope + rng.normal(size=(len(z), bands)) @ root.T)
        return flux / flux.mean(axis=1, keepdims=True)

    known = Library(jnp.zeros((count, 1)), jnp.asarray(z), jnp.asarray(spectra(z)))
    expected = ExpectedFluxes.of(known, jnp.ones(bands), (0.1, 8.0), 60)
    for signal, most in ((3.0, 0.4), (300.0, 0.1)):
        z = np.expm1(rng.uniform(np.log(1.1), np.log(9.0), 4000))
        flux, sigma = spectra(z), 1 / signal
        seen = flux + sigma * rng.normal(size=flux.shape)
        measured = Measured(jnp.asarray(seen), jnp.full(flux.shape, sigma), jnp.ones(flux.shape))
        found = np.asarray(jax.vmap(expected.surprises)(measured, jnp.asarray(z)))
        # the first holds how bright all of them are, of which nothing is expected
        units = np.sinh(found[:, 1:bands])
        np.testing.assert_allclose(units.std(axis=0), 1.0, atol=most)
        assert np.abs(np.corrcoef(units.T) - np.eye(bands - 1)).max() < most
    one = Measured(jnp.asarray(flux[0]), jnp.full(bands, 0.01), jnp.ones(bands).at[2].set(0.0))
    other = eqx.tree_at(lambda m: m.flux, one, one.flux.at[2].set(50.0))
    np.testing.assert_allclose(
        expected.surprises(one, jnp.asarray(1.0)), expected.surprises(other, jnp.asarray(1.0)), atol=1e-5
    )


def _under_clouds(cloud, one):
    """(knot,) logarithms of probability and (knot, axis + 1) places, straight from the formula, in double precision."""
    own, slope = np.asarray(one.present) > 0, np.asarray(one.shape_slope, float)
    variance = (np.asarray(one.shape_error, float) ** 2 + LEAST**2 + np.asarray(cloud.rest, float))[own]
    score, places = [], []
    for mean, axes in zip(np.asarray(cloud.mean, float), np.asarray(cloud.axes, float), strict=True):
        basis = np.concatenate([axes, slope[:, None]], axis=1)[own]
        away = (np.asarray(one.shape, float) - mean)[own]
        covariance = np.diag(variance) + basis @ basis.T
        score.append(multivariate_normal(np.zeros(own.sum()), covariance).logpdf(away))
        places.append(basis.T @ np.linalg.solve(covariance, away))
    return np.array(score), np.array(places)


@pytest.mark.parametrize(("signal", "most"), [(5.0, 0.02), (300.0, 0.1)])
def test_a_profile_is_the_probability_of_fluxes_under_a_cloud_at_each_redshift(signal, most):
    _, _, networks = small.drawn()
    cloud = networks.redshift.profile
    flux, _, _ = small.objects(3)
    there = np.isfinite(flux)
    for row in range(3):
        seen = np.where(there, flux, 7.0)[row]
        one = Measured(*(jnp.asarray(a, jnp.float32) for a in (seen, seen / signal, there[row])))
        score, places = (np.asarray(a, float) for a in cloud(one))
        expected, where = _under_clouds(cloud, one)
        near = expected > expected.max() - 20
        difference = (score - expected)[near]
        np.testing.assert_allclose(difference, difference[0], atol=most)  # but for a constant
        np.testing.assert_allclose(places, where, atol=0.02)


def test_axes_of_clouds_turn_little_from_knot_to_knot():
    _, _, networks = small.drawn()
    axes = np.asarray(networks.redshift.profile.axes, float)
    assert np.mean(np.sum(axes[1:] * axes[:-1], axis=1) > 0) > 0.98


def test_densities_far_below_the_highest_have_gradients():
    _, _, networks = small.drawn()
    measured = Measured(jnp.full(7, 5.0), jnp.ones(7), jnp.ones(7))

    def loss(bias):
        density = eqx.tree_at(lambda d: d.overall.biases[-1], networks.redshift, bias)
        return -density(measured).log_prob(jnp.asarray(1.0))

    bias = networks.redshift.overall.biases[-1]
    gradient = jax.grad(loss)(bias.at[: bias.size // 2].set(-300.0))
    assert np.all(np.isfinite(gradient))


def test_what_a_flow_is_told_at_draws_of_redshift_is_interpolated():
    _, _, networks = small.drawn()
    flux, error, _ = small.objects(1)
    measured = Measured(*(jnp.asarray(a[0]) for a in (np.nan_to_num(flux, nan=9.0), error, np.ones_like(error))))
    density = networks.redshift(measured)
    told = networks.told(measured, density)
    for knot in (0, 5, -1):
        z = jnp.expm1(told.away[knot])
        np.testing.assert_allclose(told.at(z), networks.summary(measured, z), rtol=2e-3, atol=2e-3)
    z = jnp.expm1(0.5 * (told.away[8] + told.away[9]))
    np.testing.assert_allclose(told.at(z), 0.5 * (told.summaries[8] + told.summaries[9]), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(told.at(jnp.asarray(1e-3)), told.summaries[0])
    one = networks.told(measured, jnp.asarray(2.0))
    np.testing.assert_allclose(one.at(jnp.asarray(5.0)), networks.summary(measured, jnp.asarray(2.0)), rtol=1e-5)


def test_densities_of_redshift_are_densities_and_are_drawn_from():
    _, _, networks = small.drawn()
    density = networks.redshift
    # a bumpy one
    rough = density.overall.biases[-1].at[5:9].set(4.0).at[30].set(3.0)
    density = eqx.tree_at(lambda d: d.overall.biases[-1], density, rough)
    density = density(Measured(jnp.full(7, 5.0), jnp.ones(7), jnp.ones(7)))
    low, high = np.expm1(float(density.low)), np.expm1(float(density.high))
    grid = np.linspace(low, high, 20_001)
    p = np.exp(np.asarray(jax.vmap(density.log_prob)(jnp.asarray(grid))))
    np.testing.assert_allclose(np.trapezoid(p, grid), 1.0, atol=2e-3)
    drawn = np.asarray(density.sample(jax.random.split(jax.random.key(0), 20_000)))
    assert low <= drawn.min() and drawn.max() <= high * (1 + 1e-5)
    until = np.concatenate([[0.0], np.cumsum(0.5 * (p[1:] + p[:-1]) * np.diff(grid))])
    assert stats.kstest(np.interp(drawn, grid, until / until[-1]), "uniform").pvalue > 1e-3
    assert float(density.log_prob(jnp.asarray(high + 1.0))) == -np.inf


def test_the_prior_of_redshift_is_uniform_in_its_logarithm():
    prior = LogUniformRedshift(0.1, 8.0)
    drawn = np.asarray(prior.sample(jax.random.key(1), (20_000,)))
    assert stats.kstest((np.log1p(drawn) - np.log1p(0.1)) / np.log(9 / 1.1), "uniform").pvalue > 1e-3
    grid = np.linspace(0.1, 8.0, 10_001)
    density = np.exp(np.asarray(prior.log_prob(grid)))
    np.testing.assert_allclose(np.trapezoid(density, grid), 1.0, rtol=1e-4)
    np.testing.assert_allclose(float(prior.mean), np.trapezoid(grid * density, grid), rtol=1e-3)


def test_errors_are_those_of_the_survey():
    filters = ss.Filters.load(["f150w", "f200w"])
    survey = Survey.of(filters, (1.0, 2.0), scatter=0.05, common=(-0.5, 0.5), floor=(0.03, 0.03))
    keys = jax.random.split(jax.random.key(0), 4000)
    depth = np.asarray(jax.vmap(survey.background)(keys))
    np.testing.assert_allclose(np.median(depth, axis=0), (1.0, 2.0), rtol=0.05)
    # bands share the factor of an object
    assert np.corrcoef(np.log(depth).T)[0, 1] > 0.9
    flux = jnp.array([100.0, 0.0])
    seen, sigma = jax.vmap(lambda k: survey.observed(k, flux, jnp.array([1.0, 2.0])))(keys)
    expected = np.array([np.hypot(1.0, 3.0), 2.0])
    np.testing.assert_allclose(np.std(seen, axis=0), expected, rtol=0.05)
    np.testing.assert_allclose(np.median(sigma, axis=0), expected, rtol=0.02)


def test_photons_and_depths_are_found_in_a_catalogue(rng):
    filters = ss.Filters.load(["f150w", "f200w"])
    flux = 10 ** rng.uniform(-1, 4, (4000, 2))
    error = np.array([1.0, 2.0]) * np.sqrt(1 + flux / 50.0)
    error[:40, 0] = np.nan
    survey = Survey.fitted(filters, flux, error)
    np.testing.assert_allclose(survey.depth, (1.0, 2.0), rtol=0.05)
    np.testing.assert_allclose(survey.photon, 50.0, rtol=0.1)
    with pytest.raises(DataError, match="objects with errors"):
        Survey.fitted(filters, flux[:5], error[:5])


def test_some_bands_are_always_left():
    survey = small.survey()
    there = np.asarray(jax.vmap(survey.present)(jax.random.split(jax.random.key(2), 4000)))
    assert there.sum(axis=1).min() >= 3
    assert 0.45 < np.mean(there.all(axis=1)) < 0.62


def test_weights_make_masses_uniform_among_what_a_survey_finds():
    described, spectra, _ = small.drawn()
    made = observe(described, small.survey(), spectra, jax.random.key(4))
    mass, weight = np.asarray(made.mass), np.asarray(made.weight)
    rng = np.random.default_rng(0)
    # the same without the short cut: all masses, and only what is found
    flat = rng.uniform(6.0, 12.0, (20, len(mass)))
    survey, found = small.survey(), []
    for row in flat:
        keys = jax.random.split(jax.random.key(int(1e6 * row[0])), len(mass))
        background = jax.vmap(survey.background)(keys)
        seen, sigma = jax.vmap(survey.observed)(
            keys, spectra.flux * 10.0 ** (row[:, None] - AMPLITUDE).astype(np.float32), background
        )
        found.append(row[np.asarray(survey.signal(seen, sigma)) >= 1])
    expected = np.histogram(np.concatenate(found), np.linspace(6, 12, 7))[0]
    weighted = np.histogram(mass, np.linspace(6, 12, 7), weights=weight)[0]
    np.testing.assert_allclose(weighted / weighted.sum(), expected / expected.sum(), atol=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": (1.0, 2.0)}, "depth has the shape"),
        ({"depth": -1.0}, "depth is not positive"),
        ({"floor": (0.0, 0.1)}, "floor is 0"),
        ({"common": (1.0, -1.0)}, "common is 1"),
        ({"least": 0.0}, "make no sense"),
        ({"detecting": ("f999w",)}, "no band of the survey"),
    ],
    ids=lambda c: next(iter(c)) if isinstance(c, dict) else "",
)
def test_surveys_that_make_no_sense_are_refused(change, message):
    with pytest.raises((ParameterError, ShapeError), match=message):
        Survey.of(small.FILTERS, **{"depth": 1.0, **change})


def test_a_spectrum_without_a_free_mass_is_refused():
    with pytest.raises(ParameterError, match="uniform prior"):
        Described.of(small.spectrum().replace(log_mass=9.0))
