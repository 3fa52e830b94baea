"""Walks in the base of a flow leave a target as it is, be it bent and of two modes; what they know of it helps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from scarlet_sed.amortized.one import OneDrawn
from scarlet_sed.amortized.walk import Based, mode_near, walked

NARROW = 0.02
CENTRES = np.array([-0.6, 0.9])


class Plain(NamedTuple):
    """A network whose base is what it describes: three standard normal numbers."""

    def at(self, place: Any) -> OneDrawn:
        values = {"a": place[0], "b": place[1:]}
        return OneDrawn(values, place, self.volume(place), jnp.ones((), bool), place)

    def volume(self, place: Any) -> Any:
        return -0.5 * jnp.sum(place**2)

    def widths(self) -> Any:
        return jnp.ones(3)


def residual(values: dict[str, Any]) -> Any:
    """Two modes of the first number, the second on a narrow parabola of it; the third is hardly known."""
    a, (b, c) = values["a"], values["b"]
    between = (a - CENTRES[0]) * (a - CENTRES[1]) / 0.25
    return jnp.stack([between, (b - 0.5 * a**2) / NARROW, 0.2 * c])


def based(tilt: float = 0.4) -> Based:
    def weight(values: dict[str, Any], log_prob: Any) -> Any:
        prior = -0.5 * (values["a"] ** 2 + jnp.sum(values["b"] ** 2)) + tilt * values["a"]
        return -0.5 * jnp.sum(residual(values) ** 2) + prior - log_prob

    return Based(Plain(), weight, residual)  # type: ignore[arg-type]


def known(tilt: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """A grid of the first number and its probability: the others are integrated out by hand."""
    a = np.linspace(-3, 3, 6001)
    # b is normal with mean a^2 / 2 / (1 + NARROW^2): a product of two normal densities
    log = -0.5 * ((a - CENTRES[0]) * (a - CENTRES[1]) / 0.25) ** 2 - 0.5 * a**2 + tilt * a
    log += -0.5 * (0.5 * a**2) ** 2 / (1 + NARROW**2)
    share = np.exp(log - log.max())
    return a, share / share.sum()


@pytest.mark.parametrize("rounds", (1, 7))
def test_the_target_stays_as_it_is(rounds):
    """One round leaps around modes, most of seven walk. Exact draws go in, and must come out."""
    of, chains = based(), 40_000
    rng = np.random.default_rng(rounds)
    a, share = known()
    first = rng.choice(a, chains, p=share)
    second = 0.5 * first**2 / (1 + NARROW**2) + rng.normal(size=chains) / np.sqrt(1 + NARROW**-2)
    third = rng.normal(size=chains) / np.sqrt(1.04)
    start = jnp.asarray(np.stack([first, second, third], axis=1), jnp.float32)
    good = jnp.asarray(rng.normal(size=(chains, 2, 3)), jnp.float32)

    @jax.jit
    def moved(place, good, key):
        now = of.one.at(place)
        end = walked(of, now, of.weight(now.values, now.log_prob), good, key, rounds)
        return end.place, end.moved, end.level - of.at(end.place)[1]

    keys = jax.random.split(jax.random.key(rounds), chains)
    place, taken, off = (np.asarray(x, float) for x in jax.lax.map(lambda x: moved(*x), (start, good, keys)))
    assert np.mean(taken > 0) > 0.5
    assert np.abs(off).max() < 0.02
    until = np.cumsum(share)
    levels = np.linspace(0.05, 0.95, 10)
    found = np.mean(place[:, 0] < a[np.searchsorted(until, levels)][:, None], axis=1)
    np.testing.assert_allclose(found, levels, atol=5 * 0.5 / np.sqrt(chains))
    score = (place[:, 1] - 0.5 * place[:, 0] ** 2 / (1 + NARROW**2)) * np.sqrt(1 + NARROW**-2)
    for each in (score, place[:, 2] * np.sqrt(1.04)):
        assert abs(each.mean()) < 5 / np.sqrt(chains)
        assert each.std() == pytest.approx(1, abs=5 / np.sqrt(2 * chains))


@pytest.mark.parametrize("rounds", (1, 4))
def test_starts_outside_of_the_target_lead_no_walk_astray(rounds):
    """As where the priors of a scene are narrower than those of the training."""
    low, chains = 1.5, 4000

    def weight(values: dict[str, Any], log_prob: Any) -> Any:
        found = -0.5 * (values["a"] ** 2 + jnp.sum(values["b"] ** 2)) - log_prob
        return jnp.where(values["a"] > low, found, -jnp.inf)

    of = Based(Plain(), weight, lambda values: 1e-2 * jnp.ravel(values["b"]))  # type: ignore[arg-type]
    rng = np.random.default_rng(rounds)
    cut = stats.truncnorm(low, np.inf)
    start = np.concatenate([cut.rvs((chains, 1), random_state=rng), rng.normal(size=(chains, 2))], axis=1)
    good = jnp.zeros((2, 3))

    @jax.jit
    def moved(place, key):
        now = of.one.at(place)
        return walked(of, now, weight(now.values, now.log_prob), good, key, rounds).place[0]

    keys = jax.random.split(jax.random.key(rounds), chains)
    found = np.asarray(jax.lax.map(lambda x: moved(*x), (jnp.asarray(start, jnp.float32), keys)), float)
    assert found.min() > low
    assert np.mean(found != start[:, 0].astype(np.float32)) > 0.1
    assert stats.kstest(found, cut.cdf).pvalue > 1e-3


def test_both_modes_are_drawn_from_out_of_one():
    of, chains = based(), 2000
    a, share = known()
    low = CENTRES[0]
    start = jnp.array([low, 0.5 * low**2, 0.0])
    good = jnp.array([[-0.9, 0.6, 0.3], [0.7, 0.1, -0.4]])
    now = of.one.at(start)
    height = of.weight(now.values, now.log_prob)
    run = jax.jit(lambda key: walked(of, now, height, good, key, 60).place[0])
    found = np.asarray(jax.lax.map(run, jax.random.split(jax.random.key(3), chains)))
    assert np.mean(found > 0.2) == pytest.approx(share[a > 0.2].sum(), abs=5 * 0.5 / np.sqrt(chains))


def test_a_climb_ends_where_nothing_leads_up():
    of = based(0.0)
    mode = jax.jit(lambda start: mode_near(of, start))(jnp.array([1.4, -1.0, 2.0]))
    uphill = jax.grad(lambda place: of.at(place)[1])(mode.place)
    assert float(jnp.linalg.norm(mode.axes.T @ uphill * mode.deviations)) < 0.05
    assert np.min(mode.deviations) == pytest.approx(NARROW, rel=0.3)


def test_a_place_without_weight_is_not_left():
    of = based()
    now = of.one.at(jnp.zeros(3))
    end = walked(of, now, jnp.asarray(jnp.inf), jnp.zeros((2, 3)), jax.random.key(0), 4)
    assert int(end.moved) == 0
    np.testing.assert_array_equal(end.place, 0.0)
