"""Histories: exact integrals against quadrature, and laws that all of them obey."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.errors import DomainError, ParameterError, ShapeError
from scarlet_sed.parameters import current_values, resolve, set_values
from scarlet_sed.sps.histories.base import History
from scarlet_sed.sps.histories.binned import Continuity, Dirichlet
from scarlet_sed.sps.histories.constant import Burst, Constant
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from tests import laws
from tests.registry import HISTORIES, Case

every_history = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in HISTORIES.items()])
UNIVERSE = 6.0
EDGES = np.concatenate([[0.0], np.geomspace(1e-4, 16.0, 120)])


def masses(history: History, values: dict[str, jax.Array], edges: np.ndarray = EDGES) -> jax.Array:
    own = resolve(set_values(history, values)).masses(jnp.asarray(edges, values_type(values)), jnp.asarray(UNIVERSE))
    return jnp.stack([own.total, own.older])


def values_type(values: dict[str, jax.Array]) -> jnp.dtype:
    return next(iter(values.values())).dtype


@every_history
def test_all_mass_is_counted_once(case: Case) -> None:
    history = resolve(case.make())
    found = history.masses(jnp.asarray(EDGES, jnp.float32), jnp.asarray(UNIVERSE))
    assert float(jnp.sum(found.total)) == pytest.approx(1.0, abs=2e-6)
    assert np.all(np.asarray(found.total) >= 0)
    assert np.all(np.asarray(found.older) <= np.asarray(found.total) * (1 + 1e-6))
    np.testing.assert_allclose(jnp.sum(found.at_edges()), 1.0, atol=2e-6)


@every_history
def test_coarser_edges_hold_the_sums_of_finer_ones(case: Case) -> None:
    history = resolve(case.make())
    fine = history.masses(jnp.asarray(EDGES, jnp.float32), jnp.asarray(UNIVERSE))
    coarse = history.masses(jnp.asarray(EDGES[::4], jnp.float32), jnp.asarray(UNIVERSE))
    np.testing.assert_allclose(coarse.total, np.asarray(fine.total).reshape(-1, 4).sum(axis=1), atol=1e-6)


@every_history
def test_gradient_matches_finite_differences(case: Case, x64: None, rng: np.random.Generator) -> None:
    history = case.make()
    laws.check_gradient(lambda v: masses(history, v), current_values(history), rng, case.step)


@every_history
def test_finite_at_edges(case: Case) -> None:
    history = case.make()
    laws.check_finite(lambda v: masses(history, v), current_values(history), ({}, *laws.support_extremes(history)))


@every_history
def test_jit_equals_eager_and_vmap_equals_loop(case: Case) -> None:
    history = case.make()
    laws.check_jit_and_vmap(lambda v: masses(history, v), current_values(history))


@pytest.mark.parametrize(("age", "tau"), [(10.0, 0.01), (5.0, 1.0), (0.001, 100.0), (13.0, 0.3), (0.05, 0.02)])
def test_delayed_tau_against_quadrature(age: float, tau: float) -> None:
    with jax.enable_x64(True):
        found = DelayedTau(age, tau).masses(jnp.asarray(EDGES), jnp.asarray(UNIVERSE))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    low, high = np.minimum(EDGES[:-1], age), np.minimum(EDGES[1:], age)
    # each interval in twenty parts, so that short tau is resolved
    parts = np.linspace(low, high, 21)
    middle, half = 0.5 * (parts[1:] + parts[:-1]), 0.5 * np.diff(parts, axis=0)
    at = middle[..., None] + half[..., None] * nodes
    rate = np.maximum(age - at, 0) * np.exp(-(age - at) / tau) * weights * half[..., None]
    total = rate.sum(axis=(0, 2))
    older = (rate * (at - EDGES[:-1, None])).sum(axis=(0, 2)) / np.diff(EDGES)
    np.testing.assert_allclose(found.total, total / total.sum(), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.older, older / total.sum(), rtol=1e-8, atol=1e-14)


def test_float32_keeps_the_youngest_stars_of_old_galaxies() -> None:
    single = DelayedTau(10.0, 1.0).masses(jnp.asarray(EDGES, jnp.float32), jnp.asarray(UNIVERSE))
    with jax.enable_x64(True):
        double = DelayedTau(10.0, 1.0).masses(jnp.asarray(EDGES), jnp.asarray(UNIVERSE))
    np.testing.assert_allclose(single.total, double.total, rtol=2e-5, atol=1e-30)
    np.testing.assert_allclose(single.older, double.older, rtol=4e-5, atol=1e-30)


def test_derived_quantities_of_a_constant_rate() -> None:
    history = Constant(2.0)
    universe = jnp.asarray(UNIVERSE)
    assert float(history.mean_sfr(0.1, universe)) == pytest.approx(0.5e-9, rel=1e-5)
    assert float(history.mean_sfr(0.01, universe)) == pytest.approx(0.5e-9, rel=1e-5)
    assert float(history.mean_age(universe)) == pytest.approx(1.0, rel=1e-4)
    assert float(history.quantile_age(0.5, universe)) == pytest.approx(1.0, rel=0.01)
    assert float(history.quantile_age(0.9, universe)) == pytest.approx(0.2, rel=0.01)


def test_bins_end_with_the_universe_and_rates_follow_the_ratios() -> None:
    history = Continuity(np.full(6, 0.5))
    edges = np.asarray(history.bin_edges(jnp.asarray(UNIVERSE)))
    np.testing.assert_allclose(edges[:4], [0.0, 0.01, 0.03, 0.1])
    assert edges[-1] == pytest.approx(UNIVERSE)
    np.testing.assert_allclose(np.diff(np.log(edges[3:]), 2), 0.0, atol=1e-5)
    rates = np.asarray(history.bin_fractions(jnp.asarray(UNIVERSE))) / np.diff(edges)
    np.testing.assert_allclose(np.log10(rates[:-1] / rates[1:]), 0.5, rtol=1e-5)


def test_a_burst_does_not_reach_into_the_future() -> None:
    began, ended = Burst(0.003, 0.01).span()
    assert float(began) == pytest.approx(0.008) and float(ended) == 0.0


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: DelayedTau(tau=1.0), ParameterError, "age_fraction"),
        (lambda: DelayedTau(1.0, 1.0, age_fraction=0.5), ParameterError, "age_fraction"),
        (lambda: DelayedTau(1.0), ParameterError, "log_tau"),
        (lambda: DelayedTau(-1.0, 1.0), DomainError, "positive age"),
        (lambda: DelayedTau(1.0, 0.0), DomainError, "positive tau"),
        (lambda: Constant(0.0), DomainError, "positive age"),
        (lambda: Constant(1.0, -0.1), DomainError, "quenched"),
        (lambda: Burst(1.0, 0.0), DomainError, "duration"),
        (lambda: Dirichlet([0.5, 0.5]), ShapeError, "at least 4"),
        (lambda: Dirichlet([0.5, 0.2, 0.2, 0.2]), ParameterError, "sum to one"),
        (lambda: Dirichlet([0.25] * 4, edges=(0.0, 1.0)), ShapeError, "one edge more"),
        (lambda: Dirichlet([0.5, 0.5], edges=(0.0, 1.0, 0.5)), ParameterError, "increase"),
        (lambda: Continuity(0.3), ShapeError, "one number a bin"),
    ],
)
def test_bad_histories_are_refused(make, error, says) -> None:
    with pytest.raises(error, match=says):
        make()
