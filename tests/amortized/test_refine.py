"""From a network's draws to the exact posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.amortized.posterior import effective
from scarlet_sed.amortized.refine import _tempered, refine
from scarlet_sed.errors import ParameterError
from tests.amortized import small

DRAWS = 40_000


@pytest.mark.optimized
@pytest.mark.parametrize("known", [True, False], ids=["given", "free"])
def test_a_walk_finds_the_exact_posterior_from_a_network_that_knows_nothing(known, rng):
    posterior = small.posterior()
    described = posterior.described
    flux, _, redshift = small.objects(4)
    # faint, so that draws from the priors, weighed by the likelihood, can be the judge
    flux, error = np.nan_to_num(flux, nan=10.0), np.full(flux.shape, 25.0)
    normal = jnp.asarray(rng.normal(size=(4, DRAWS, described.numbers - 1)), jnp.float32)
    mass = jnp.asarray(rng.uniform(6, 12, (4, DRAWS)), jnp.float32)
    drawn = jax.vmap(jax.vmap(described.with_mass))(normal, mass)
    prior = jax.vmap(jax.vmap(described.log_prior))(drawn)
    if not known:
        drawn["redshift"] = posterior.redshift.sample(jax.random.key(0), (4, DRAWS))
        prior += posterior.redshift.log_prob(drawn["redshift"])
    z = redshift if known else None
    log_weights = posterior.log_target(drawn, flux, error, z) - np.asarray(prior)
    log_weights -= log_weights.max(axis=1, keepdims=True)
    weight = np.exp(log_weights)
    assert effective(log_weights).min() > 1000
    # modes are found by the pool, not by the walk: of a network that knows nothing it has to be large
    found = refine(posterior, flux, error, z, pool=8192, walkers=128, steps=200, keep=50, seed=2)
    assert np.all((found.accepted > 0.05) & (found.accepted < 0.7))
    assert ("redshift" in found.values) == (not known)
    every = []
    for path, values in drawn.items():
        walked = found.values[path]
        assert walked.shape == (4, 6400)
        truth = np.stack([_quantiles(np.asarray(v), w) for v, w in zip(values, weight, strict=True)])
        width = 0.5 * (truth[:, 2] - truth[:, 0])
        every.append((np.quantile(walked, LEVELS, axis=1).T - truth) / width[:, None])
    # ten seeds have 0.05 to 0.09 and 0.12 to 0.41; rounding that sends a walk elsewhere draws anew
    assert np.sqrt(np.mean(np.square(every))) < 0.13 and np.abs(every).max() < 0.6


LEVELS = (0.16, 0.5, 0.84)


def _quantiles(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    order = np.argsort(values)
    return np.interp(LEVELS, np.cumsum(weight[order]) / weight.sum(), values[order])


def test_walks_that_make_no_sense_are_refused():
    flux, error, redshift = small.objects(2)
    for change in ({"walkers": 5}, {"pool": 10}, {"keep": 0}, {"keep": 100}):
        with pytest.raises(ParameterError, match="even number of walkers"):
            refine(small.posterior(), flux, error, redshift, **change)


def test_walkers_of_one_good_draw_spread_and_none_is_counted_twice():
    """Fluxes that a network knows nothing of: one draw has all the weight, and walkers from there alone would rest."""
    posterior = small.posterior()
    flux, _, redshift = small.objects(3)
    flux = np.nan_to_num(flux, nan=10.0)
    found = refine(posterior, flux, np.abs(flux) * 1e-3 + 1e-3, redshift, pool=256, walkers=128, steps=8, keep=2)
    assert found.effective.max() < 2
    assert np.all(found.accepted < 0.9)
    for row in found.values["log_mass"]:
        assert len(np.unique(row)) > 20


def test_weights_are_tempered_until_enough_draws_count():
    weights = -np.arange(200.0)
    found = _tempered(weights, 20)
    assert effective(found[None])[0] == pytest.approx(20, rel=1e-3)
    np.testing.assert_allclose(found / weights.min(), weights / weights.min() * (found[1] / weights[1]))
    np.testing.assert_array_equal(_tempered(0.01 * weights, 20), 0.01 * weights)
    nowhere = np.full(200, -np.inf)
    assert np.isfinite(_tempered(nowhere, 20)).all()
    nowhere[3] = 0.0
    assert np.flatnonzero(np.isfinite(_tempered(nowhere, 20))) == [3]


def test_draws_that_stand_in_for_others_count_once():
    assert effective(np.zeros((1, 200)), np.array([0.9]))[0] == pytest.approx(20)
