"""The training loop: Adam on the mean square error of log flux, resumable, with a record of how it went."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from scarlet_sed.resume import train_on
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
        slope: how much the error of slopes along the parameters counts beside that of values (Sobolev training,
            Czarnecki et al. 2017, arXiv:1706.04859); samplers live on them. 0 where rows carry none.
        seed: of weights and batches.
    """

    hidden: tuple[int, ...] = (256, 256, 256, 256)
    steps: int = 200_000
    batch: int = 512
    learning_rate: float = 5e-3
    slope: float = 0.1
    seed: int = 0


class State(NamedTuple):
    """Everything that training goes on from."""

    network: Perceptron
    optimizer: Any
    step: Array


class Table(NamedTuple):
    """The columns of a dataset that batches are drawn from; see `Dataset`."""

    features: Array
    targets: Array
    weight: Array
    feature_slope: Array
    target_slope: Array


def train(
    data: Dataset,
    recipe: Recipe,
    checkpoint: Path,
    *,
    start_from: Perceptron | None = None,
    seconds: float = float("inf"),
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Perceptron, list[dict[str, float]], bool]:
    """Train, or go on training from the checkpoint, for at most some seconds.

    Args:
        data: the rows.
        recipe: how.
        checkpoint: a file to go on from, and to leave the state in.
        start_from: a network to start with, instead of a random one of the recipe's size.
        seconds: the sitting ends then.
        progress: called with a line at times.

    Returns:
        the network, the record (step, seconds, the 50, 90, 99 and 99.9 % of the error in mmag on rows held back, and
        the median relative error of slopes in per cent, where rows carry any), and whether the last step was reached.

    Raises:
        FileFormatError: if the checkpoint belongs to another recipe.
    """
    metric = jnp.asarray(data.metric)
    weight = np.broadcast_to(data.weight, (len(data.targets), data.weight.shape[1]))
    columns = (data.features, data.targets, weight, data.feature_slope, data.target_slope)
    table = Table(*(jnp.asarray(a) for a in columns))
    rows = len(weight) - min(VALIDATION, len(weight) // 10)
    chunk = min(_CHUNK, recipe.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(_schedule(recipe), b2=0.995))
    network = _initial(table.features[:rows], table.targets.shape[1], recipe) if start_from is None else start_from
    state = State(network, optimizer.init(network), jnp.asarray(0, jnp.int32))

    def loss(network: Perceptron, table: Table) -> Array:
        if recipe.slope == 0:
            return jnp.mean(_value_errors(network, table, metric))
        value, slope = _square_errors(network, table, metric)
        return jnp.mean(value) + recipe.slope**2 * jnp.mean(slope)

    @eqx.filter_jit
    def advance(state: State, table: Table) -> State:
        def step(state: State, _: None) -> tuple[State, None]:
            key = jax.random.fold_in(jax.random.key(recipe.seed), state.step)
            chosen = jax.random.randint(key, (recipe.batch,), 0, rows)
            gradient = jax.grad(loss)(state.network, Table(*(a[chosen] for a in table)))
            updates, inner = optimizer.update(gradient, state.optimizer)
            return State(optax.apply_updates(state.network, updates), inner, state.step + 1), None

        return jax.lax.scan(step, state, None, length=chunk)[0]

    def told(state: State) -> dict[str, float]:
        value, slope = _square_errors(state.network, Table(*(a[rows:] for a in table)), metric)
        of_slopes = {"slope %": 100 * float(np.median(np.sqrt(np.asarray(slope))))} if recipe.slope > 0 else {}
        return {**_percentiles(value), **of_slopes}

    state, record, finished = train_on(
        state,
        lambda now: advance(now, table),
        told,
        asdict(recipe),
        checkpoint,
        every=8 * chunk,
        seconds=seconds,
        progress=progress,
        digits=3,
    )
    return state.network, record, finished


def _square_errors(network: Perceptron, table: Table, metric: Array) -> tuple[Array, Array]:
    """(row,) square errors of the values, and of the slopes."""
    value, slope = jax.jvp(network, (table.features,), (table.feature_slope,))
    return _squared(value - table.targets, table, metric), _squared(slope - table.target_slope, table, metric)


def _value_errors(network: Perceptron, table: Table, metric: Array) -> Array:
    """(row,) square errors of the values alone."""
    return _squared(network(table.features) - table.targets, table, metric)


def _squared(off: Array, table: Table, metric: Array) -> Array:
    return jnp.sum(jnp.square((off * table.weight) @ metric), axis=-1)


def _percentiles(error: Array) -> dict[str, float]:
    mmag = np.sqrt(np.asarray(error)) * 2500 / np.log(10)
    return {f"{p:g} %": float(np.percentile(mmag, p)) for p in (50, 90, 99, 99.9)}


def _schedule(recipe: Recipe) -> Callable[[Array], Array]:
    def rate(count: Array) -> Array:
        warm = jnp.minimum((count + 1) / 500, 1.0)
        return recipe.learning_rate * warm * jnp.maximum(1.0 - count / recipe.steps, 0.0)

    return rate


def _initial(features: Array, outputs: int, recipe: Recipe) -> Perceptron:
    host = np.asarray(features)
    centre, scale = host.mean(axis=0), 1.0 / np.maximum(host.std(axis=0), 0.02)
    sizes = (host.shape[1], *recipe.hidden, outputs)
    return Perceptron.initial(jax.random.key(recipe.seed), sizes, jnp.asarray(centre), jnp.asarray(scale))
