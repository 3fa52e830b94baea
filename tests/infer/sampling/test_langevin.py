"""Langevin dynamics against posteriors that are known, by densities and by scores alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import ImproperPriorError, ParameterError
from scarlet_sed.infer.sampling import langevin
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages
from scarlet_sed.priors.score import ScoreOnly
from tests.infer.sampling.toys import Density, linear_toy
from tests.registry import galaxies

IMAGE = "a.morphology.image"


def walked(density: Density, hottest: float, draws: int = 200, step: float = 0.5) -> langevin.Walked:
    temperatures = np.geomspace(hottest, 1.0, 5)
    keys = jax.random.split(jax.random.key(0), 32)
    return langevin.walk(density, temperatures, keys, draws, 10, step, progress=False)[0]


def two_hills(whitened: jax.Array) -> jax.Array:
    """Standard normal densities at zero, and ten deviations away."""
    there = whitened - 10 * jnp.eye(len(whitened))[0]
    return -jnp.logaddexp(-0.5 * whitened @ whitened, -0.5 * there @ there)


def half(whitened: jax.Array) -> jax.Array:
    """A standard normal density of which only the part of first numbers below one is there."""
    return jnp.where(whitened[0] < 1, 0.5, jnp.nan) * whitened @ whitened


def quartic(whitened: jax.Array) -> jax.Array:
    """Flat at the maximum, and ever steeper away from it."""
    return 0.25 * jnp.sum(whitened**4)


@pytest.mark.parametrize("step", [0.5, 1.5])
def test_a_linear_scene_whatever_the_step(step):
    toy = linear_toy()
    found = ss.annealed_langevin(toy.scene, toy.observation, draws=500, levels=3, step=step, progress=False)
    assert found.status is ss.SampleStatus.UNADJUSTED and not found.status.success
    assert found.shape == (4, 500) and found.diagnosis is not None
    # every tenth step is worth a half of an independent draw at least
    assert found.diagnosis.least_bulk > 1000
    flat = np.concatenate([found.draws[path].reshape(2000, -1) for path in toy.paths], axis=-1).astype(float)
    spread = np.sqrt(np.diag(toy.covariance))
    assert np.all(np.abs(flat.mean(axis=0) - toy.mean) < 4 * spread / np.sqrt(1000))
    # 1000 draws know a variance to 0.045; Euler's longer steps would have put it 0.6 too high
    scale = np.outer(spread, spread)
    np.testing.assert_allclose(np.cov(flat.T) / scale, toy.covariance / scale, atol=0.15)
    assert found.statistics["held"].mean() < 1e-3
    target, place = found.target, jnp.asarray(found.whitened[0, 0])
    heated = eqx.filter_jit(target.tempered)
    for temperature in (1.0, 9.0):
        energy = temperature * float(heated(place, jnp.asarray(temperature)))
        assert energy == pytest.approx(-float(found.log_density[0, 0]), abs=1e-3)


def test_the_bias_of_a_density_that_is_no_gaussian_falls_faster_than_the_step():
    off = {}
    for step in (0.2, 0.8):
        fourth = walked(Density(4, quartic), 1.0, 400, step).whitened.astype(float) ** 4
        # E[q^4] = 1; 32 chains of 4 numbers know it to 0.015
        off[step] = np.mean(fourth) - 1
    assert abs(off[0.2]) < 0.05 < off[0.8] / 4 < 0.1


def test_cooled_chains_know_of_both_hills():
    share = {hottest: np.mean(walked(Density(3, two_hills), hottest).whitened[..., 0] > 5) for hottest in (1.0, 50.0)}
    # chains that begin cold are all on the first; half of 32 is known to 0.09
    assert share[1.0] < 0.1 and 0.2 < share[50.0] < 0.8


def test_steps_to_where_there_is_no_density_are_not_taken():
    found = walked(Density(3, half), 9.0)
    assert found.whitened[..., 0].max() < 1 and np.all(np.isfinite(found.potential))
    assert found.held.mean() > langevin.HELD
    # what is beside the edge does not know of it
    assert np.std(found.whitened[..., 1]) == pytest.approx(1, abs=0.08)


def test_a_second_scene_of_equal_shapes_compiles_nothing():
    def run(seed: int, **settings: float) -> None:
        toy = linear_toy(seed)
        ss.annealed_langevin(toy.scene, toy.observation, draws=25, progress=False, **settings)

    run(1)
    before = langevin._advance.count, langevin._stiffest.count
    run(2, step=0.3, hottest=4.0, thin=3)
    assert (langevin._advance.count, langevin._stiffest.count) == before


@pytest.fixture(scope="module")
def galaxy():
    """A galaxy of 8 x 8 pixels, by the prior of its image, and what is seen of it."""
    normal = GaussianImagePrior(GaussianImages.of(galaxies(), rank=20).seen_through(0.3))
    blank = ss.Observation(
        np.zeros((1, 20, 20)), ("hsc_g",), ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=0.1, name="o"
    )
    frame = ss.Frame.covering(blank)

    def scene(shape: object) -> ss.Scene:
        return ss.Scene({"a": ss.Source((0.0, 0.0), ss.FreeSpectrum(300.0, ("hsc_g",)) * ss.Pixels(shape, 0.1))}, frame)

    clean = ss.render(scene(galaxies(1, seed=11)[0]), blank)
    seen = blank.with_data(clean + np.random.default_rng(0).normal(size=clean.shape))
    only = ScoreOnly(jax.grad(normal.log_prob), (8, 8), normal.base.knee)
    priors = {"normal": normal, "score": only}
    return {name: scene(ss.Parameter(np.asarray(normal.mean), prior)) for name, prior in priors.items()}, seen


def like_a_galaxy(image: jax.Array) -> jax.Array:
    """The score of pixels whose logarithms are normally distributed around those of a round galaxy."""
    y, x = np.mgrid[:8, :8] - 3.5
    return (-jnp.asarray(x**2 + y**2, image.dtype) / 6 - 2.9 - jnp.log(image)) / image


class Numbers(eqx.Module):
    """A prior and its numbers seen with noise of one, as a target."""

    prior: ScoreOnly
    seen: jax.Array

    @property
    def coordinates(self) -> "Numbers":
        return self

    @property
    def size(self) -> int:
        return self.seen.size

    def potential(self, whitened: jax.Array) -> jax.Array:
        return self.tempered(whitened, jnp.ones(()))

    def tempered(self, whitened: jax.Array, temperature: jax.Array) -> jax.Array:
        away = 0.5 * jnp.sum((whitened - self.seen) ** 2)
        return away / temperature - self.prior.tempered(whitened, temperature)


def test_a_score_alone_gives_the_posterior_of_its_density(galaxy):
    scenes, _ = galaxy
    base = scenes["normal"].parameters[IMAGE].prior.base
    axes = np.asarray(jax.vmap(base.numbers)(jnp.eye(63)) - base.mean, float).T
    covariance = np.linalg.inv(np.linalg.inv(axes @ axes.T) + np.eye(63))
    middle = np.asarray(base.mean, float)
    truth = middle + axes @ np.random.default_rng(3).normal(size=63)
    seen = truth + np.random.default_rng(4).normal(size=63)
    mean = middle + covariance @ (seen - middle)
    target = Numbers(scenes["score"].parameters[IMAGE].prior, jnp.asarray(seen, jnp.float32))
    keys = jax.random.split(jax.random.key(0), 8)
    found, _ = langevin.walk(target, np.geomspace(9.0, 1.0, 5), keys, 200, 10, 1.5, progress=False)
    drawn = found.whitened.astype(float).reshape(-1, 63)
    spread = np.sqrt(np.diag(covariance))
    # 1600 draws, each worth some third of an independent one
    assert np.sqrt(np.mean(((drawn.mean(axis=0) - mean) / spread) ** 2)) < 0.1
    np.testing.assert_allclose(drawn.std(axis=0) / spread, 1, atol=0.12)
    np.testing.assert_allclose(np.mean(drawn.std(axis=0) / spread), 1, atol=0.03)


def test_a_scene_with_a_score_is_walked_and_fitted_from_a_draw(galaxy):
    scenes, seen = galaxy
    scene = scenes["score"].free(IMAGE, ScoreOnly(like_a_galaxy, (8, 8)))
    found = ss.annealed_langevin(scene, seen, draws=200, progress=False)
    assert found.status is ss.SampleStatus.UNADJUSTED
    assert "steps held back" in ss.check(found, 20).table
    np.testing.assert_allclose(found.draws[IMAGE].sum(axis=(-2, -1)), 1, atol=1e-4)
    begin = found.at(2, -1)
    again = ss.fit(*begin, progress=False, uncertainties=False)
    assert again.status.success
    assert again.log_posterior > float(found.posterior.log_prob(found.values(2, -1)))


def test_sampling_a_score_names_what_takes_it(galaxy):
    scenes, seen = galaxy
    with pytest.raises(ImproperPriorError, match=r"only its score is known.*ss\.annealed_langevin"):
        ss.sample(scenes["score"], seen, progress=False)


def test_bad_arguments_are_named():
    toy = linear_toy()
    for wrong in ({"step": 3.0}, {"step": 0.0}, {"hottest": 0.5}, {"chains": 1}, {"thin": 0}, {"levels": 0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            ss.annealed_langevin(toy.scene, toy.observation, progress=False, **wrong)
    with pytest.raises(ParameterError, match="annealed_langevin"):
        ss.annealed_langevin(toy.scene)


def test_what_was_drawn_before_an_interruption_is_kept(monkeypatch):
    toy, run, calls = linear_toy(), langevin._advance, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(*given)

    monkeypatch.setattr(langevin, "_advance", interrupted)
    found = ss.annealed_langevin(toy.scene, toy.observation, levels=3, draws=100, progress=False)
    assert found.shape == (4, 25) and found.status is ss.SampleStatus.INTERRUPTED
    calls.clear()
    found = ss.annealed_langevin(toy.scene, toy.observation, levels=5, progress=False)
    assert found.shape == (4, 0) and found.draws == {} and found.status is ss.SampleStatus.WARMING_UP
