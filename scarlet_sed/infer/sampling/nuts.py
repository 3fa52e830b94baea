"""NumPyro's NUTS as functions of a target and a state, so that equal shapes are compiled once and chains can be cut.

Hoffman & Gelman 2014, JMLR 15, 1593, with the multinomial trajectories of Betancourt 2017, arXiv:1701.02434.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec
from numpyro.infer import NUTS

from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.sampling.moves import Move
from scarlet_sed.infer.sampling.target import AnyTarget
from scarlet_sed.typing import Array


class Settings(NamedTuple):
    """What shapes a chain, beside target, seed and length.

    Args:
        warmup: iterations that adapt the step size and are thrown away.
        target_accept: mean acceptance probability that the step size is adapted to.
        max_tree_depth: a trajectory has at most 2^depth - 1 steps; of warm-up, 2^6 - 1.
        mass: "fixed" trusts the whitening, "diagonal" and "dense" go on adapting it while warming up.
        held: how many of the first whitened numbers trajectories leave alone, with a fixed mass.
    """

    warmup: int = 300
    target_accept: float = 0.8
    max_tree_depth: int = 10
    mass: str = "fixed"
    held: int = 0


class Draws(NamedTuple):
    """Iterations of one chain, each with a leading axis.

    Args:
        whitened: (n, size) positions.
        potential: (n,) minus log-density against that at zero.
        energy: (n,) Hamiltonian of the state that was taken.
        accept: (n,) mean acceptance probability of the trajectory.
        leapfrogs: (n,) steps of the trajectory.
        diverging: (n,) whether it was cut because energy was not conserved.
        step_size: (n,).
        moved: (n,) how many moves beside the trajectory were taken.
    """

    whitened: Array
    potential: Array
    energy: Array
    accept: Array
    leapfrogs: Array
    diverging: Array
    step_size: Array
    moved: Array


_WARM_DEPTH = 6
"""Of trees while step sizes are still found: what a small step costs is seen there already."""


def _kernel(target: AnyTarget, settings: Settings, key: Array, whitened: Array) -> tuple[NUTS, Any]:
    """A kernel ready to sample, and its first state. Inside of compiled code, what is not used of it costs nothing."""
    kernel = NUTS(
        potential_fn=target.potential,
        step_size=(whitened.shape[0] - settings.held) ** -0.25,
        adapt_mass_matrix=settings.mass != "fixed",
        dense_mass=settings.mass == "dense",
        target_accept_prob=settings.target_accept,
        max_tree_depth=(min(_WARM_DEPTH, settings.max_tree_depth), settings.max_tree_depth),
    )
    state = kernel.init(key, settings.warmup, init_params=whitened, model_args=(), model_kwargs={})
    if settings.held:
        # what has no momentum, and no velocity from the slopes it meets, rests and turns no trajectory around
        moving = (jnp.arange(whitened.shape[0]) >= settings.held).astype(whitened.dtype)
        names = ("inverse_mass_matrix", "mass_matrix_sqrt", "mass_matrix_sqrt_inv")
        state = state._replace(adapt_state=state.adapt_state._replace(**dict.fromkeys(names, moving)))
    return kernel, state


def _begin(target: AnyTarget, settings: Settings, key: Array) -> Any:
    """The state of a chain at a draw from the Gaussian that the whitening stands for, where the density is finite."""
    size = target.coordinates.size
    place_key, chain_key = jax.random.split(key)
    normal = jax.random.normal(place_key, (size,), target.coordinates.root.dtype)

    def nearer(carry: tuple[Array, Array, int]) -> tuple[Array, Array, int]:
        return carry[0] / 2, target.potential(carry[0] / 2), carry[2] + 1

    def undefined(carry: tuple[Array, Array, int]) -> Array:
        return ~(carry[1] < _FAR * size) & (carry[2] < _HALVINGS)

    # the potential is compiled once for the first place and the nearer ones
    place, *_ = jax.lax.while_loop(undefined, nearer, (2 * normal, jnp.full((), jnp.inf, normal.dtype), -1))
    return _kernel(target, settings, chain_key, place)[1]


_FAR = 20.0
"""Potential a dimension, beyond which a chain begins nearer to the maximum; a Gaussian's draws have 0.5."""


_HALVINGS = 30


def _advance(
    target: AnyTarget, settings: Settings, state: Any, count: int, move: Move | None = None
) -> tuple[Any, Draws]:
    kernel, _ = _kernel(target, settings, jax.random.PRNGKey(0), state.z)

    def step(state: Any, _: None) -> tuple[Any, Draws]:
        state = kernel.sample(state, (), {})
        moved = jnp.zeros((), jnp.int32)
        if move is not None:
            state, moved = _moved(target, move, state)
        draw = Draws(
            state.z,
            state.potential_energy,
            state.energy,
            state.accept_prob,
            state.num_steps,
            state.diverging,
            state.adapt_state.step_size,
            moved,
        )
        return state, draw

    return jax.lax.scan(step, state, None, length=count)


def _moved(target: AnyTarget, move: Move, state: Any) -> tuple[Any, Array]:
    """The state after a move, every `move.every` iterations, and how many of its parts were taken."""
    key, own = jax.random.split(state.rng_key)

    def tried(place: Array) -> tuple[Array, Array, Array, Array]:
        new, taken = move(target, place, own)
        potential, gradient = jax.value_and_grad(target.potential)(new)
        # what rounding threw off the support does not count
        good = (taken > 0) & jnp.isfinite(potential)
        return (
            jnp.where(good, new, state.z),
            jnp.where(good, potential, state.potential_energy),
            jnp.where(good, gradient, state.z_grad),
            jnp.where(good, taken, 0),
        )

    def rested(place: Array) -> tuple[Array, Array, Array, Array]:
        return place, state.potential_energy, state.z_grad, jnp.zeros((), jnp.int32)

    place, potential, gradient, taken = jax.lax.cond(state.i % move.every == 0, tried, rested, state.z)
    return state._replace(z=place, potential_energy=potential, z_grad=gradient, rng_key=key), taken


begin = Compiled(_begin, level=0, static=("settings",))
"""The first state of one chain."""
advance = jax.jit(_advance, static_argnames=("settings", "count"))
"""The state of one chain `count` iterations later, and those iterations."""


@partial(jax.jit, static_argnames="settings")
def begin_together(target: AnyTarget, settings: Settings, keys: Array) -> Any:
    """The first states of several chains, stacked."""
    return jax.vmap(lambda key: _begin(target, settings, key))(keys)


@partial(jax.jit, static_argnames=("settings", "count", "devices"))
def advance_together(
    target: AnyTarget,
    settings: Settings,
    state: Any,
    count: int,
    devices: tuple[Any, ...] = (),
    move: Move | None = None,
) -> tuple[Any, Draws]:
    """Stacked chains, all at once; those of one device walk in step, those of several devices do not wait.

    Args:
        target: the density.
        settings: of the chains.
        state: (chain, ...).
        count: iterations.
        move: beside the trajectories; None for none.
        devices: over which to spread the chains, whose number they must divide; none for the default one.
    """

    def together(target: AnyTarget, state: Any, move: Move | None) -> tuple[Any, Draws]:
        return jax.vmap(lambda s: _advance(target, settings, s, count, move))(state)

    if not devices:
        return together(target, state, move)
    mesh = Mesh(np.array(devices), ("chain",))
    spread = jax.shard_map(
        together, mesh=mesh, in_specs=(Spec(), Spec("chain"), Spec()), out_specs=Spec("chain"), check_vma=False
    )
    return spread(target, state, move)
