"""Densities of images learnt from images: flows by maximum likelihood, energies by denoising score matching."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from scarlet_sed.errors import DataError
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.base import standard_normal
from scarlet_sed.priors.energy import LEVELS, EnergyImages, EnergyNetwork
from scarlet_sed.priors.flow import Bends, FlowImages
from scarlet_sed.priors.gaussian import GaussianImages, orientations, unit_images
from scarlet_sed.resume import train_on
from scarlet_sed.typing import Array, HostArray

HELD = 200
"""Images held back, of which all orientations are looked at."""
LOOKED_AT = (0.1, 0.2, 0.5, 1.0, 3.0)
"""Levels of the record."""
_CHUNK = 100
_AT_ONCE = 500


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        width: of its hidden layers.
        steps: of Adam; the learning rate falls along a cosine to zero at the last.
        batch: images a step.
        learning_rate: after a short warm-up.
        memory: of the mean of weights over late steps, in steps.
        seed: of everything random.
    """

    width: int = 256
    steps: int = 20_000
    batch: int = 256
    learning_rate: float = 1e-3
    memory: int = 500
    seed: int = 0


Network = TypeVar("Network")
Loss = Callable[[Network, Array, Array], Array]
Record = list[dict[str, Any]]


class _State(NamedTuple):
    network: Any
    mean: Any
    optimizer: Any
    step: Array


def along_axes(base: GaussianImages, images: HostArray, count: int | None = None) -> HostArray:
    """(8 image, n - 1) numbers, along the axes and in units of the coordinates, of images in all orientations.

    Args:
        base: knows the axes.
        images: (image, height, width).
        count: of numbers, the first ones; all by default.
    """
    find = jax.jit(lambda some: (base.white(base.coordinates.inv(some)) * base.scales)[:, :count])
    parts = [
        np.asarray(find(as_float(turned[first : first + _AT_ONCE])))
        for turned in orientations(unit_images(images))
        for first in range(0, len(turned), _AT_ONCE)
    ]
    return np.concatenate(parts)


def score_errors(
    density: Callable[[Array], Array], base: GaussianImages, level: Array | float, numbers: Array, key: Array
) -> tuple[Array, Array]:
    """How well noise is told from the numbers of images: by a normal distribution, and by a density on top of it.

    It is the denoising loss of Vincent (2011, Neural Comput. 23, 1661), |level * score + noise|^2 a number.

    Args:
        density: logarithm of the density a unit of (n - 1,) white numbers of `base.seen_through(level)`.
        base: the normal distribution without noise.
        level: the noise.
        numbers: (image, n - 1), see `along_axes`.
        key: of the noise.
    """
    wide = base.seen_through(level).scales

    def one(given: tuple[Array, Array]) -> tuple[Array, Array]:
        number, noise = given
        white = (number + level * noise) / wide
        plain, more = noise - level / wide * white, noise + level / wide * jax.grad(density)(white)
        return jnp.mean(plain**2), jnp.mean(more**2)

    noise = jax.random.normal(key, numbers.shape)
    plain, more = jax.lax.map(one, (numbers, noise), batch_size=_AT_ONCE)
    return plain.mean(), more.mean()


def train_flow(
    base: GaussianImages,
    images: HostArray,
    level: float,
    recipe: Recipe,
    checkpoint: Path,
    *,
    seconds: float = float("inf"),
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[FlowImages, Record, bool]:
    """Train a flow, or go on from the checkpoint, for at most some seconds.

    Args:
        base: the normal distribution.
        images: (image, height, width); the first `HELD` are held back, which `base` should not know either.
        level: noise that all is seen through, in units of the coordinates: a density of what has none would be a spike.
        recipe: how.
        checkpoint: a file to go on from, and to leave the state in.
        seconds: the sitting ends then.
        progress: called with a line at times.

    Returns:
        the flow, with the mean of its weights over late steps; the record (step, seconds, natural logarithm of the
        density of images held back over that of the normal distribution, and the error of the score over that of it);
        and whether the last step was reached.

    Raises:
        DataError: if there are not twice as many images as are held back.
        FileFormatError: if the checkpoint belongs to another recipe, or is damaged.
    """
    held, known = _numbers(base, images)
    wider = base.seen_through(level)
    axes = base.deviations.shape[0]
    begin = Bends.initial(jax.random.key(recipe.seed), axes, recipe.width)

    def loss(bends: Bends, numbers: Array, key: Array) -> Array:
        white = (numbers + level * jax.random.normal(key, numbers.shape)) / wider.deviations
        return -jnp.mean(jax.vmap(FlowImages(wider, bends).log_density)(white)) / axes

    @eqx.filter_jit
    def look(bends: Bends) -> tuple[Array, Array]:
        flow = FlowImages(wider, bends)
        noise = jax.random.normal(jax.random.key(11), held.shape)
        white = (held + level * noise) / wider.scales
        more = jax.lax.map(lambda w: flow.log_density(w) - standard_normal(w), white, batch_size=_AT_ONCE)
        plain, error = score_errors(flow.log_density, base, level, held, jax.random.key(7))
        return more.mean(), error / plain

    def told(bends: Bends) -> dict[str, float]:
        gain, ratio = look(bends)
        return {"gain in log-density": round(float(gain), 2), "error of the score": round(float(ratio), 4)}

    bends, record, finished = _train(begin, loss, told, known, recipe, checkpoint, seconds, progress)
    return FlowImages(wider, bends), record, finished


def train_energy(
    base: GaussianImages,
    images: HostArray,
    recipe: Recipe,
    checkpoint: Path,
    *,
    seconds: float = float("inf"),
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[EnergyImages, Record, bool]:
    """Train an energy at all levels of noise, as `train_flow` does a flow.

    Args:
        base, images, recipe, checkpoint, seconds, progress: see `train_flow`.

    Returns:
        the energy at the least noise; the record (step, seconds, the error of the score over that of the normal
        distribution for each of `LOOKED_AT`); and whether the last step was reached.

    Raises:
        DataError: if there are not twice as many images as are held back.
        FileFormatError: if the checkpoint belongs to another recipe, or is damaged.
    """
    held, known = _numbers(base, images)
    begin = EnergyNetwork.initial(jax.random.key(recipe.seed), base.deviations.shape[0], recipe.width)
    low, high = np.log(LEVELS)

    def loss(network: EnergyNetwork, numbers: Array, key: Array) -> Array:
        of_level, of_noise = jax.random.split(key)
        log_levels = jax.random.uniform(of_level, numbers.shape[:1], minval=low, maxval=high)

        def one(number: Array, log_level: Array, noise: Array) -> Array:
            level = jnp.exp(log_level)
            wide = jnp.sqrt(base.deviations**2 + level**2)
            white = (number + level * noise) / wide
            return jnp.mean((noise - level / wide * (white + jax.grad(network)(white, log_level))) ** 2)

        return jnp.mean(jax.vmap(one)(numbers, log_levels, jax.random.normal(of_noise, numbers.shape)))

    @eqx.filter_jit
    def look(network: EnergyNetwork, level: Array) -> Array:
        energy = EnergyImages(base, network, level)
        plain, error = score_errors(energy.log_density, base, level, held, jax.random.key(7))
        return error / plain

    def told(network: EnergyNetwork) -> dict[str, float]:
        return {f"error at {level}": round(float(look(network, as_float(level))), 4) for level in LOOKED_AT}

    network, record, finished = _train(begin, loss, told, known, recipe, checkpoint, seconds, progress)
    return EnergyImages(base, network, as_float(LEVELS[0])), record, finished


def _numbers(base: GaussianImages, images: HostArray) -> tuple[Array, Array]:
    """All numbers of images held back, and those along the axes of all others."""
    if len(images) < 2 * HELD:
        raise DataError(f"{len(images)} images teach nothing but their mean", fix=f"give {2 * HELD} at least")
    axes = base.deviations.shape[0]
    return as_float(along_axes(base, images[:HELD])), as_float(along_axes(base, images[HELD:], axes))


def _train(
    begin: Network,
    loss: Loss[Network],
    told: Callable[[Network], dict[str, float]],
    known: Array,
    recipe: Recipe,
    checkpoint: Path,
    seconds: float,
    progress: Callable[[str], None],
) -> tuple[Network, Record, bool]:
    """The mean of the weights over late steps, the record, and whether the last step was reached."""
    warm = min(200, recipe.steps // 10)
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, warm, recipe.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(schedule))
    state = _State(begin, begin, optimizer.init(begin), jnp.asarray(0, jnp.int32))
    memory = 1 - 1 / recipe.memory

    @eqx.filter_jit
    def advance(state: _State, known: Array) -> _State:
        def step(now: _State, _: None) -> tuple[_State, None]:
            key = jax.random.fold_in(jax.random.key(recipe.seed + 1), now.step)
            pick, draw = jax.random.split(key)
            chosen = jax.random.randint(pick, (recipe.batch,), 0, len(known))
            gradient = jax.grad(loss)(now.network, known[chosen], draw)
            updates, inner = optimizer.update(gradient, now.optimizer)
            network = eqx.apply_updates(now.network, updates)
            mean = jax.tree.map(lambda m, n: memory * m + (1 - memory) * n, now.mean, network)
            return _State(network, mean, inner, now.step + 1), None

        return jax.lax.scan(step, state, None, length=_CHUNK)[0]

    state, record, finished = train_on(
        state,
        lambda now: advance(now, known),
        lambda now: told(now.mean),
        asdict(recipe),
        checkpoint,
        every=10 * _CHUNK,
        seconds=seconds,
        progress=progress,
    )
    return state.mean, record, finished
