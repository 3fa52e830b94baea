"""Several chains, piece by piece: where they run, how they stop, and how they go on."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from scarlet_sed.infer.sampling.moves import Move
from scarlet_sed.infer.sampling.nuts import Draws, Settings, advance, advance_together, begin, begin_together
from scarlet_sed.infer.sampling.target import AnyTarget

PIECE = 25
"""Iterations between two looks at the clock, the keyboard and the disk."""

Method = Literal["auto", "threads", "together"]


class Piece(NamedTuple):
    """Some iterations of all chains.

    Args:
        draws: (chain, n, ...).
        state: (chain, ...) after them, from which the next ones follow.
    """

    draws: Draws
    state: Any


def pieces(
    target: AnyTarget,
    settings: Settings,
    keys: jax.Array,
    last: Any,
    method: Method = "auto",
    move: Move | None = None,
) -> Iterator[Piece]:
    """Iterations of all chains, piece by piece, for ever.

    Chains do not depend on where they run, and share one thing only: with a fixed mass they end their warm-up with the
    median of their step sizes. Each finds its own from the last fifty iterations, and an unlucky one walked in steps
    five times smaller than the others' for ever.

    Args:
        target: the density.
        settings: of the chains.
        keys: (chain, 2) raw random keys.
        last: the state after the last piece; None to begin.
        method: "threads" runs one chain a thread, which a CPU does best; "together" runs all as one program, spread
            over the devices, which a GPU does best; "auto" is the one or the other.
        move: beside the trajectories; None for none.
    """
    several = _together(len(keys)) if _chosen(method) == "together" else _threads
    yield from several(target, settings, keys, last, move)


def _chosen(method: Method) -> str:
    if method != "auto":
        return method
    return "threads" if jax.default_backend() == "cpu" and jax.local_device_count() == 1 else "together"


def _threads(target: AnyTarget, settings: Settings, keys: jax.Array, last: Any, move: Move | None) -> Iterator[Piece]:
    precise = jnp.result_type(float) == np.float64

    def run(function: Callable[..., Any], *arguments: Any) -> Any:
        with jax.enable_x64(precise):  # which every thread decides for itself
            return jax.block_until_ready(function(*arguments))

    def compile_for(state: Any) -> None:
        with jax.enable_x64(precise):
            advance.lower(target, settings, state, PIECE, move).compile()

    with ThreadPoolExecutor(max(1, min(len(keys), os.cpu_count() or 1))) as pool:
        if last is None:
            # the first chain compiles what the others then share
            first = pool.submit(run, begin, target, settings, keys[0]).result()
            states = [first, *pool.map(lambda key: run(begin, target, settings, key), keys[1:])]
        else:
            states = _split(last, len(keys))
        # once, and not by each thread; a first piece by one chain alone would leave the others waiting for minutes
        pool.submit(compile_for, states[0]).result()
        while True:
            found = list(pool.map(lambda state: run(advance, target, settings, state, PIECE, move), states))
            after = _levelled(settings, _stacked([state for state, _ in found]))
            states = _split(after, len(keys))
            yield Piece(_stacked([draws for _, draws in found]), after)


def _stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def _split(stacked: Any, chains: int) -> list[Any]:
    return [jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), stacked) for i in range(chains)]


def _levelled(settings: Settings, state: Any) -> Any:
    """Stacked states with one step size, where the piece before them ended the warm-up of chains of equal mass."""
    done = int(np.max(state.i))
    if settings.mass != "fixed" or not done - PIECE < settings.warmup <= done:
        return state
    own = np.asarray(state.adapt_state.step_size)
    shared = np.full_like(own, np.exp(np.median(np.log(own))))
    return state._replace(adapt_state=state.adapt_state._replace(step_size=jnp.asarray(shared)))


def _together(chains: int) -> Callable[..., Iterator[Piece]]:
    every = jax.local_devices()
    devices = tuple(every) if len(every) > 1 and chains % len(every) == 0 else ()

    def run(target: AnyTarget, settings: Settings, keys: jax.Array, last: Any, move: Move | None) -> Iterator[Piece]:
        state = begin_together(target, settings, keys) if last is None else jax.tree.map(jnp.asarray, last)
        while True:
            state, draws = advance_together(target, settings, state, PIECE, devices, move)
            state = _levelled(settings, state)
            yield Piece(*jax.tree.map(np.asarray, (draws, state)))

    return run


def bar(chains: int, iterations: int, done: int, *, show: bool, what: str = "sample") -> tqdm:
    """A progress bar over the iterations of all chains."""
    return tqdm(
        total=chains * iterations, initial=chains * done, desc=what, unit="draw", disable=None if show else True
    )
