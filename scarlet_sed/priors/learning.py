"""Energies of images learnt by denoising score matching."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from scarlet_sed.errors import DataError
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.energy import LEVELS, EnergyImages, EnergyNetwork
from scarlet_sed.priors.gaussian import GaussianImages, orientations, unit_images
from scarlet_sed.resume import resume_training, save_training
from scarlet_sed.typing import Array, HostArray

HELD = 200
"""Images held back, of which all orientations are looked at."""
LOOKED_AT = (0.1, 0.2, 0.5, 1.0, 3.0)
"""Levels of the record."""
_CHUNK = 100
_AT_ONCE = 500


@dataclass(frozen=True)
class EnergyRecipe:
    """How an energy is trained.

    Args:
        width, layers: of the network.
        steps: of Adam; the learning rate falls along a cosine to zero at the last.
        batch: images a step.
        learning_rate: after a short warm-up.
        memory: of the mean of weights over late steps, in steps.
        seed: of everything random.
    """

    width: int = 512
    layers: int = 4
    steps: int = 20_000
    batch: int = 256
    learning_rate: float = 1e-3
    memory: int = 500
    seed: int = 0


class _State(NamedTuple):
    network: EnergyNetwork
    mean: EnergyNetwork
    optimizer: Any
    step: Array


def score_errors(images: EnergyImages, numbers: Array, key: Array) -> tuple[Array, Array]:
    """How well noise is told from image numbers at a level: of the normal distribution alone, and with the energy.

    It is the denoising loss of Vincent (2011, Neural Comput. 23, 1661), |level * score + noise|^2 a number.

    Args:
        images: whose level is looked at.
        numbers: (image, n - 1) along the axes of the normal distribution, see `along_axes`.
        key: of the noise.
    """
    base, level = images.base, images.level
    wide = jnp.sqrt(base.scales**2 + level**2)
    axes = images.network.axes

    def one(given: tuple[Array, Array]) -> tuple[Array, Array]:
        number, noise = given
        white = (number + level * noise) / wide
        plain = noise - level / wide * white
        more = jax.grad(images.network)(white[:axes], jnp.log(level))
        both = plain.at[:axes].add(-level / wide[:axes] * more)
        return jnp.mean(plain**2), jnp.mean(both**2)

    noise = jax.random.normal(key, numbers.shape)
    plain, both = jax.lax.map(one, (numbers, noise), batch_size=_AT_ONCE)
    return plain.mean(), both.mean()


def along_axes(base: GaussianImages, images: HostArray) -> HostArray:
    """(8 image, n - 1) numbers, along the axes and in units of the coordinates, of images in all orientations."""
    turned = np.concatenate(orientations(unit_images(images)))
    find = jax.jit(lambda some: base.white(base.coordinates.inv(some)) * base.scales)
    parts = [np.asarray(find(as_float(turned[i : i + _AT_ONCE]))) for i in range(0, len(turned), _AT_ONCE)]
    return np.concatenate(parts)


def train_energy(
    base: GaussianImages,
    images: HostArray,
    recipe: EnergyRecipe,
    checkpoint: Path,
    *,
    seconds: float = float("inf"),
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[EnergyImages, list[dict[str, Any]], bool]:
    """Train, or go on from the checkpoint, for at most some seconds.

    Args:
        base: the normal distribution.
        images: (image, height, width); the first `HELD` are held back, which `base` should not know either.
        recipe: how.
        checkpoint: a file to go on from, and to leave the state in.
        seconds: the sitting ends then.
        progress: called with a line at times.

    Returns:
        the energy, with the mean of its weights over late steps; the record (step, seconds, the error of the score
        over that of the normal distribution for each of `LOOKED_AT`); and whether the last step was reached.

    Raises:
        DataError: if there are not twice as many images as are held back.
        FileFormatError: if the checkpoint belongs to another recipe, or is damaged.
    """
    if len(images) < 2 * HELD:
        raise DataError(f"{len(images)} images teach no energy", fix=f"give {2 * HELD} at least")
    axes = base.deviations.shape[0]
    held = as_float(along_axes(base, images[:HELD]))
    known = as_float(along_axes(base, images[HELD:])[:, :axes])
    network = EnergyNetwork.initial(jax.random.key(recipe.seed), axes, recipe.width, recipe.layers)
    warm = min(200, recipe.steps // 10)
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, warm, recipe.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    state = _State(network, network, optimizer.init(network), jnp.asarray(0, jnp.int32))
    state, record = resume_training(checkpoint, state, asdict(recipe))
    memory = 1 - 1 / recipe.memory
    low, high = np.log(LEVELS)

    def loss(network: EnergyNetwork, numbers: Array, log_level: Array, noise: Array) -> Array:
        def one(number: Array, log_level: Array, noise: Array) -> Array:
            level = jnp.exp(log_level)
            wide = jnp.sqrt(base.deviations**2 + level**2)
            white = (number + level * noise) / wide
            return jnp.mean((noise - level / wide * (white + jax.grad(network)(white, log_level))) ** 2)

        return jnp.mean(jax.vmap(one)(numbers, log_level, noise))

    @eqx.filter_jit
    def advance(state: _State, known: Array) -> _State:
        def step(now: _State, _: None) -> tuple[_State, None]:
            key = jax.random.fold_in(jax.random.key(recipe.seed + 1), now.step)
            pick, levels, noise = jax.random.split(key, 3)
            chosen = jax.random.randint(pick, (recipe.batch,), 0, len(known))
            log_level = jax.random.uniform(levels, (recipe.batch,), minval=low, maxval=high)
            drawn = jax.random.normal(noise, (recipe.batch, axes))
            gradient = jax.grad(loss)(now.network, known[chosen], log_level, drawn)
            updates, inner = optimizer.update(gradient, now.optimizer)
            network = eqx.apply_updates(now.network, updates)
            mean = jax.tree.map(lambda m, n: memory * m + (1 - memory) * n, now.mean, network)
            return _State(network, mean, inner, now.step + 1), None

        return jax.lax.scan(step, state, None, length=_CHUNK)[0]

    look = eqx.filter_jit(score_errors)
    found = EnergyImages(base, state.mean, as_float(LEVELS[0]))
    start = time.monotonic()
    before = record[-1]["seconds"] if record else 0.0
    while int(state.step) < recipe.steps and time.monotonic() - start < seconds:
        state = advance(state, known)
        step = int(state.step)
        late = step >= recipe.steps or time.monotonic() - start >= seconds
        if step % (10 * _CHUNK) == 0 or late:
            found = eqx.tree_at(lambda e: e.network, found, state.mean)
            pairs = {level: look(found.at(level), held, jax.random.key(7)) for level in LOOKED_AT}
            ratios = {f"error at {level}": round(float(b / a), 4) for level, (a, b) in pairs.items()}
            record.append({"step": step, "seconds": round(before + time.monotonic() - start, 1), **ratios})
            progress(", ".join(f"{name} {value}" for name, value in record[-1].items()))
            save_training(checkpoint, state, asdict(recipe), record)
    return eqx.tree_at(lambda e: e.network, found, state.mean), record, int(state.step) >= recipe.steps
