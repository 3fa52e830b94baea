"""Draws against posteriors that are known, and what sampling says of itself."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

import scarlet_sed as ss
from scarlet_sed.errors import ImproperPriorError, ParameterError
from scarlet_sed.infer.sampling import nuts
from scarlet_sed.infer.sampling.chains import PIECE, pieces
from scarlet_sed.infer.sampling.status import diagnose
from scarlet_sed.infer.sampling.target import maximum_at, target_at
from tests.infer import scenes
from tests.infer.sampling.toys import linear_toy


def _moments(result: ss.Posterior, paths: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, covariance, and effective draws of the bulk of the numbers of these paths."""
    flat = np.concatenate([result.draws[p].reshape(*result.shape, -1) for p in paths], axis=-1).astype(float)
    flat = flat.reshape(-1, flat.shape[-1])
    assert result.diagnosis is not None
    effective = np.concatenate([np.ravel(result.diagnosis.bulk[p]) for p in paths])
    return flat.mean(axis=0), np.cov(flat.T), effective


def _agrees(precise: bool) -> None:
    with jax.enable_x64(precise):
        toy = linear_toy()
        fitted = ss.fit(toy.scene, toy.observation, uncertainties=False, progress=False)
        result = ss.sample(fitted, warmup=200, draws=6000, progress=False)
        assert result.draws["nircam.sky"].dtype == (np.float64 if precise else np.float32)
    assert result.status is ss.SampleStatus.CONVERGED
    mean, covariance, effective = _moments(result, toy.paths)
    spread = np.sqrt(np.diag(toy.covariance))
    assert np.all(np.abs(mean - toy.mean) < 4 * spread / np.sqrt(effective))
    # trajectories make means nearly exact, and squares less so: 24,000 draws know a variance to about 0.015
    np.testing.assert_allclose(
        covariance / np.outer(spread, spread), toy.covariance / np.outer(spread, spread), atol=0.05
    )


@pytest.mark.optimized
def test_a_linear_scene_in_float32():
    _agrees(precise=False)


@pytest.mark.optimized
def test_a_linear_scene_in_float64():
    _agrees(precise=True)


@pytest.fixture(scope="module")
def blend():
    """A fit of three galaxies with proper priors."""
    observation, frame = scenes.mock()
    free = scenes.scene(frame, free=True).free("*.flux", dist.Normal(np.zeros(3), 100.0))
    return ss.fit(free, observation, uncertainties=False, progress=False)


def test_the_target_is_the_log_density_against_its_maximum(blend, rng):
    """In float64 the potential is minus the difference of log-densities; in float32 it is the same to 1e-3."""
    coordinates = maximum_at(blend.posterior, blend.values, 2).coordinates
    target = target_at(blend.posterior.program, coordinates)
    potential = jax.jit(lambda target, whitened: target.potential(whitened))
    with jax.enable_x64(True):
        observation, frame = scenes.mock()
        free = scenes.scene(frame, free=True).free("*.flux", dist.Normal(np.zeros(3), 100.0))
        posterior = ss.LogPosterior(free, observation)
        at_zero = tuple(np.asarray(u, np.float64) for u in coordinates.origin)
        for _ in range(3):
            whitened = rng.normal(size=coordinates.size)
            moved = tuple(np.asarray(u, np.float64) for u in coordinates.unconstrained(whitened.astype(np.float32))[0])
            exact = float(posterior.log_density(at_zero) - posterior.log_density(moved))
            with jax.enable_x64(False):
                found = float(potential(target, whitened.astype(np.float32)))
            assert found == pytest.approx(exact, abs=2e-3, rel=2e-4)
    assert float(potential(target, np.zeros(coordinates.size, np.float32))) == pytest.approx(0.0, abs=1e-4)


def test_whitening_makes_the_posterior_round(blend):
    """Away from the maximum by one in any direction the potential is a half, as far as the posterior is Gaussian."""
    coordinates = maximum_at(blend.posterior, blend.values, 4).coordinates
    target = target_at(blend.posterior.program, coordinates)
    steps = np.concatenate([np.eye(coordinates.size), -np.eye(coordinates.size)]).astype(np.float32)
    potential = jax.jit(lambda target, whitened: target.potential(whitened))
    values = np.array([float(potential(target, step)) for step in 0.5 * steps])
    np.testing.assert_allclose(values, 0.125, atol=0.04)


def test_chains_are_the_same_however_they_are_cut_and_where_they_run():
    toy = linear_toy()
    posterior = ss.LogPosterior(toy.scene, toy.observation)
    target = target_at(posterior.program, maximum_at(posterior, posterior.start, 2).coordinates)
    settings = nuts.Settings(warmup=50)
    keys = jax.random.split(jax.random.PRNGKey(3), 2)
    state = nuts.begin(target, settings, keys[0])
    _, whole = nuts.advance(target, settings, state, 2 * PIECE)
    half, first = nuts.advance(target, settings, state, PIECE)
    _, second = nuts.advance(target, settings, half, PIECE)
    np.testing.assert_array_equal(whole.whitened, np.concatenate([first.whitened, second.whitened]))
    together = nuts.advance_together(target, settings, nuts.begin_together(target, settings, keys), 5)[1]
    np.testing.assert_allclose(together.whitened[0], first.whitened[:5], atol=2e-2)


@pytest.mark.parametrize("method", ["threads", "together"])
def test_chains_end_their_warm_up_with_the_median_step_and_compile_once(method):
    toy = linear_toy()
    posterior = ss.LogPosterior(toy.scene, toy.observation)
    target = target_at(posterior.program, maximum_at(posterior, posterior.start, 2).coordinates)
    settings = nuts.Settings(warmup=40)
    keys = jax.random.split(jax.random.PRNGKey(3), 4)
    program = nuts.advance if method == "threads" else nuts.advance_together
    running = pieces(target, settings, keys, None, method)
    before = program._cache_size()
    first, second, third = (next(running) for _ in range(3))
    assert program._cache_size() <= before + 1
    # it ends amid the second piece, whose last draws still have the steps that each chain found
    own = second.draws.step_size[:, -1]
    assert len(set(first.draws.step_size[:, -1])) == 4 and len(set(own)) == 4
    shared = np.exp(np.median(np.log(own)))
    np.testing.assert_allclose(third.draws.step_size, shared, rtol=1e-6)
    np.testing.assert_allclose(second.state.adapt_state.step_size, shared, rtol=1e-6)


def test_a_second_scene_of_equal_shapes_compiles_nothing():
    def run(seed: int) -> ss.Posterior:
        toy = linear_toy(seed)
        return ss.sample(toy.scene, toy.observation, warmup=50, draws=25, progress=False)

    run(1)
    before = nuts.advance._cache_size(), nuts.begin.count
    run(2)
    assert (nuts.advance._cache_size(), nuts.begin.count) == before


def test_too_few_draws_are_called_that_and_draws_come_as_a_scene():
    toy = linear_toy()
    result = ss.sample(toy.scene, toy.observation, warmup=50, draws=60, progress=False)
    assert result.shape == (4, 75)  # of 125 iterations, in pieces of 25
    assert result.status is ss.SampleStatus.FEW_DRAWS and "draws" in result.status.advice
    scene, (observation,) = result.at(1, 3)
    for name, value in {"a.spectrum.flux": scene["a"].light.spectrum.flux, "nircam.sky": observation.sky}.items():
        draws = result.draws[name]  # a sky near nothing has fewer digits than its neighbours
        np.testing.assert_allclose(value.value, draws[1, 3], rtol=0, atol=1e-6 * np.abs(draws).max())


def test_two_modes_are_found_out():
    """One of four chains elsewhere: R-hat says so."""
    draws = np.random.default_rng(1).normal(size=(4, 200)) + np.array([0, 0, 0, 5.0])[:, None]
    found = diagnose(
        {"x": draws}, *(np.random.default_rng(2).normal(size=(4, 200)) for _ in range(2)), np.ones((4, 200))
    )
    assert found.status(800) is ss.SampleStatus.NOT_MIXED


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_chain_that_never_moved_is_not_mixed_whichever_parameter_it_is(order):
    rng = np.random.default_rng(3)
    values = {"a": rng.normal(size=(4, 500)), "b": np.full((4, 500), 2.0)}
    found = diagnose({k: values[k] for k in order}, rng.normal(size=(4, 500)), np.zeros((4, 500)), np.ones((4, 500)))
    assert found.status(2000) is ss.SampleStatus.NOT_MIXED


def test_divergences_and_stuck_energies_are_called_that():
    rng = np.random.default_rng(4)
    draws, energy, none = {"a": rng.normal(size=(4, 500))}, rng.normal(size=(4, 500)), np.zeros((4, 500), bool)
    assert diagnose(draws, energy, none, none).status(2000) is ss.SampleStatus.CONVERGED
    some = none.copy()
    some[0, :3] = True
    assert diagnose(draws, energy, some, none).status(2000) is ss.SampleStatus.DIVERGENT
    stuck = np.cumsum(rng.normal(size=(4, 500)), axis=1)
    assert diagnose(draws, stuck, none, none).status(2000) is ss.SampleStatus.LOW_ENERGY


def test_a_posterior_that_is_not_finite_is_a_typed_error(blend):
    broken = blend._replace(values=tuple(v * np.nan for v in blend.values))
    with pytest.raises(ParameterError):
        ss.sample(broken, progress=False)


def test_improper_priors_and_senseless_arguments_are_refused(blend):
    toy = linear_toy()
    flat = toy.scene.free("a.spectrum.flux", constraints.real)
    with pytest.raises(ImproperPriorError, match=r"a\.spectrum\.flux"):
        ss.sample(flat, toy.observation)
    with pytest.raises(ParameterError, match="scene with observations"):
        ss.sample(toy.scene)
    with pytest.raises(ParameterError, match="scene with observations"):
        ss.sample(blend, toy.observation)
    for wrong in ({"chains": 1}, {"draws": 0}, {"target_accept": 1.0}, {"mass": "heavy"}, {"method": "pmap"}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            ss.sample(blend, **wrong)
