"""Sample a posterior: NUTS from the fit, whitened by its curvature, in pieces that can be kept and gone on from."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.result import FitResult
from scarlet_sed.infer.sampling.chains import PIECE, Method, Piece, bar, pieces
from scarlet_sed.infer.sampling.checkpoint import Checkpoint, digest, fingerprint
from scarlet_sed.infer.sampling.draws import Posterior, posterior_of
from scarlet_sed.infer.sampling.entry import POLISH, modelled, require_finite, require_known, require_whole
from scarlet_sed.infer.sampling.learn import LENGTH, ROUNDS, bent, bent_by_fluxes
from scarlet_sed.infer.sampling.marginal import linear_of, marginal_target_at, without_linear
from scarlet_sed.infer.sampling.moves import Move, held_apart, held_numbers
from scarlet_sed.infer.sampling.nuts import Draws, Settings, begin
from scarlet_sed.infer.sampling.target import AnyTarget, Coordinates, maximum_at, stretched, target_at
from scarlet_sed.parameters import as_float
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array

_MASSES = ("fixed", "diagonal", "dense")
_METHODS = ("auto", "threads", "together")


def sample(
    fitted: FitResult | Scene,
    observations: Any = None,
    *,
    chains: int = 4,
    warmup: int = 300,
    draws: int = 500,
    seed: int = 0,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    mass: str = "fixed",
    marginalize: bool = False,
    learn: bool = True,
    method: Method = "auto",
    moves: Callable[[LogPosterior], Move] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Posterior:
    """Draw from the posterior of all free parameters with NUTS (Hoffman & Gelman 2014).

    A few Gauss-Newton steps lead from the fit to the maximum of the density that is sampled; the curvature there makes
    all parameters round, so that trajectories are short. The result says whether the draws can be trusted.

    Args:
        fitted: what `fit` returned; or a scene close to its maximum, with `observations`.
        observations: one or several, with a scene.
        chains: how many, at least two; four or more make R-hat mean something.
        warmup: iterations a chain that adapt the step size and are not kept.
        draws: iterations a chain that are kept, rounded up to pieces of 25.
        seed: of everything random.
        target_accept: mean acceptance probability; raise it to 0.95 against divergences.
        max_tree_depth: a trajectory has at most 2^depth - 1 steps.
        mass: "fixed" trusts the curvature at the maximum; "diagonal" or "dense" also learn from the warm-up, where the
            posterior is far from Gaussian.
        marginalize: whether to integrate fluxes of `FreeSpectrum` and sky levels with normal priors out in closed form
            and draw them back. Steps take two to three times as long; it pays where close sources trade light.
        learn: whether to learn coordinates that follow the posterior's bends from short chains, where trajectories
            along straight ones are long (see `bend`). It needs a warm-up of at least 100 and `mass` "fixed", and no
            free images, whose numbers are stretched instead (see `stretched`).
        method: where chains run, see `chains.pieces`; draws of "threads" and "together" agree to rounding only.
        moves: makes moves for the model, such as `spectrum_moves` of an amortized posterior, which lead from one mode
            of a redshift to another.
        checkpoint: a folder. What is there already is gone on from, bit by bit as if nothing had happened.
        progress: whether to show a progress bar (only on a terminal).

    Returns:
        Draws with a status. Ctrl-C ends sampling early, and keeps what is there (nothing, while it still learns).

    Raises:
        ParameterError: for arguments that make no sense.
        ImproperPriorError: if a prior is not a density.
        FileFormatError: if the checkpoint cannot be read or written, or belongs to something else.
    """
    settings = _checked(chains, warmup, draws, target_accept, max_tree_depth, mass, method)
    posterior, values = modelled(fitted, observations, "sample")
    started = time.perf_counter()
    linear = linear_of(posterior) if marginalize else None
    move = None if moves is None else moves(posterior)
    if move is not None and linear is not None:
        raise ParameterError("moves do not know what is integrated out", fix="leave out marginalize or moves")
    if move is not None and move.held and mass != "fixed":
        raise ParameterError(f'mass="{mass}" moves what the moves hold', fix='use mass="fixed", or leave out moves')
    store = None
    coordinates: Coordinates | None = None
    keys = jax.random.split(jax.random.PRNGKey(seed), chains)

    def make(coordinates: Coordinates) -> AnyTarget:
        if linear is None:
            return target_at(posterior.program, coordinates)
        return marginal_target_at(posterior.program, coordinates, linear)

    if checkpoint is not None:
        store = Checkpoint(
            checkpoint,
            fingerprint(
                posterior.program, posterior.paths, settings, chains, seed, method, marginalize, learn, digest(move)
            ),
        )
        coordinates = store.coordinates()
    if coordinates is None:
        at = maximum_at(posterior, values, POLISH)
        coordinates = at.coordinates if linear is None else without_linear(at.coordinates, linear)
        require_finite(make, coordinates)
        held = held_numbers(coordinates, move)
        # what moves hold needs no coordinates that follow its bends, nor does the one number that they leave of a block
        rest = np.bincount(at.blocks[np.setdiff1d(np.flatnonzero(at.blocks >= 0), held)])
        if coordinates.scale.size and linear is None and not held.size:
            # images mix all their numbers: short chains would not learn bends before these are round
            coordinates = stretched(target_at(posterior.program, coordinates), seed)
        elif learn and (np.any(rest > 1) or not held.size) and mass == "fixed" and warmup >= LENGTH:
            if linear is None:
                coordinates = bent_by_fluxes(posterior, at, seed)
            # learning is to take no longer than what it helps
            rounds = min(ROUNDS, (warmup + draws) // (2 * LENGTH))
            coordinates = bent(make, coordinates, settings, keys, method, rounds, progress=progress)
        if held.size:
            coordinates = held_apart(coordinates, held)
        if store is not None:
            store.begin(coordinates)
    settings = settings._replace(held=int(held_numbers(coordinates, move).size))
    target = make(coordinates)
    wanted = -(-(warmup + draws) // PIECE)
    ready = time.perf_counter()
    found, interrupted = _run(target, settings, keys, wanted, method, move, store, progress=progress)
    if linear is not None:
        found = found._replace(whitened=_with_linear(found.whitened, linear.size, seed))
    return posterior_of(
        posterior,
        target,
        found,
        warmup,
        interrupted=interrupted,
        start=ready - started,
        run=time.perf_counter() - ready,
    )


def _with_linear(whitened: Array, size: int, seed: int) -> Array:
    """(chain, draw, number) draws with standard normal numbers for what was integrated out, the same for every call."""
    chains, count = whitened.shape[:2]
    # one stream a chain, so that more draws later do not change the first ones
    streams = [np.random.default_rng([seed, chain]).standard_normal((count, size)) for chain in range(chains)]
    return jnp.concatenate([jnp.asarray(whitened), as_float(np.stack(streams))], axis=-1)


def _run(
    target: AnyTarget,
    settings: Settings,
    keys: jax.Array,
    wanted: int,
    method: Method,
    move: Move | None,
    store: Checkpoint | None,
    *,
    progress: bool,
) -> tuple[Draws, bool]:
    """(chain, iteration) draws, warm-up included, and whether they were interrupted."""
    kept = [] if store is None else store.pieces()[:wanted]
    found, last = [draws for draws, _ in kept], None
    if kept:
        shape = begin.shapes(target, settings, keys[0])
        last = jax.tree.unflatten(jax.tree.structure(shape), kept[-1][1])
    interrupted = False
    with bar(len(keys), wanted * PIECE, len(kept) * PIECE, show=progress) as shown:
        try:
            if len(found) < wanted:
                for number, piece in enumerate(pieces(target, settings, keys, last, method, move), start=len(kept)):
                    if store is not None:
                        store.append(number, piece)
                    found.append(piece.draws)
                    _show(shown, piece)
                    if len(found) >= wanted:
                        break
        except KeyboardInterrupt:
            interrupted = True
    none = jnp.zeros((len(keys), 0))
    empty = Draws(jnp.zeros((len(keys), 0, target.coordinates.size)), *[none] * (len(Draws._fields) - 1))
    whole = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *found) if found else empty
    return whole, interrupted


def _show(shown: Any, piece: Piece) -> None:
    draws = piece.draws
    shown.update(int(np.size(draws.leapfrogs)))
    shown.set_postfix(leapfrogs=f"{np.mean(draws.leapfrogs):.0f}", divergent=int(np.sum(draws.diverging)))


def _checked(
    chains: int, warmup: int, draws: int, target_accept: float, max_tree_depth: int, mass: str, method: str
) -> Settings:
    require_whole(chains=(chains, 2), warmup=(warmup, 0), draws=(draws, 1))
    if not 0.5 <= target_accept < 1:
        raise ParameterError(f"target_accept is {target_accept!r}", fix="give a number from 0.5 to below 1")
    if not 1 <= max_tree_depth <= 15:
        raise ParameterError(f"max_tree_depth is {max_tree_depth!r}", fix="give a number from 1 to 15")
    require_known(mass=(mass, _MASSES), method=(method, _METHODS))
    return Settings(int(warmup), float(target_accept), int(max_tree_depth), mass)
