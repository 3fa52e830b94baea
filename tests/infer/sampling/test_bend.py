"""Coordinates that follow bends: they can be undone, know their volume, and are learnt where a posterior is bent."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree

import scarlet_sed as ss
from scarlet_sed.infer.sampling.bend import Bend, learnt, straight
from scarlet_sed.infer.sampling.learn import bent_by_fluxes
from scarlet_sed.infer.sampling.target import maximum_at, target_at
from tests.infer import scenes
from tests.sps import small_grid

SIZE = 9
BLOCKS = np.array([0, 0, 1, 0, 1, 1, -1, 0, 1])


def some_bend(rng: np.random.Generator, strength: float = 0.3) -> Bend:
    root = rng.normal(size=(SIZE, SIZE)) + 2 * np.eye(SIZE)
    made = straight(root @ root.T, np.full(SIZE, 30.0), BLOCKS)
    shift, width = (strength * rng.normal(size=made.shift.shape) for _ in range(2))
    return made._replace(shift=jnp.asarray(shift, made.shift.dtype), width=jnp.asarray(0.1 * width, made.shift.dtype))


def test_a_straight_bend_does_nothing(rng):
    covariance = np.diag(rng.uniform(0.5, 2.0, SIZE))
    steps = rng.normal(size=SIZE)
    moved, volume = straight(covariance, np.ones(SIZE), BLOCKS)(jnp.asarray(steps, jnp.float32))
    np.testing.assert_allclose(moved, steps, atol=1e-5)
    assert float(volume) == 0.0


def test_bends_are_undone_and_know_their_volume(rng):
    with jax.enable_x64(True):
        bend = some_bend(rng)
        steps = jnp.asarray(rng.normal(size=SIZE))
        moved, volume = bend(steps)
        assert np.max(np.abs(moved - steps)) > 0.1
        np.testing.assert_allclose(bend.undone(moved), steps, rtol=1e-9, atol=1e-9)
        slope = jax.jacfwd(lambda x: bend(x)[0])(steps)
        assert float(volume) == pytest.approx(np.linalg.slogdet(np.asarray(slope))[1], abs=1e-9)


def test_what_is_in_no_block_stays_where_it_is(rng):
    bend = some_bend(rng)
    steps = jnp.asarray(rng.normal(size=SIZE), jnp.float32)
    np.testing.assert_allclose(bend(steps)[0][6], steps[6], rtol=1e-4)


def bananas(rng: np.random.Generator, strength: float, chains: int = 4, count: int = 300) -> np.ndarray:
    draws = rng.normal(size=(chains, count, 5))
    # as wide along the first number as the prior, and a hundredth as thick
    draws[..., 4] = 0.01 * draws[..., 4] + strength * (draws[..., 0] ** 2 - 1) + 0.1 * draws[..., 1] * draws[..., 0]
    return draws


def test_a_bent_sheet_is_straightened(rng):
    draws = bananas(rng, 0.4)
    local = np.diag([1.0, 1.0, 1.0, 1.0, 1e-4])
    found = learnt(straight(local, np.ones(5), np.zeros(5, int)), draws)
    assert found.bent == 1
    base = np.asarray(jax.vmap(jax.vmap(found.undone))(jnp.asarray(draws, jnp.float32)))
    assert 0.005 < np.std(base[..., 4]) < 0.02  # it was 0.6
    np.testing.assert_allclose(np.std(base[..., :4], axis=(0, 1)), 1.0, atol=0.1)


def test_draws_of_a_gaussian_are_not_bent(rng):
    draws = np.einsum("ij,cnj->cni", rng.normal(size=(5, 5)), rng.normal(size=(4, 300, 5)))
    assert learnt(straight(np.eye(5), np.ones(5), np.zeros(5, int)), draws).bent == 0


def test_the_potential_counts_the_volume(rng):
    """A bent target is the density of its own numbers: minus log-density less the log-determinant of the whole map."""
    with jax.enable_x64(True):
        observation, frame = scenes.mock()
        free = scenes.scene(frame, free=True).free("*.flux", dist.Normal(np.zeros(3), 100.0))
        posterior = ss.LogPosterior(free, observation)
        at = maximum_at(posterior, posterior.start, 2)
        coordinates = at.coordinates
        assert bent_by_fluxes(posterior, at, seed=0) is coordinates
        made = coordinates.bend
        assert made.tight.shape[0] == 3  # no spectrum here has three numbers of its own: sources are blocks
        bend = made._replace(shift=0.02 * jnp.asarray(rng.normal(size=made.shift.shape)))
        bend = bend._replace(width=0.05 * jnp.asarray(rng.normal(size=made.shift.shape)))
        coordinates = coordinates._replace(bend=bend)
        target = target_at(posterior.program, coordinates)

        def numbers(whitened: jax.Array) -> jax.Array:
            flat = ravel_pytree(coordinates.unconstrained(whitened)[0])[0]
            return flat[jnp.asarray(used)]

        place = np.concatenate([np.ravel(n) for n in coordinates.number])
        used = np.flatnonzero(place < coordinates.size)

        def density(whitened: np.ndarray) -> float:
            slope = jax.jacfwd(numbers)(jnp.asarray(whitened))
            volume = np.linalg.slogdet(np.asarray(slope))[1]
            return float(posterior.log_density(coordinates.unconstrained(jnp.asarray(whitened))[0])) + volume

        potential = jax.jit(lambda target, whitened: target.potential(whitened))
        at_zero = density(np.zeros(coordinates.size))
        for _ in range(2):
            whitened = 0.5 * rng.normal(size=coordinates.size)
            assert float(potential(target, whitened)) == pytest.approx(at_zero - density(whitened), abs=1e-5)


@pytest.fixture(scope="module")
def galaxy() -> ss.LogPosterior:
    """A population whose colours fix some of its numbers a hundred times better than others."""
    bands = ("F090W", "F115W", "F150W", "F200W", "F277W", "F356W", "F444W")
    blank = ss.Observation(
        np.zeros((len(bands), 24, 24)), bands, ss.PSF.gaussian(2.6), sigma=0.1, pixel_scale=0.05, name="nircam"
    )
    stars = ss.StellarPopulation(
        ss.Parameter(9.0, dist.Normal(9.0, 0.5)),
        ss.Parameter(-0.3, dist.TruncatedNormal(-0.4, 0.4, low=-1.0, high=0.2)),
        -2.5,
        history=ss.Constant(ss.Parameter(0.8, dist.LogNormal(0.0, 0.7))),
        attenuation=ss.Attenuation(
            ss.Salim(slope=ss.Parameter(-0.2, dist.TruncatedNormal(-0.2, 0.25, low=-1.2, high=0.5)), bump=1.0),
            ss.Parameter(0.4, dist.LogNormal(-1.0, 0.7)),
            ss.Parameter(1.5, dist.LogNormal(0.4, 0.25)),
        ),
        engine=small_grid.exact(),
    )
    scene = ss.Scene({"a": ss.Source((0.0, 0.0), stars * ss.Gaussian(0.1), 1.1)}, ss.Frame.covering(blank))
    image = np.asarray(ss.render(scene, blank), float)
    noise = np.sqrt(np.sum(image**2)) / 1000
    data = image + noise * np.random.default_rng(3).normal(size=image.shape)
    return ss.LogPosterior(scene, blank.with_data(data).with_noise(sigma=noise))


def test_fluxes_alone_bend_a_population_as_its_images_do(galaxy):
    """Where the maximum's own whitening sees fifty, the learnt coordinates see about what a round Gaussian has."""
    at = maximum_at(galaxy, galaxy.start, 8)
    coordinates = bent_by_fluxes(galaxy, at, seed=0)
    assert np.any(np.asarray(coordinates.bend.shift))
    normal = np.random.default_rng(0).normal(size=(100, coordinates.size)).astype(np.float32)
    potential = jax.jit(lambda target, whitened: jax.lax.map(target.potential, whitened))
    high = [
        float(np.quantile(potential(target_at(galaxy.program, each), normal), 0.9))
        for each in (at.coordinates, coordinates)
    ]
    # a round Gaussian of six numbers has 5.3: half of the 90th percentile of chi-square
    assert high[0] > 30 and high[1] < 0.3 * high[0]
    assert high[1] < 8
