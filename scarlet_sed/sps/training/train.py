"""The training loop: Adam on the mean square error of log flux, resumable, with a record of how it went."""

import json
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

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.sps.emulator.network import Perceptron
from scarlet_sed.sps.training.dataset import Dataset
from scarlet_sed.typing import Array

VALIDATION = 10_000
"""Rows held back, or a tenth of them where there are few."""
_CHUNK = 500
"""Steps between looks at the clock."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        hidden: sizes of the hidden layers.
        steps: of the optimiser; the learning rate falls linearly to zero at the last.
        batch: rows a step.
        learning_rate: after a short warm-up.
        seed: of weights and batches.
    """

    hidden: tuple[int, ...] = (256, 256, 256, 256)
    steps: int = 200_000
    batch: int = 512
    learning_rate: float = 5e-3
    seed: int = 0


class State(NamedTuple):
    """Everything that training goes on from."""

    network: Perceptron
    optimizer: Any
    step: Array


def train(
    data: Dataset,
    recipe: Recipe,
    checkpoint: Path,
    *,
    seconds: float = float("inf"),
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Perceptron, list[dict[str, float]], bool]:
    """Train, or go on training from the checkpoint, for at most some seconds.

    Returns:
        the network, the record (step, seconds, and the 50, 90, 99 and 99.9 % of the error in mmag on rows held back),
        and whether the last step was reached.

    Raises:
        FileFormatError: if the checkpoint belongs to another recipe.
    """
    features, targets, metric = (jnp.asarray(a) for a in (data.features, data.targets, data.metric))
    weight = jnp.asarray(np.broadcast_to(data.weight, (len(targets), data.weight.shape[1])))
    rows = len(targets) - min(VALIDATION, len(targets) // 10)
    chunk = min(_CHUNK, recipe.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(_schedule(recipe), b2=0.995))
    state = _initial(features[:rows], targets.shape[1], recipe, optimizer)
    record: list[dict[str, float]] = []
    if checkpoint.exists():
        state, record = _resume(state, recipe, checkpoint)

    def loss(network: Perceptron, x: Array, y: Array, w: Array) -> Array:
        return jnp.mean(_square_error(_held(network, state.network), x, y, w, metric))

    @eqx.filter_jit
    def advance(state: State, x: Array, y: Array, w: Array) -> State:
        def step(state: State, _: None) -> tuple[State, None]:
            key = jax.random.fold_in(jax.random.key(recipe.seed), state.step)
            chosen = jax.random.randint(key, (recipe.batch,), 0, rows)
            at = w[chosen] if w.shape[1] > 1 else w[: recipe.batch]
            gradient = jax.grad(loss)(state.network, x[chosen], y[chosen], at)
            updates, inner = optimizer.update(gradient, state.optimizer)
            return State(optax.apply_updates(state.network, updates), inner, state.step + 1), None

        return jax.lax.scan(step, state, None, length=chunk)[0]

    start = time.monotonic()
    before = record[-1]["seconds"] if record else 0.0
    while int(state.step) < recipe.steps and time.monotonic() - start < seconds:
        state = advance(state, features, targets, weight)
        step = int(state.step)
        late = step >= recipe.steps or time.monotonic() - start >= seconds
        if step % (8 * chunk) == 0 or late:
            held = slice(rows, None)
            error = _square_error(state.network, features[held], targets[held], weight[held], metric)
            record.append({"step": step, "seconds": before + time.monotonic() - start, **_percentiles(error)})
            progress(json.dumps({k: round(v, 3) for k, v in record[-1].items()}))
            _save(state, record, recipe, checkpoint)
    return state.network, record, int(state.step) >= recipe.steps


def _square_error(network: Perceptron, x: Array, y: Array, w: Array, metric: Array) -> Array:
    return jnp.sum(jnp.square(((network(x) - y) * w) @ metric), axis=-1)


def _percentiles(error: Array) -> dict[str, float]:
    mmag = np.sqrt(np.asarray(error)) * 2500 / np.log(10)
    return {f"{p:g} %": float(np.percentile(mmag, p)) for p in (50, 90, 99, 99.9)}


def _schedule(recipe: Recipe) -> Callable[[Array], Array]:
    def rate(count: Array) -> Array:
        warm = jnp.minimum((count + 1) / 500, 1.0)
        return recipe.learning_rate * warm * jnp.maximum(1.0 - count / recipe.steps, 0.0)

    return rate


def _initial(features: Array, outputs: int, recipe: Recipe, optimizer: optax.GradientTransformation) -> State:
    host = np.asarray(features)
    centre, scale = host.mean(axis=0), 1.0 / np.maximum(host.std(axis=0), 0.02)
    sizes = (host.shape[1], *recipe.hidden, outputs)
    network = Perceptron.initial(jax.random.key(recipe.seed), sizes, jnp.asarray(centre), jnp.asarray(scale))
    return State(network, optimizer.init(network), jnp.asarray(0, jnp.int32))


def _held(network: Perceptron, initial: Perceptron) -> Perceptron:
    """The network with its standardisation as it was: that is no parameter."""
    return eqx.tree_at(lambda n: (n.centre, n.scale), network, (initial.centre, initial.scale))


def _save(state: State, record: list[dict[str, float]], recipe: Recipe, checkpoint: Path) -> None:
    with atomic(checkpoint) as temporary, temporary.open("wb") as file:
        file.write(json.dumps({"recipe": asdict(recipe), "record": record}).encode() + b"\n")
        eqx.tree_serialise_leaves(file, state)


def _resume(like: State, recipe: Recipe, checkpoint: Path) -> tuple[State, list[dict[str, float]]]:
    with checkpoint.open("rb") as file:
        header = json.loads(file.readline())
        if header["recipe"] != json.loads(json.dumps(asdict(recipe))):
            raise FileFormatError(
                f"the checkpoint {str(checkpoint)!r} comes from another recipe",
                fix="remove it, or train with the recipe in its first line",
            )
        return eqx.tree_deserialise_leaves(file, like), header["record"]
