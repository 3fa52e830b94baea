"""Truths drawn from the priors of a scene, and images of them."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.families import FamilyValues, materialize
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.program import Program
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array, HostArray


class Simulated(NamedTuple):
    """A scene drawn from its priors, and what would be seen of it.

    Args:
        scene: at the truth; parameters stay free.
        observations: with drawn images as data, and their own free parameters at the truth.
        truth: by path.
    """

    scene: Scene
    observations: tuple[Observation, ...]
    truth: dict[str, HostArray]


def simulate(scene: Scene, observations: Any, seed: int | tuple[int, ...] = 0) -> Simulated:
    """Draw all free parameters from their priors, and the images with their noise.

    Boxes stay where the given scene has them: light is drawn by the model that will look for it.

    Args:
        scene: with proper priors.
        observations: one or several; their data do not count, their weights do.
        seed: of everything random.

    Raises:
        ImproperPriorError: if a prior is not a density.
        ParameterError: if a prior cannot be drawn from.
    """
    posterior = LogPosterior(scene, observations)
    posterior.require_proper_priors()
    values, images = _simulated(posterior.program, _key(seed))
    true, seen = posterior.at(values)
    drawn = tuple(o.with_data(np.asarray(image)) for o, image in zip(seen, images, strict=True))
    truth = {path: np.asarray(value) for path, value in posterior.unpack(values).items()}
    return Simulated(true, drawn, truth)


def _key(seed: int | tuple[int, ...]) -> Array:
    first, *rest = (seed,) if isinstance(seed, int) else seed
    key = jax.random.key(first)
    for number in rest:
        key = jax.random.fold_in(key, number)
    return key


@jax.jit
def _simulated(program: Program, key: Array) -> tuple[FamilyValues, tuple[Array, ...]]:
    own, noise = jax.random.split(key)
    values = prior_draw(program, own)
    seen = zip(program.images(values), drawn_noise(program, values, noise), strict=True)
    return values, tuple(image + added for image, added in seen)


def prior_draw(program: Program, key: Array) -> FamilyValues:
    """Parameters drawn from their priors, to be traced."""
    values = []
    for family, own in zip(program.families, jax.random.split(key, max(1, len(program.families))), strict=False):
        rows = jax.random.split(own, family.valid.shape[0])
        values.append(family.by_row(partial(drawn_value, shape=family.shape), rows))
    return tuple(values)


def drawn_noise(program: Program, values: FamilyValues, key: Array) -> tuple[Array, ...]:
    """Per observation, (band, height, width) noise drawn from its noise model in nJy, to be traced.

    Args:
        program: the model.
        values: parameters, on which the noise may depend.
        key: of everything random.
    """
    keys = jax.random.split(key, len(program.observations))
    return tuple(
        materialize(observation.instrument, values).noise.sample(own, observation.weights)
        for observation, own in zip(program.observations, keys, strict=True)
    )


def drawn_value(prior: Any, key: Array, shape: tuple[int, ...]) -> Array:
    """A draw of one value of some shape; a prior of smaller shape holds for each element on its own. Traced."""
    own = tuple(prior.batch_shape) + tuple(prior.event_shape)
    try:
        drawn: Array = prior.sample(key, shape[: len(shape) - len(own)])
    except NotImplementedError as error:
        raise ParameterError(
            f"the prior {type(prior).__name__} cannot be drawn from", fix="freeze what has it, or give another prior"
        ) from error
    return jnp.broadcast_to(drawn, shape)
