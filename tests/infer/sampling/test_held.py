"""What moves hold, trajectories leave alone; both together still draw from the posterior."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.sampling.moves import Move, held_apart, held_numbers
from scarlet_sed.infer.sampling.target import maximum_at, target_at
from tests.infer.sampling.toys import linear_toy

HELD = "a.spectrum.flux"
OPTIONS = {"chains": 2, "warmup": 75, "learn": False, "seed": 3, "progress": False}


class Walk(Move):
    """Plain steps of the first numbers, which are the two that are held."""

    held: tuple[tuple[int, int], ...] = eqx.field(static=True)
    every: int = eqx.field(static=True, default=1)

    def __call__(self, target, whitened, key):
        def step(carry, key):
            place, now, taken = carry
            far, choose = jax.random.split(key)
            new = place.at[:2].add(1.5 * jax.random.normal(far, (2,)))
            there = target.potential(new)
            good = jnp.log(jax.random.uniform(choose)) < now - there
            return (jnp.where(good, new, place), jnp.where(good, there, now), taken + good), None

        start = (whitened, target.potential(whitened), jnp.zeros((), jnp.int32))
        (place, _, taken), _ = jax.lax.scan(step, start, jax.random.split(key, 20))
        return place, taken


def walk(every=1):
    def moves(model):
        place = model.places[HELD]
        return Walk(held=((place.family, place.row),), every=every)

    return moves


def test_coordinates_are_as_round_apart_and_what_is_held_takes_the_first():
    toy = linear_toy()
    model = ss.LogPosterior(toy.scene, toy.observation)
    coordinates = maximum_at(model, model.start, 2).coordinates
    held = held_numbers(coordinates, walk()(model))
    apart = held_apart(coordinates, held)
    roots = [np.asarray(c.root, float) for c in (coordinates, apart)]
    np.testing.assert_allclose(roots[1] @ roots[1].T, roots[0] @ roots[0].T, rtol=1e-4, atol=1e-9)
    assert len(held) == 2 and np.all(roots[1][held][:, 2:] == 0)
    target = target_at(model.program, apart)
    place = np.random.default_rng(1).normal(size=apart.size).astype(np.float32)
    other = place + np.r_[0, 0, np.ones(apart.size - 2)].astype(np.float32)
    one, two = (model.unpack(target.values(q)) for q in (place, other))
    np.testing.assert_array_equal(one[HELD], two[HELD])
    # round: a unit of each of the others changes the potential by half of its square
    potential = [float(target.potential(np.eye(apart.size, dtype=np.float32)[i])) for i in range(apart.size)]
    np.testing.assert_allclose(potential, 0.5, atol=5e-3)


def test_moves_and_trajectories_share_the_posterior_between_them():
    toy = linear_toy()
    drawn = ss.sample(toy.scene, toy.observation, draws=2000, moves=walk(), **OPTIONS)
    assert drawn.diagnosis.worst_rhat < 1.02 and drawn.statistics["diverging"].sum() == 0
    found = np.concatenate([drawn.draws[path] for path in toy.paths], axis=-1).reshape(-1, len(toy.mean))
    width = np.sqrt(np.diag(toy.covariance))
    error = width / np.sqrt(drawn.diagnosis.least_bulk)
    assert np.all(np.abs(found.mean(axis=0) - toy.mean) < 4 * error)
    np.testing.assert_allclose(
        np.cov(found.T) / np.outer(width, width), toy.covariance / np.outer(width, width), atol=0.1
    )


def test_trajectories_leave_alone_what_is_held():
    toy = linear_toy()
    drawn = ss.sample(toy.scene, toy.observation, draws=25, moves=walk(every=10**6), **OPTIONS)
    held, free = (np.ptp(drawn.draws[path], axis=1) for path in (HELD, "b.spectrum.flux"))
    assert np.all(held == 0) and np.all(free > 0)


def test_what_else_would_move_what_is_held_is_refused():
    toy = linear_toy()
    with pytest.raises(ParameterError, match="moves what the moves hold"):
        ss.sample(toy.scene, toy.observation, moves=walk(), mass="dense", progress=False)
    alone = toy.scene.freeze("b.*")
    model = ss.LogPosterior(alone, linear_toy().observation.freeze("sky"))
    coordinates = maximum_at(model, model.start, 2).coordinates
    assert held_numbers(coordinates, walk()(model)).size == 0
