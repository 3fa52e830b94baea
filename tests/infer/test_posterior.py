"""The two densities, and the way between paths and families."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to, constraints

import scarlet_sed as ss
from scarlet_sed.errors import ImproperPriorError, ParameterError
from scarlet_sed.infer.curvature import curvature_diagonal
from scarlet_sed.infer.families import padded_count
from scarlet_sed.infer.fisher import gauss_newton
from tests.infer.scenes import BANDS, every_direction, galaxy, mock, observation, scene


def test_the_two_densities_differ_by_the_jacobian() -> None:
    """One radius under one prior: both densities by hand."""
    obs, frame = mock()
    prior = dist.Uniform(0.01, 0.5)
    light = ss.FreeSpectrum((10.0, 20.0, 30.0), BANDS) * ss.Gaussian(ss.Parameter(0.1, prior))
    posterior = ss.LogPosterior(ss.Scene({"g": ss.Source((0.0, 0.0), light)}, frame), obs)
    for radius in (0.05, 0.1, 0.3):
        values = posterior.pack({"g.morphology.radius": radius})
        unconstrained = posterior.unconstrain(values)
        transform = biject_to(prior.support)
        u = transform.inv(jnp.asarray(radius))
        jacobian = transform.log_abs_det_jacobian(u, radius)
        likelihood = posterior.log_likelihood(values)
        np.testing.assert_allclose(posterior.log_prob(values), likelihood + prior.log_prob(radius), rtol=1e-6)
        np.testing.assert_allclose(
            posterior.log_density(unconstrained), posterior.log_prob(values) + jacobian, atol=0.01
        )


def test_likelihood_is_the_gaussian_one() -> None:
    obs, frame = mock()
    model = scene(frame, free=True)
    posterior = ss.LogPosterior(model, obs)
    residual = np.asarray(obs.data, float) - ss.render(model, obs)
    expected = dist.Normal(0, 0.05).log_prob(residual).sum()
    np.testing.assert_allclose(posterior.log_likelihood(posterior.start), expected, rtol=2e-5)


def test_unpack_is_the_inverse_of_pack() -> None:
    obs, frame = mock()
    posterior = ss.LogPosterior(scene(frame, free=True), obs)
    values = {path: value + 0.001 for path, value in posterior.unpack(posterior.start).items()}
    again = posterior.unpack(posterior.pack(values))
    for path, value in values.items():
        np.testing.assert_array_equal(again[path], value)
    with pytest.raises(ParameterError, match="not a free parameter"):
        posterior.pack({"nobody.home": 1.0})


def test_constrain_and_unconstrain_are_inverse() -> None:
    obs, frame = mock()
    posterior = ss.LogPosterior(scene(frame, free=True), obs)
    again = posterior.constrain(posterior.unconstrain(posterior.start))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), again, posterior.start)


@pytest.mark.parametrize(
    "prior",
    [
        constraints.greater_than(-1.0),
        constraints.less_than(30.0),
        constraints.interval(-100.0, 1.0),
        dist.Uniform(0.999, 1.0),
        dist.TruncatedNormal(1.0, 1.0, low=0.0),
        dist.LogNormal(0.0, 1.0),
        dist.Normal(0.0, 1.0),
        dist.Uniform(np.full(3, 0.9995), np.full(3, 1.0)).to_event(1),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_values_that_round_onto_an_edge_have_a_way_back(prior: dist.Distribution) -> None:
    """As far out as optimisers go, and further; values inside stay what they are."""
    obs, frame = mock()
    flux = ss.FreeSpectrum(ss.Parameter(np.full(3, 0.9997), prior), BANDS)
    posterior = ss.LogPosterior(ss.Scene({"g": ss.Source((0.0, 0.0), flux * ss.Gaussian(0.1))}, frame), obs)
    for step in (-40.0, -25.0, -9.0, 9.0, 25.0):
        out = tuple(jnp.full_like(u, step) for u in posterior.unconstrain(posterior.start))
        back = posterior.unconstrain(posterior.constrain(out))
        assert np.all(np.isfinite(back[0]))
    np.testing.assert_allclose(posterior.constrain(posterior.unconstrain(posterior.start))[0], 0.9997, rtol=2e-5)


def test_ties_and_shared_parameters_count_once() -> None:
    """Two components share their source's position; a tie across sources adds no parameter but moves both."""
    obs, frame = mock()
    one = galaxy((0.0, 0.0), (1.0, 2.0, 3.0), 0.1, free=True)
    two = ss.Source(one.position, {"bulge": one.light, "disk": one.light})
    model = ss.Scene({"one": one, "two": two}, frame).tie("two.*.radius", to="one.morphology.radius")
    posterior = ss.LogPosterior(model, obs)
    assert "two.bulge.morphology.radius" not in posterior.paths
    assert posterior.paths.count("two.position") == 1
    before = posterior.log_prob(posterior.start)
    moved = posterior.pack({"one.morphology.radius": 0.2})
    scene_at, _ = posterior.at(moved)
    assert float(scene_at.values["two.disk.morphology.radius"]) == pytest.approx(0.2)
    assert float(posterior.log_prob(moved)) != float(before)


def test_sky_calibration_and_shift_are_parameters() -> None:
    obs, frame = mock()
    obs = obs.free("sky", dist.Normal(0, 1)).free("shift", dist.Normal(0, 0.01))
    obs = obs.free("calibration", dist.LogNormal(0, 0.05))
    model = scene(frame, free=False)
    posterior = ss.LogPosterior(model, obs)
    assert posterior.paths == ["nircam.sky", "nircam.calibration", "nircam.shift"]
    base = posterior.images(posterior.start)["nircam"]
    brighter = posterior.images(posterior.pack({"nircam.sky": np.array([1.0, 2.0, 3.0])}))["nircam"]
    np.testing.assert_allclose(brighter - base, np.broadcast_to([[[1.0]], [[2.0]], [[3.0]]], base.shape), atol=1e-5)
    scaled = posterior.images(posterior.pack({"nircam.calibration": np.array([1.0, 2.0, 1.0])}))["nircam"]
    np.testing.assert_allclose(scaled[1], 2 * base[1], rtol=1e-5, atol=1e-6)
    shift = np.zeros((3, 2))
    shift[2] = (0.03, 0.0)  # one native pixel to the east, which is to the left
    moved = posterior.images(posterior.pack({"nircam.shift": shift}))["nircam"]
    np.testing.assert_allclose(moved[2][:, 5:-6], base[2][:, 6:-5], atol=2e-4)


def test_names_of_source_and_observation_may_not_collide() -> None:
    obs, frame = mock()
    model = ss.Scene({"nircam": galaxy((0, 0), (1, 1, 1), 0.1, free=True)}, frame)
    with pytest.raises(ParameterError, match="share a name"):
        ss.LogPosterior(model, obs)


def test_improper_priors_are_named() -> None:
    obs, frame = mock()
    posterior = ss.LogPosterior(scene(frame, free=True), obs)
    with pytest.raises(ImproperPriorError, match=r"a\.spectrum\.flux"):
        posterior.require_proper_priors()


def test_a_value_on_the_edge_of_its_support_is_named() -> None:
    obs, frame = mock()
    flux = ss.Parameter(np.zeros(3), constraints.nonnegative)
    model = ss.Scene({"g": ss.Source((0.0, 0.0), ss.FreeSpectrum(flux, BANDS) * ss.Point())}, frame)
    posterior = ss.LogPosterior(model, obs)
    with pytest.raises(ParameterError, match=r"g\.spectrum\.flux.*edge"):
        posterior.unconstrain(posterior.start)


def test_equal_shapes_compile_nothing() -> None:
    """Other names, positions, fluxes, data, noise and priors' numbers: the same programs serve."""
    from scarlet_sed.infer.posterior import log_prob

    obs, frame = mock()
    posterior = ss.LogPosterior(scene(frame, free=True), obs)
    jax.block_until_ready(posterior.log_prob(posterior.start))
    before = log_prob._cache_size()
    other = observation(np.asarray(obs.data) * 1.5 + 0.01, name="elsewhere", sigma=0.1)
    model = scene(ss.Frame.covering(other), free=True, names=("x", "y", "z"), offset=0.05)
    again = ss.LogPosterior(model, other)
    jax.block_until_ready(again.log_prob(again.start))
    assert log_prob._cache_size() == before


def test_counts_are_padded_to_buckets() -> None:
    assert [padded_count(n) for n in (1, 3, 5, 7, 9, 100, 129)] == [1, 3, 6, 8, 12, 128, 192]


def test_padding_changes_nothing() -> None:
    """Five sources are padded to six: the density is that of the five."""
    obs, frame = mock()
    names = [f"s{i}" for i in range(5)]
    positions = [(-0.3, -0.3), (0.05, 0.25), (0.25, -0.1), (-0.2, 0.2), (0.1, -0.3)]
    sources = {n: galaxy(p, (5.0, 5.0, 5.0), 0.1, free=True) for n, p in zip(names, positions, strict=True)}
    whole = ss.LogPosterior(ss.Scene(sources, frame), obs)
    image = whole.images(whole.start)["nircam"]
    parts = [ss.render(ss.Scene({n: s}, frame), obs) for n, s in sources.items()]
    np.testing.assert_allclose(image, sum(parts), atol=2e-5)
    priors = sum(float(jnp.sum(p.prior.log_prob(p.value))) for s in sources.values() for p in s.parameters.values())
    np.testing.assert_allclose(whole.program.log_prior(whole.start), priors, rtol=1e-5)


def test_probed_diagonal_estimates_the_exact_one() -> None:
    obs, frame = mock()
    posterior = ss.LogPosterior(scene(frame, free=True), obs)
    unconstrained = posterior.unconstrain(posterior.start)
    estimates = [curvature_diagonal(posterior.program, unconstrained, jax.random.key(i)) for i in range(12)]
    directions = every_direction(posterior, unconstrained)
    exact = np.diag(gauss_newton(posterior, unconstrained, directions))
    for direction, value in zip(directions, exact, strict=True):
        mean = np.mean([e[direction.family][direction.row].ravel()[direction.element] for e in estimates])
        assert mean > 0.5 * value  # the prior adds to it, 96 probes know it to 15 %


def test_order_of_names_does_not_matter() -> None:
    """JAX sorts dictionaries when it rebuilds them: boxes, groups and components must agree on the order."""
    obs, frame = mock()
    small, large = galaxy((0.2, 0.0), (1, 1, 1), 0.03, free=False), galaxy((-0.2, 0.0), (9, 9, 9), 0.2, free=False)
    forward, backward = ss.Scene({"a": small, "b": large}, frame), ss.Scene({"z": small, "b": large}, frame)
    np.testing.assert_allclose(ss.render(forward, obs), ss.render(backward, obs), atol=1e-5)
    assert list(jax.tree.map(lambda x: x, backward).sources) == list(backward.sources)
